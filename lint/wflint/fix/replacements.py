"""What a framework offers in place of a call, as text.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..analysis._events import Edit, Fix

if TYPE_CHECKING:
    from ..analysis._base import Arg
    from ..syntax import Node


def replacement(
    text: str, template: str, name: str, node: Node, arguments: list[Arg]
) -> Fix | None:
    """The fix that puts a template in a call's place.

    A template holds the name to import as ``module:name``, and ``{0}`` (the only argument),
    ``{args}`` (all of them) and ``{name}`` (the last part of the called name).
    """
    if any(argument.star for argument in arguments):
        return None
    given = [text[a.node[1] : a.node[2]] for a in arguments if a.node is not None]
    if "{0}" in template:
        if len(arguments) != 1 or arguments[0].keyword is not None:
            return None
    elif "{args}" not in template and arguments and name != "datetime.datetime.now":
        return None
    opening = text.find("(", node[3][2])
    inner = text[opening + 1 : node[2] - 1] if opening >= 0 else ""
    safety = "safe"
    if name == "datetime.datetime.now":
        if not arguments:
            safety = "unsafe"  # a naive time becomes an aware one
        elif len(given) == 1:
            zone = given[0]
            if zone.rpartition(".")[2].lower() != "utc":
                template = f"{template}.astimezone({zone})"
        else:
            return None
    module, _, rest = template.partition(":")
    prefix = ""
    if module.startswith("await "):
        prefix, module = "await ", module.removeprefix("await ")
    last = name.rpartition(".")[2]
    rest = rest.replace("{0}", given[0] if given else "").replace("{args}", inner)
    rest = rest.replace("{name}", last)
    imported = rest.partition("(")[0].partition(".")[0]
    new = f"{prefix}{rest}"
    if module == "temporalio.workflow":
        new = f"{prefix}workflow.{rest}"
        return Fix(safety, [Edit(node[1], node[2], new)], ("temporalio:workflow",))
    return Fix(safety, [Edit(node[1], node[2], new)], (f"{module}:{imported}",))
