"""Changes of what others may see: globals, class attributes, variables of an enclosing function.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..syntax import Node

if TYPE_CHECKING:
    from ._calls import Calls


def check_mutation(frame: Calls, node: Node, owner: Node, how: str) -> None:
    """``owner`` is changed in place (by a method, or by assigning to an item of it)."""
    base = owner
    attribute = ""
    while base[0] in ("sub", "attr"):
        attribute = base[4] if base[0] == "attr" else attribute
        base = base[3]
    if base[0] != "name" or frame.function is None:
        return
    name = base[3]
    is_local = name in frame.env
    if frame.mode in ("query", "validator"):
        own = is_local and not attribute
        receiver = frame.function.params[0].name if frame.function.params else ""
        if not own or (name == receiver and frame.function.owner is not None):
            frame.emit("WFL609", node[1], node[2], frame.shown(owner), "changes it")
            return
    if frame.mode == "predicate" and not is_local:
        frame.emit("WFL608", node[1], node[2], frame.shown(owner), "changes it")
        return
    if frame.mode == "side" and not is_local:
        frame.emit("WFL505", node[1], node[2], frame.shown(owner))
        return
    if not frame.reports:
        return
    value = frame.eval(owner)
    origin = value.origin
    if origin is not None and origin[0].startswith("class:"):
        frame.emit("WFL503", node[1], node[2], origin[1])
        return
    if is_local and value.origin is None:
        return
    if origin is not None:
        frame.emit("WFL501", node[1], node[2], frame.shown(owner), how)
        return
    if not is_local and not attribute:
        root = frame.lookup(name)
        if root.origin is not None and root.has("list", "dict", "odict", "set", "inst", "xinst"):
            frame.emit("WFL501", node[1], node[2], frame.shown(owner), how)
        return
    root = frame.lookup(name)
    if root.has("mod", "ext") and attribute:
        if any(kind[1].startswith("os.environ") for kind in value.types if kind[0] == "ext"):
            frame.emit("WFL501", node[1], node[2], frame.shown(owner), how)
    elif root.has("xinst") and any(k[1].startswith("os.") for k in root.types if k[0] == "xinst"):
        frame.emit("WFL501", node[1], node[2], frame.shown(owner), how)
