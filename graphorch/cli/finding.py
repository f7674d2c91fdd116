"""From the word FLOW on the command line to a flow: `path.py`, `path.py:name`, `module` or `module:name`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pydantic import BaseModel

from graphorch.errors import GraphError, InputError, did_you_mean
from graphorch.flow.flow import Flow
from graphorch.flow.graph import Graph

_FILE = re.compile(r"(?P<file>.*\.py)(?::(?P<name>.*))?", re.DOTALL)
_SAMPLES = ("sample", "SAMPLE")

AnyFlow = Flow[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A flow, where it was found, and the sample input that stands beside it."""

    flow: AnyFlow
    where: str
    sample: BaseModel | None


def find(reference: str) -> Found:
    """The one flow that a reference means; of several in a file that does not name one, the one called `flow`.

    Raises `InputError` if there is no such flow, and `GraphError` if its graph does not build.
    """
    module, shown, name = _loaded(reference)
    if name:
        return _named(module, shown, name)
    names = _names(module)
    if len(names) > 1 and "flow" not in names:
        lines = "".join(f"\n  {shown}:{text}" for text in names)
        raise InputError(
            f"{shown} defines {len(names)} flows, and none of them is called 'flow'. Say which one:{lines}"
        )
    return (
        _named(module, shown, "flow" if "flow" in names else names[0])
        if names
        else _none(module, shown)
    )


def find_all(reference: str) -> list[Found]:
    """The flow that is named, or every flow of the module. Raises as `find` does."""
    module, shown, name = _loaded(reference)
    names = [name] if name else _names(module)
    return [_named(module, shown, text) for text in names] or [_none(module, shown)]


def _names(module: ModuleType) -> list[str]:
    """The names of the flows of a module, each flow once; of its graphs, if nobody has built one."""
    for kind in (Flow, Graph):
        names: dict[int, str] = {}
        for name, value in vars(module).items():
            if isinstance(value, kind) and not name.startswith("_"):
                names.setdefault(id(value), name)  # pyright: ignore[reportUnknownArgumentType]
        if names:
            return list(names.values())
    return []


def _none(module: ModuleType, shown: str) -> Found:
    raise InputError(
        f"{shown} defines no flow. Write `flow = graph.build()` at its top level, outside of any function."
    )


def _named(module: ModuleType, shown: str, name: str) -> Found:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Graph):
        value = value.build()  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]
    if isinstance(value, Flow):
        flow = cast("AnyFlow", value)
        return Found(flow, f"{shown}:{name}", _sample(module, flow))
    if value is None:
        raise InputError(
            f"{shown} has no '{name}'. Flows in it: {did_you_mean(name, _names(module))}"
        )
    raise InputError(
        f"'{name}' in {shown} is no flow but a {type(value).__name__}. Flows in it: {did_you_mean(name, _names(module))}"
    )


def _sample(module: ModuleType, flow: AnyFlow) -> BaseModel | None:
    values = (getattr(module, name, None) for name in _SAMPLES)
    return next((value for value in values if isinstance(value, flow.plan.input)), None)


def loaded(reference: str) -> tuple[ModuleType, str, str]:
    """The module that a reference means, how to call it in messages, and the name in it, perhaps empty. Raises as `find` does."""
    return _loaded(reference)


# ---- loading -------------------------------------------------------------------------------------
def _loaded(reference: str) -> tuple[ModuleType, str, str]:
    """The module, how to call it in messages, and the name in it, perhaps empty."""
    match = _FILE.fullmatch(reference)
    if match:
        return _from_file(match["file"]), match["file"], match["name"] or ""
    module, _, name = reference.partition(":")
    if Path(module).is_file():
        raise InputError(f"'{module}' is no Python file: its name does not end in .py.")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module):
        raise InputError(
            f"'{reference}' is no FLOW. Write path.py, path.py:name or module:name. Options of the flow come after it."
        )
    return _from_module(module), module, name


def _from_file(file: str) -> ModuleType:
    path = Path(file)
    if not path.is_file():
        wrong = "is a directory" if path.is_dir() else "does not exist"
        raise InputError(f"{file} {wrong}. {_beside(path)}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as for a script: what lies beside it can be imported
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its models are looked up there
    try:
        with _explained(file):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """A name that cannot shadow another module."""
    return f"{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _from_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with _explained(name):
            return importlib.import_module(name)
    except CannotLoad as error:
        cause = error.__cause__
        if (
            isinstance(cause, ModuleNotFoundError)
            and cause.name
            and (name == cause.name or name.startswith(f"{cause.name}."))
        ):
            hint = f"To name a file, write its path with its ending: {name.replace('.', '/')}.py"
            raise InputError(
                f"There is no module '{cause.name}', neither in {here} nor installed. {hint}"
            ) from None
        raise


class CannotLoad(InputError):
    """A user's module raised while it was loaded; the cause is the exception."""


@contextlib.contextmanager
def _explained(shown: str) -> Generator[None]:
    """Turn what a user's module raises into one message. What it prints is no result, and goes to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except GraphError as error:
        error.add_note(f"  {_place(error, shown)}")
        raise
    except SyntaxError as error:
        where = f"{error.filename or shown}:{error.lineno}"
        line = f"\n    {error.text.strip()}" if error.text else ""
        raise CannotLoad(f"{where} is no valid Python: {error.msg}.{line}") from error
    except SystemExit as error:
        hint = "Put what it does as a script under `if __name__ == '__main__':`."
        raise CannotLoad(
            f"{shown} ended the program while it was loaded (sys.exit({error.code!r})). {hint}"
        ) from error
    except Exception as error:  # the border to the user's code: anything may come out of it
        raise CannotLoad(
            f"{_place(error, shown)}: {type(error).__name__}: {error}\n  Correct it there; --debug shows the whole traceback."
        ) from error


def _place(error: Exception, shown: str) -> str:
    """The line of the user's own code that raised: the last one outside of installed packages and of this one."""
    others = (
        str(Path(__file__).parents[1]),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        "<",
    )
    own = [
        summary
        for summary in traceback.extract_tb(error.__traceback__)
        if not summary.filename.startswith(others)
    ]
    if not own:
        return shown
    line = f", in `{own[-1].line}`" if own[-1].line else ""
    return f"{own[-1].filename}:{own[-1].lineno}{line}"


def _beside(path: Path) -> str:
    """What may have been meant."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no directory '{folder}' in {Path.cwd()}."
    return did_you_mean(path.name, [entry.name for entry in folder.glob("*.py")])
