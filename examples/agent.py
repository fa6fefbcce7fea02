"""An agent: a model decides which tools to call; each call is recorded, none is made twice.

The model here is a fake. A real one is an activity just like it: its answers are recorded, so a
crash in the middle of a long conversation costs nothing that was paid for.

Prints:
    tool weather: 21 degrees in Lisbon
    tool weather: 4 degrees in Oslo
    tool convert: 69.8 F
    answer: Lisbon is warmer (21 against 4 degrees, which is 69.8 F)
"""

from __future__ import annotations

import dataclasses
from typing import Any

from perdure import Query, Retry, activity, fan_out, publish, workflow
from perdure_runtime import local
from runner import run


@dataclasses.dataclass
class ToolCall:
    tool: str
    arguments: list[str]


@dataclasses.dataclass
class Message:
    role: str
    text: str = ""
    calls: list[ToolCall] = dataclasses.field(default_factory=list[ToolCall])


transcript = Query("transcript", list[Message])


@activity(retry=Retry(attempts=5), start_to_close=60)
async def model(messages: list[Message]) -> Message:
    """Stands for a call of a language model."""
    results = [m.text for m in messages if m.role == "tool"]
    if not results:
        calls = [ToolCall("weather", ["Lisbon"]), ToolCall("weather", ["Oslo"])]
        return Message("assistant", calls=calls)
    if len(results) == 2:
        return Message("assistant", calls=[ToolCall("convert", ["21"])])
    return Message("assistant", f"Lisbon is warmer (21 against 4 degrees, which is {results[2]})")


@activity
async def weather(city: str) -> str:
    return f"{21 if city == 'Lisbon' else 4} degrees in {city}"


@activity
async def convert(celsius: str) -> str:
    return f"{float(celsius) * 9 / 5 + 32:.1f} F"


TOOLS: dict[str, Any] = {"weather": weather, "convert": convert}


@workflow
async def agent(question: str, most_rounds: int = 10) -> str:
    messages = [Message("user", question)]

    @transcript.handler
    def _() -> list[Message]:
        return messages

    async def use(call: ToolCall) -> Message:
        result: str = await TOOLS[call.tool](*call.arguments)
        return Message("tool", result)

    for number in range(most_rounds):
        publish(f"round {number + 1}")
        answer = await model(messages)
        messages.append(answer)
        if not answer.calls:
            return answer.text
        messages.extend(await fan_out(use, answer.calls, limit=4))
    return "no answer within the rounds that were allowed"


async def main(url: str) -> None:
    async with local(url) as app:
        handle = await app.start(agent, "Where is it warmer, in Lisbon or in Oslo?")
        answer = await handle.result()
        said = await handle.query(transcript)
        tools = [call.tool for message in said for call in message.calls]
        results = [message.text for message in said if message.role == "tool"]
        for tool, result in zip(tools, results, strict=True):
            print(f"tool {tool}: {result}")
        print(f"answer: {answer}")


if __name__ == "__main__":
    run(main)
