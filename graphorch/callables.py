"""What a callable of the user is: plain or async, a function, a method, a partial or an object."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import types
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any, cast


class NotCalled:
    """Base of what is not called itself, though a call of it is understood, to explain that."""

    name: str


def is_function(value: object) -> bool:
    """Return whether a value can be called to run something: a function, a method, an object."""
    return callable(value) and not isinstance(value, NotCalled)


def is_partial(function: object) -> bool:
    """Return whether this is a `functools.partial`."""
    return isinstance(function, functools.partial)


def is_async(function: object) -> bool:
    """Return whether a call of this gives something to await, as far as it can be seen.

    Partials and objects with an async `__call__` count. A plain wrapper around an async function
    is only known by what it returns: see `is_unfinished`.
    """
    inner = _unwrap(function)
    return any(map(inspect.iscoroutinefunction, (inner, _find_call(inner))))


def never_runs(function: object) -> bool:
    """Return whether a call runs nothing of its body: an async function, or a generator."""
    return is_async(function) or is_generator(function)


def is_generator(function: object) -> bool:
    """Return whether a call of this gives a generator, plain or async."""
    inner = _unwrap(function)
    kinds = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(kind(part) for kind in kinds for part in (inner, _find_call(inner)))


def is_unfinished(result: object) -> bool:
    """Return whether a call returned work that has not begun: a coroutine or a generator.

    A task or a future is under way by itself.
    """
    if asyncio.isfuture(result):
        return False
    return isinstance(result, Awaitable | Generator | AsyncGenerator)


def read_verdict(result: object) -> bool | None:
    """Return what a predicate returned as True or False; None if it is neither.

    A comparison in numpy or torch gives a scalar of its own, which counts by its value.
    """
    value: Any = result
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    return value if isinstance(value, bool) else None


def discard(result: object) -> None:
    """Close a coroutine that is not awaited, so that Python does not warn of it later."""
    close = getattr(result, "close", None)
    if callable(close) and inspect.iscoroutine(result):
        close()


def is_stub(function: object) -> bool:
    """Return whether a function has no body: `...`, `pass` or a docstring alone.

    Of a function that wraps another one, the innermost counts.
    """
    function = inspect.unwrap(find_annotated(function))
    return _list_returned(function) == ["None"] and _count_steps(function) == 0


def never_returns_value(function: object) -> bool:
    """Return whether a function has a body, and every way through it returns None."""
    returned = _list_returned(function)
    return bool(returned) and set(returned) == {"None"} and _count_steps(function) > 0


def list_set_attributes(function: object) -> list[tuple[str, str]]:
    """Return the attributes of its parameters that a function sets: `("draft", "text")`.

    Read off its bytecode, as far as it is plain to see: `draft.text = …` and `draft.text += …`.
    """
    import dis

    code = getattr(find_annotated(function), "__code__", None)
    if code is None:
        return []
    parameters = code.co_varnames[: code.co_argcount]
    steps = list(dis.get_instructions(code))
    found: list[tuple[str, str]] = []
    opened: list[tuple[str, str]] = []  # read, in order to be set anew
    for before, step, after in zip(steps, steps[1:], steps[2:], strict=False):
        loaded = _name_loaded(before)
        if loaded in parameters and step.opname == "STORE_ATTR":
            found.append((loaded, step.argval))
        elif loaded in parameters and step.opname == "COPY" and after.opname == "LOAD_ATTR":
            opened.append((loaded, after.argval))
        elif step.opname == "STORE_ATTR":
            found += [pair for pair in opened if pair[1] == step.argval]
    return list(dict.fromkeys(found))


def find_used_attributes(function: object, parameter: str) -> frozenset[str] | None:
    """Return the attributes that a function reads of a parameter, if it uses nothing else of it.

    None if it may use the parameter in another way, as in `str(draft)`, or has no bytecode. Read
    off the bytecode, that of functions inside included.
    """
    code = getattr(find_annotated(function), "__code__", None)
    if code is None or parameter not in code.co_varnames[: code.co_argcount]:
        return None
    return _list_used(code, parameter)


_WHOLE_FRAME = frozenset({"locals", "vars", "eval", "exec", "_getframe", "currentframe"})


def _list_used(code: types.CodeType, name: str) -> frozenset[str] | None:
    """Return the attributes of a local variable that code reads; None if it may do more with it."""
    import dis

    if _WHOLE_FRAME.intersection(code.co_names):
        return None
    used: set[str] = set()
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        if not _names_variable(step, name) or step.opname in ("MAKE_CELL", "LOAD_CLOSURE"):
            continue
        # An instruction that does two steps leaves its second variable on top of the stack.
        is_load = "LOAD_FAST" in step.opname or step.opname == "LOAD_DEREF"
        if not is_load or name in _list_variables(step)[:-1]:
            return None
        if after is None:
            return None
        if after.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            used.add(after.argval)
        elif not (after.opname == "BUILD_TUPLE" and name in code.co_cellvars):
            return None
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType) and name in inner.co_freevars:
            more = _list_used(inner, name)
            if more is None:
                return None
            used |= more
    return frozenset(used)


def find_loaded_names(function: object) -> frozenset[str]:
    """Return the global names and attributes that a function uses, also in functions inside.

    Read off its bytecode; nothing for what has none.
    """
    function = inspect.unwrap(find_annotated(function))
    pending: list[Any] = [getattr(function, "__code__", None)]
    names: set[str] = set()
    while pending:
        code = pending.pop()
        if isinstance(code, types.CodeType):
            names.update(code.co_names)
            pending += code.co_consts
    return frozenset(names)


def _names_variable(step: Any, name: str) -> bool:
    """Return whether an instruction loads, stores or deletes a local variable of this name."""
    if not any(part in step.opname for part in ("_FAST", "DEREF", "_CELL", "_CLOSURE")):
        return False
    return name in _list_variables(step)


def _list_variables(step: Any) -> tuple[Any, ...]:
    """Return what an instruction names: two variables for one that does two steps."""
    named: Any = step.argval
    return tuple(named) if isinstance(named, tuple) else (named,)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]


def _name_loaded(step: Any) -> str:
    """Return the local variable that an instruction leaves on top of the stack, or ""."""
    if not step.opname.startswith("LOAD_FAST") and step.opname != "STORE_FAST_LOAD_FAST":
        return ""
    names: Any = step.argval  # two for an instruction that does two steps
    return names if isinstance(names, str) else str(names[-1])


def _list_returned(function: object) -> list[str]:
    """Return for each `return` of a function "None", or "value" for anything else.

    Nothing for what has no bytecode.
    """
    import dis

    code = getattr(find_annotated(function), "__code__", None)
    if code is None:
        return []
    returned: list[str] = []
    before = ""
    for step in dis.get_instructions(code):
        if step.opname == "RETURN_CONST":
            returned.append("None" if step.argval is None else "value")
        elif step.opname == "RETURN_VALUE":
            # One that is jumped to returns what another way has left for it.
            is_known = before == "None" and not step.is_jump_target
            returned.append("None" if is_known else "value")
        is_none = step.opname == "LOAD_CONST" and step.argval is None
        before = "None" if is_none else step.opname
    return returned


def _count_steps(function: object) -> int:
    """Return how many instructions a function has beside those that enter and leave it."""
    import dis

    idle = {"RESUME", "NOP", "CACHE", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    steps = dis.get_instructions(find_annotated(function).__code__)
    return sum(step.opname not in idle for step in steps)


def find_annotated(function: object) -> Any:
    """Return what holds the annotations of a callable: a function, a method or a class."""
    inner = _unwrap(function)
    call = _find_call(inner)
    return inner if call is None else call


def get_doc(function: object) -> str:
    """Return the docstring of a callable; that of `__call__`, else of the class, for an object."""
    inner = _unwrap(function)
    call = _find_call(inner)
    if call is None:
        return inspect.getdoc(inner) or ""
    # Not `getdoc`, which would inherit "Call self as a function."
    return inspect.cleandoc(call.__doc__ or _get_class_doc(type(inner)))


def _get_class_doc(cls: type) -> str:
    """Return the docstring of a class, but not the signature that a dataclass without one gets."""
    doc = cls.__doc__ or ""
    made = dataclasses.is_dataclass(cls) and doc.startswith(f"{cls.__name__}(")
    return "" if made else doc


def get_module(function: object) -> str:
    """Return the module of a callable's code; that of the class for an object."""
    inner = _unwrap(function)
    return str(getattr(inner, "__module__", None) or type(inner).__module__)


def get_name(function: object) -> str:
    """Return the name of a callable for a message; that of the class for an object."""
    own: object = getattr(function, "__name__", None)
    if own:
        return str(own)
    inner = _unwrap(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _unwrap(function: object) -> object:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return function


def _find_call(function: object) -> Any:
    """Return the `__call__` of an object's class; None for a function or a class."""
    if inspect.isroutine(function) or inspect.isclass(function):
        return None
    return getattr(type(function), "__call__", None)  # noqa: B004  (to look into it)
