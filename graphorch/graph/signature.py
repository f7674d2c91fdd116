"""Signatures: what a function reads and writes, taken from its annotations.

A node's parameters are slices (pydantic models; `X | None` is None until X is assigned), perhaps
after a `Context`; its return type is the slice that it writes. A pure function (selector,
predicate, `over`, `enter`) has one to three slices; a parameter without annotation, as in a lambda,
is the whole state.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import BaseModel

from graphorch.callables import (
    NotCalled,
    find_annotated,
    get_name,
    is_async,
    is_function,
    is_generator,
    is_partial,
    never_runs,
)
from graphorch.errors import GraphError, Problem
from graphorch.graph.context import Context
from graphorch.state.marks import find_marks


@dataclass(frozen=True, slots=True)
class Read:
    """One slice parameter.

    An `optional` one gets None until the slice is assigned. `model` None is the whole state.
    """

    model: type[BaseModel] | None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class StateFunction:
    """A pure function over slices: a selector, a predicate, `over` or `enter`."""

    fn: Callable[..., Any]
    reads: tuple[Read, ...]

    @property
    def name(self) -> str:
        """Name of the function; `<lambda>` for a lambda."""
        return getattr(self.fn, "__name__", "function")


@dataclass(frozen=True, slots=True)
class Signature:
    """Reads and writes of a node function.

    `resources` is the type that its context must carry, or None. With `may_skip`, it may return
    None and write nothing.
    """

    reads: tuple[Read, ...]
    writes: tuple[type[BaseModel], ...]
    has_context: bool
    resources: type | None
    may_skip: bool
    is_async: bool


def read_signature(fn: Callable[..., object], local: Mapping[str, Any]) -> Signature:
    """Return the signature of a node function.

    Raises `GraphError` with code `NODE_SIGNATURE`.
    """
    _check_kind(fn)
    if is_generator(fn):
        fix = (
            "return the slice as a whole; ctx.emit(event) shows what is ready before that, and the "
            "answer of an agent streams by itself"
        )
        raise _signature_error(fn, "it is a generator, and a node returns once", fix)
    hints = read_hints(fn, local)
    parameters = _parameters(fn)
    context = bool(parameters) and is_context(hints.get(parameters[0].name))
    resources = None
    slices = parameters
    if context:
        resources = find_resources(hints[parameters[0].name])
        slices = parameters[1:]
    if len(slices) > 4:
        raise _signature_error(
            fn,
            f"it reads {len(slices)} slices; at most 4 are possible",
            "merge slices, or read the whole state as one parameter",
        )
    for parameter in slices:
        if is_context(hints.get(parameter.name)):
            what = f"parameter '{parameter.name}' is the context, which comes first"
            fix = f"write def {_find_name(fn)}({parameter.name}: Context, …)"
            raise _signature_error(fn, what, fix)
    reads = tuple(_read(fn, parameter, hints) for parameter in slices)
    if not reads:
        raise _signature_error(
            fn,
            "it does not read a slice",
            "give it a parameter annotated with a pydantic model that the state inherits from",
        )
    writes, may_skip = _writes(fn, hints.get("return", inspect.Parameter.empty))
    return Signature(reads, writes, context, resources, may_skip, is_async(fn))


def _check_kind(fn: object) -> None:
    """Refuse what is not a function: a node, or a class."""
    if isinstance(fn, NotCalled):
        raise _signature_error(fn, f"{fn!r:.80} is made already", "drop the second decorator")
    if inspect.isclass(fn):
        fix = (
            "decorate a function; of an object, take a method or the object itself, if it can be "
            "called: node(writer.write), node(writer)"
        )
        raise _signature_error(fn, f"{fn.__name__} is a class, not a function", fix)


def prompt_signature(
    fn: Callable[..., object], output: type[BaseModel], local: Mapping[str, Any]
) -> Signature:
    """Return the signature of an agent: the reads of its prompt function, and `output`."""
    if not (isinstance(output, type) and issubclass(output, BaseModel)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _signature_error(
            fn,
            f"output={output!r} is not a pydantic model",
            "name the slice that the agent writes: @agent(output=Draft)",
        )
    _check_kind(fn)
    hints = read_hints(fn, local)
    reads = tuple(_read(fn, parameter, hints) for parameter in _parameters(fn))
    if not 1 <= len(reads) <= 4:
        raise _signature_error(
            fn, f"its prompt reads {len(reads)} slices", "read one to four slices"
        )
    returned = hints.get("return", str)
    if isinstance(returned, type) and not issubclass(returned, str | None):
        raise _signature_error(
            fn,
            f"its prompt returns {returned.__name__}",
            "return a string or a list of Message, or nothing for a prompt that lists the slices",
        )
    return Signature(reads, (output,), True, None, False, True)


def allows_none(fn: Callable[..., object], local: Mapping[str, Any]) -> bool:
    """Return whether the return annotation of a function says that it may return None."""
    hint = read_hints(fn, local).get("return")
    return hint is type(None) or type(None) in typing.get_args(hint)


def pure_reads(fn: Callable[..., object], where: str) -> tuple[Read, ...]:
    """Return the slices of a selector, predicate, `over` or `enter`.

    Raises `GraphError` with code `PURE_SIGNATURE`.
    """
    check_plain(fn, where)
    try:
        hints = read_hints(fn, {})
        reads = tuple(
            Read(None)
            if parameter.annotation is inspect.Parameter.empty
            else _read(fn, parameter, hints)
            for parameter in _parameters(fn)
        )
    except GraphError as error:
        found = error.problems[0]
        what = f"of '{_find_name(fn)}', {found.what}"
        problem = Problem("PURE_SIGNATURE", where, what, found.fix)
        raise GraphError(_find_name(fn), [problem], where) from None
    if not 1 <= len(reads) <= 3 or any(read.optional for read in reads):
        what = f"'{_find_name(fn)}' must be a plain function of one to three slices"
        fix = "drop other parameters and `| None`"
        raise GraphError(_find_name(fn), [Problem("PURE_SIGNATURE", where, what, fix)], where)
    return reads


def check_plain(fn: object, where: str) -> None:
    """Raise `GraphError` with code `PURE_SIGNATURE` unless a call of this runs a function."""
    if isinstance(fn, NotCalled):
        what, fix = f"{fn!r:.80} is not a function", "give its function instead: .fn of a @node"
    elif not callable(fn):
        what, fix = f"{fn!r:.80} is not a function", "give a plain function, not what it returns"
    elif never_runs(fn):
        what = f"'{get_name(fn)}' must be a plain function, but it is async or a generator"
        fix = "drop async and yield; what waits belongs in a node before it"
    else:
        return
    raise GraphError(where, [Problem("PURE_SIGNATURE", where, what, fix)], where)


def read_return_type(fn: Callable[..., object]) -> Any:
    """Return the return annotation of a pure function, or `inspect.Parameter.empty`."""
    return read_hints(fn, {}).get("return", inspect.Parameter.empty)


def read_hints(fn: Callable[..., object], local: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evaluated annotations of a function.

    Raises `GraphError` with code `NODE_SIGNATURE` for a name that cannot be found, and for what is
    not a function.
    """
    if not is_function(fn):
        raise _signature_error(
            fn, f"{fn!r:.80} is not a function", "give a function with annotated parameters"
        )
    annotated = find_annotated(fn)
    names = {**_find_enclosing_names(annotated), **local}
    try:
        return typing.get_type_hints(annotated, localns=names, include_extras=True)
    except NameError as error:
        what = f"an annotation names '{error.name}', which cannot be found"
        raise _signature_error(
            fn, what, "define or import it at module level, not only for type checking"
        ) from error


