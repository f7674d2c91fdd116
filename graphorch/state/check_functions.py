"""Difference between functions that check a value and functions that convert it.

A validator function may do either. Only a check can be called again on a value that went through it
before: for a conversion that would be a second conversion. The code of the function decides, and
in doubt it is no check.
"""

from __future__ import annotations

import dis
import inspect
import re
from types import CodeType
from typing import Any, Final, cast

# From Python 3.13 on, one instruction may use two variables: STORE_FAST_LOAD_FAST.
_USE: Final = re.compile("(LOAD|STORE|DELETE)_(?:FAST|DEREF)")
_LEAVING: Final = frozenset({"SWAP", "POP_EXCEPT", "NOP"})  # of an `except` block, with its result


def returns_argument(function: Any) -> bool:
    """Return whether every way through a validator function returns the value that it was given.

    That is so if the parameter is never bound anew, and stands in every `return`.
    """
    code = _find_code(function)
    if code is None or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        return False
    position = 1 if inspect.ismethod(function) else 0
    if code.co_argcount <= position:
        return False
    parameter = code.co_varnames[position]
    previous: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        if {("STORE", parameter), ("DELETE", parameter)} & set(_list_uses(instruction)):
            return False
        if instruction.opname.startswith("RETURN") and not _returns(
            instruction, previous, parameter
        ):
            return False
        if instruction.opname not in _LEAVING:
            previous = instruction
    return True


def _find_code(function: Any) -> CodeType | None:
    plain = function.__func__ if inspect.ismethod(function) else function
    return plain.__code__ if inspect.isfunction(plain) else None


def _returns(
    instruction: dis.Instruction, previous: dis.Instruction | None, parameter: str
) -> bool:
    """Return whether a return instruction returns the parameter that was loaded just before."""
    if instruction.opname == "RETURN_GENERATOR" or instruction.is_jump_target:
        return False
    # A variable of a cell (LOAD_DEREF) may be bound by another function.
    if previous is None or "DEREF" in previous.opname:
        return False
    return _list_uses(previous)[-1:] == [("LOAD", parameter)]


def _list_uses(instruction: dis.Instruction) -> list[tuple[str, object]]:
    """Return how an instruction uses local variables: (LOAD, STORE or DELETE, name), in order."""
    actions: list[str] = _USE.findall(instruction.opname)
    if not actions:
        return []
    value: object = instruction.argval
    names = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return list(zip(actions, names, strict=True))
