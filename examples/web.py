"""The web page of a store, and its JSON API, mounted below an application of one's own.

Needs ``pip install 'perdure[ui]'``. ``python examples/web.py sqlite:///shop.db serve`` goes on
until Ctrl-C: open the link that it prints. Without any code, ``perdure ui --backend URL`` serves
the page by itself.

Prints:
    without a token: 401
    greet-1: completed, "hello Ada"
    started over the API: greet-2
    greet-2: completed, "hello Bob"
    in the audit log: start of greet-2 by ada, because Bob is new
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from typing import Any

import uvicorn
from perdure import activity, workflow
from perdure_runtime import local
from perdure_runtime.ui import Access, User, create_app
from runner import run
from starlette.applications import Starlette
from starlette.routing import Mount

TOKEN = "only-for-this-example"


@activity
async def greeting(name: str) -> str:
    return f"hello {name}"


@workflow
async def greet(name: str) -> str:
    return await greeting(name)


def ask(url: str, body: dict[str, Any] | None = None, token: str | None = TOKEN) -> Any:
    """The answer of the JSON API, or its status when there is none."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code


async def main(url: str) -> None:
    async with local(url) as app:
        await app.run(greet.options(id="greet-1"), "Ada")
        # With a login of one's own: Access(identify=lambda request: …); see docs/ui.md.
        access = Access(tokens={TOKEN: User("ada", "operator")})
        page = create_app(app.backend, access=access)
        whole = Starlette(routes=[Mount("/perdure", page)])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            root = f"http://127.0.0.1:{listener.getsockname()[1]}/perdure"
            server = uvicorn.Server(uvicorn.Config(whole, log_level="error"))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            if "serve" in sys.argv:
                print(f"{root}/login?token={TOKEN}")
                await serving
                return
            for line in await asyncio.to_thread(look, f"{root}/api"):
                print(line)
            server.should_exit = True
            await serving


def look(api: str) -> list[str]:
    """What a program does that knows nothing of Perdure but its API."""
    lines = [f"without a token: {ask(f'{api}/instances', token=None)}"]

    def finished(name: str) -> str:
        result = ask(f"{api}/instance/result?id={name}&timeout=20")["result"]
        state = ask(f"{api}/instance?id={name}")["state"]
        return f"{name}: {state}, {json.dumps(result)}"

    lines.append(finished("greet-1"))
    body = {"workflow": "greet", "arguments": ["Bob"], "id": "greet-2", "reason": "Bob is new"}
    lines.append(f"started over the API: {ask(f'{api}/instances', body)['id']}")
    lines.append(finished("greet-2"))
    (entry,) = ask(f"{api}/audit")["entries"]
    lines.append(
        f"in the audit log: {entry['action']} of {entry['instance']} by {entry['by']}, "
        f"because {entry['reason']}"
    )
    return lines


if __name__ == "__main__":
    run(main)
