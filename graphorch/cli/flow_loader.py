"""From FLOW on the command line to a flow: `path.py`, `path.py:name`, `module`, `module:name`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from graphorch.cli.exit_codes import find_line
from graphorch.errors import GraphError, InputError, did_you_mean
from graphorch.flow.flow import Flow
from graphorch.flow.graph import Graph

_FILE = re.compile(r"(?P<file>.*\.py)(?::(?P<name>.*))?", re.DOTALL)
_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_DEFINE_FLOW = "Write `flow = graph.build()` at its top level, outside of any function."
_SAMPLE_NAMES = ("sample", "SAMPLE")

AnyFlow: TypeAlias = Flow[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow, the reference to it (`path.py:name`), and the sample input in its module, if any.

    `about` is the docstring of the module.
    """

    flow: AnyFlow
    reference: str
    sample: BaseModel | None
    about: str = ""

    @property
    def source(self) -> str:
        """File or module of the flow."""
        return self.reference.rpartition(":")[0]


class ModuleLoadError(InputError):
    """A module of the user raised while it was loaded; the cause is that exception."""


def load_flow(reference: str) -> LoadedFlow:
    """Return the flow that a reference means; of several in a module, the one named `flow`.

    Raises `InputError` if there is no such flow, and `GraphError` if its graph does not build.
    """
    module, source, name = load_module(reference)
    if name:
        return _get_flow(module, source, name)
    names = _list_flow_names(module)
    if not names:
        raise _no_flow(source)
    if len(names) == 1:
        return _get_flow(module, source, names[0])
    if "flow" in names:
        return _get_flow(module, source, "flow")
    lines = "".join(f"\n  {source}:{name}" for name in names)
    raise InputError(
        f"{source} defines {len(names)} flows, and none of them is called 'flow'. "
        f"Name one of them:{lines}"
    )


def load_flows(reference: str) -> list[LoadedFlow]:
    """Return the flow that is named, or every flow of the module. Raises as `load_flow` does.

    What is suspicious about them is left to the caller, and not logged.
    """
    logger = logging.getLogger(Graph.__module__)
    logger.addFilter(_drop)
    try:
        module, source, name = load_module(reference)
        names = [name] if name else _list_flow_names(module)
        if not names:
            raise _no_flow(source)
        return [_get_flow(module, source, name) for name in names]
    finally:
        logger.removeFilter(_drop)


def _drop(_: logging.LogRecord) -> bool:
    return False


def _list_flow_names(module: ModuleType) -> list[str]:
    """Return the names of the flows in a module, each flow once; without any, of its graphs."""
    for kind in (Flow, Graph):
        names: dict[int, str] = {}
        for name, value in vars(module).items():
            if isinstance(value, kind) and not name.startswith("_"):
                names.setdefault(id(cast("object", value)), name)
        if names:
            return list(names.values())
    return []


def _no_flow(source: str) -> InputError:
    return InputError(f"{source} defines no flow. {_DEFINE_FLOW}")


def _get_flow(module: ModuleType, source: str, name: str) -> LoadedFlow:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Graph):
        value = cast("Graph[Any, Any, Any]", value).build()
    if isinstance(value, Flow):
        flow = cast("AnyFlow", value)
        about = inspect.cleandoc(module.__doc__ or "")
        return LoadedFlow(flow, f"{source}:{name}", _find_sample(module, flow), about)
    names = _list_flow_names(module)
    hint = did_you_mean(name, names) if names else _DEFINE_FLOW
    if value is None:
        raise InputError(f"{source} has no flow '{name}'. {hint}")
    raise InputError(f"'{name}' in {source} is a {type(value).__name__}, not a flow. {hint}")


def _find_sample(module: ModuleType, flow: AnyFlow) -> BaseModel | None:
    for name in _SAMPLE_NAMES:
        value = getattr(module, name, None)
        if isinstance(value, flow.plan.input):
            return value
    return None


# ---- modules -------------------------------------------------------------------------------------
def load_module(reference: str) -> tuple[ModuleType, str, str]:
    """Return the module of a reference, its file or name as typed, and the name in it, if any.

    Raises as `load_flow` does.
    """
    match = _FILE.fullmatch(reference)
    if match:
        return _load_file(match["file"]), match["file"], match["name"] or ""
    module, _, name = reference.partition(":")
    if Path(module).is_file():
        raise InputError(f"'{module}' is not a Python file: its name does not end in .py.")
    if not _MODULE_NAME.fullmatch(module):
        raise InputError(
            f"'{reference}' is not a FLOW. Write path.py, path.py:name or module:name. "
            "Options of the flow come after it."
        )
    return _import_module(module), module, name


def _load_file(file: str) -> ModuleType:
    path = Path(file)
    if not path.is_file():
        problem = "is a directory" if path.is_dir() else "does not exist"
        raise InputError(f"{file} {problem}. {_suggest_files(path)}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # as for a script: modules beside it can be imported
        sys.path.insert(0, folder)
    name = _unique_module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # registered first: annotations of its models are looked up there
    sys.modules[name] = module
    try:
        with _explain_load_errors(file):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _unique_module_name(path: Path) -> str:
    """Return a name that does not shadow another module: the stem and a hash of the whole path."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return f"{re.sub(r'[^0-9a-zA-Z]', '_', path.stem)}_{digest[:8]}"


def _import_module(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        with _explain_load_errors(name):
            return importlib.import_module(name)
    except ModuleLoadError as error:
        missing = error.__cause__
        if not isinstance(missing, ModuleNotFoundError) or not missing.name:
            raise
        # only if the module itself is missing: an import inside of it that fails is its own fault
        if name != missing.name and not name.startswith(f"{missing.name}."):
            raise
        raise InputError(
            f"There is no module '{missing.name}', neither in {here} nor installed. "
            f"To name a file, write its path with its ending: {name.replace('.', '/')}.py"
        ) from None


@contextlib.contextmanager
def _explain_load_errors(source: str) -> Generator[None]:
    """Turn what a module of the user raises into one message; its prints go to standard error."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except GraphError as error:
        error.add_note(f"  {find_line(error) or source}")
        raise
    except SyntaxError as error:
        where = f"{error.filename or source}:{error.lineno}"
        line = f"\n    {error.text.strip()}" if error.text else ""
        raise ModuleLoadError(f"{where} is not valid Python: {error.msg}.{line}") from error
    except SystemExit as error:
        raise ModuleLoadError(
            f"{source} ended the program while it was loaded (sys.exit({error.code!r})). "
            "Put its script under `if __name__ == '__main__':`."
        ) from error
    except Exception as error:  # the border to the user's code: it may raise anything
        # what `flow.run` returns without `await` has no attributes of a result
        hint = ""
        owner = error.obj if isinstance(error, AttributeError) else None
        if inspect.iscoroutine(owner):
            hint = "; write `await` before the call that made it, or `run_sync`"
            owner.close()  # or Python says the same once more, without the place
        raise ModuleLoadError(
            f"{find_line(error) or source}: {type(error).__name__}: {error}{hint}\n"
            "  Correct it there; --debug shows the whole traceback."
        ) from error


def _suggest_files(path: Path) -> str:
    """Return which Python files the user may have meant."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no directory '{folder}' in {Path.cwd()}."
    return did_you_mean(path.name, [entry.name for entry in folder.glob("*.py")])