def _find_enclosing_names(fn: Any) -> dict[str, Any]:
    """Return the local names of the functions around a function, as far as these are still running.

    Annotations may be strings that name models defined beside the function. Where it was defined,
    says its qualified name.
    """
    outer, _, _ = str(getattr(fn, "__qualname__", "")).rpartition(".<locals>.")
    if not outer:
        return {}
    around = {outer}
    while "<locals>" in outer:
        outer, _, _ = outer.rpartition(".<locals>.")
        around.add(outer)
    found: list[dict[str, Any]] = []
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        code = frame.f_code
        if code.co_qualname in around and frame.f_globals is getattr(fn, "__globals__", None):
            found.append(frame.f_locals)
        frame = frame.f_back
    # Inner functions come first, and their names hide those of outer ones.
    return {name: value for names in reversed(found) for name, value in names.items()}


def inspect_callable(fn: Callable[..., object]) -> inspect.Signature:
    """Return the parameters of a function, without evaluating their annotations.

    From Python 3.14 on, `inspect.signature` would do that and fail at a name that is imported for
    type checking only. Raises `GraphError` for a builtin whose parameters are not known.
    """
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        options["annotation_format"] = Format.FORWARDREF
    try:
        return inspect.signature(fn, **options)
    except ValueError:
        what, fix = "its parameters are not known", "give a function that is defined with `def`"
        raise _signature_error(fn, what, fix) from None


