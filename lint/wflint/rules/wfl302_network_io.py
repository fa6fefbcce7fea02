"""WFL302, network-io.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL302",
    name="network-io",
    message="`{symbol}` uses the network",
    severity="error",
    why=(
        "It happens again at every replay, gives another result then, and blocks the loop "
        "meanwhile. What an activity does is recorded."
    ),
    bad=(
        Case(
            "await act(requests.get('http://x').text)",
            before="import requests",
        ),
        Case(
            """\
async with httpx.AsyncClient() as client:
    await client.get('http://x')""",
            before="import httpx",
        ),
        Case(
            """\
s = socket.socket()
await act(1)""",
            before="import socket",
        ),
    ),
    good=(
        Case(
            "await act(httpx.URL('http://x'))",
            before="import httpx",
        ),
        Case(
            "await act(Reasoning(effort='low'))",
            before="from openai.types.shared import Reasoning",
        ),
    ),
)
