"""WFL401, threads-and-processes.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL401",
    name="threads-and-processes",
    message="`{symbol}` leaves the loop that is replayed",
    severity="error",
    why="Threads and processes run in an order that nobody records.",
    bad=(
        Case(
            "threading.Thread(target=work).start()",
            before="""\
import threading
def work() -> None: ...""",
        ),
        Case(
            """\
with ThreadPoolExecutor() as pool:
    pool.submit(print)""",
            before="from concurrent.futures import ThreadPoolExecutor",
        ),
    ),
    good=(
        Case(
            "await asyncio.gather(act(1), act(2))",
            before="import asyncio",
        ),
    ),
)