def _parameters(fn: Callable[..., object]) -> list[inspect.Parameter]:
    # What a partial binds by name is a parameter with a default, and none for the graph.
    bound: Mapping[str, Any] = getattr(fn, "keywords", {}) if is_partial(fn) else {}
    known = inspect_callable(fn).parameters.values()
    parameters = [parameter for parameter in known if parameter.name not in bound]
    for parameter in parameters:
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            raise _signature_error(
                fn,
                f"parameter '{parameter.name}' is not positional",
                "use plain positional parameters; settings belong in resources or a closure",
            )
    return parameters


def list_parameter_names(fn: Callable[..., object]) -> list[str]:
    """Return the names of the parameters of a function, or none if some are not positional."""
    try:
        return [parameter.name for parameter in _parameters(fn)]
    except GraphError:
        return []


def _read(
    fn: Callable[..., object], parameter: inspect.Parameter, hints: Mapping[str, Any]
) -> Read:
    hint = hints.get(parameter.name)
    options = [get_arg for get_arg in typing.get_args(hint) if get_arg is not type(None)]
    optional = (
        typing.get_origin(hint) in (Union, types.UnionType)
        and len(options) == 1
        and len(typing.get_args(hint)) == 2
    )
    model = options[0] if optional else hint
    if not (isinstance(model, type) and issubclass(model, BaseModel)) or model is BaseModel:
        shown = "has no annotation"
        if parameter.name == "self":
            fix = (
                "make it a function of the module, or a node of the method of an object: "
                f"node(writer.{get_name(fn)})"
            )
            raise _signature_error(fn, "it is a method, and 'self' is not a slice", fix)
        if find_marks(hint) and typing.get_origin(hint) is Annotated:
            what = f"parameter '{parameter.name}' is a slice that is marked as a whole"
            raise _signature_error(fn, what, "mark its fields instead: text: Untrusted[str]")
        if hint is not None:
            shown = f"is annotated {_format_hint(hint)}, which is not a slice"
        raise _signature_error(
            fn,
            f"parameter '{parameter.name}' {shown}",
            "annotate it with a pydantic model that the state inherits from",
        )
    return Read(model, optional)


def _writes(fn: Callable[..., object], hint: Any) -> tuple[tuple[type[BaseModel], ...], bool]:
    if hint is inspect.Parameter.empty:
        raise _signature_error(
            fn, "its return is not annotated", "annotate the slice that it writes, or `-> None`"
        )
    if hint is None or hint is type(None):
        return (), True
    if typing.get_origin(hint) is Annotated and find_marks(hint):
        what = "it returns a slice that is marked as a whole"
        raise _signature_error(fn, what, "mark its fields instead: text: Untrusted[str]")
    if typing.get_origin(hint) is tuple:
        pair = typing.get_args(hint)
        if len(pair) == 2 and all(_is_model(item) for item in pair) and pair[0] is not pair[1]:
            return pair, False
        raise _signature_error(
            fn,
            f"it returns {_format_hint(hint)}",
            "return one slice, or a tuple of two different ones",
        )
    parts: tuple[Any, ...] = (hint,)
    if typing.get_origin(hint) in (Union, types.UnionType):
        parts = typing.get_args(hint)
    models = [part for part in parts if part is not type(None)]
    if len(models) == 1 and _is_model(models[0]):
        return (models[0],), len(parts) == 2
    raise _signature_error(
        fn,
        f"it returns {_format_hint(hint)}, which is not a slice",
        "return a slice, `Slice | None`, a tuple of two slices, or None",
    )


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel) and hint is not BaseModel


def is_context(hint: Any) -> bool:
    """Return whether an annotation is that of a context."""
    return hint is Context or typing.get_origin(hint) is Context


def find_resources(hint: Any) -> type | None:
    """Return the type of resources that a context must carry, if a value can be checked for it."""
    for kind in typing.get_args(hint)[:1]:
        if not isinstance(kind, type) or kind in (type(None), Any):
            continue
        is_protocol = getattr(kind, "_is_protocol", False)
        if not is_protocol or getattr(kind, "_is_runtime_protocol", False):
            return kind
    return None


def _format_hint(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def _find_name(fn: object) -> str:
    if isinstance(fn, NotCalled):
        return fn.name
    return get_name(fn) if callable(fn) else f"{fn!r:.80}"


def _signature_error(fn: object, what: str, fix: str) -> GraphError:
    name = _find_name(fn)
    where = f"node '{name}'"
    return GraphError(name, [Problem("NODE_SIGNATURE", where, what, fix)], where)
