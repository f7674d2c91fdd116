"""The stepper: a session in a cell, with buttons.

Three threads meet here. A message of the page comes on the kernel's main thread or on a subshell's,
in some hosts only after the running cell has finished; it hands the command over to the background
loop at once. Commands run on worker threads, through the session's public methods. What the page
shows is built and sent on the background loop, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

import anywidget
import traitlets

from graphorch.debugger.breakpoints import AtNode, OnError, OnRoute
from graphorch.debugger.notebook.view import (
    Json,
    build_panel,
    describe_lines,
    describe_nodes,
    describe_step,
    parse_value,
)
from graphorch.debugger.session import Session
from graphorch.errors import GraphorchError, InputError
from graphorch.runs.background_loop import background_loop

AnySession: TypeAlias = Session[Any, Any]
Content: TypeAlias = Mapping[str, Any]
_HERE = Path(__file__).parent


@dataclass(slots=True)
class _Panel:
    """One session on the page, the sub-flows closed in its picture, and its last error."""

    session: AnySession
    folded: set[str] = field(default_factory=set[str])
    notice: str = ""


class Stepper(anywidget.AnyWidget):
    """A session and its forks, side by side."""

    _esm = (_HERE / "stepper.js").read_text(encoding="utf-8")
    _css = (_HERE / "stepper.css").read_text(encoding="utf-8")
    panels: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    nodes: Any = traitlets.Dict().tag(sync=True)
    lines: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, session: AnySession) -> None:
        plan = session.controller.plan
        super().__init__(nodes=describe_nodes(plan), lines=describe_lines(plan))
        self._panels: list[_Panel] = []
        self._is_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._add(session)
        background_loop().wait(self._publish())
        self.on_msg(self._on_message)  # pyright: ignore[reportUnknownMemberType]

    @property
    def session(self) -> AnySession:
        """Session that the stepper was made for."""
        return self._panels[0].session

    def end(self, reason: str) -> None:
        """Close all sessions; the page shows the reason."""
        for panel in self._panels:
            panel.session.close(reason)

    def _add(self, session: AnySession) -> None:
        self._panels.append(_Panel(session))
        session.controller.observe(self._on_change)

    # ---- to the page -----------------------------------------------------------------------------
    def _on_change(self) -> None:
        """Publish soon, several changes at once. Called from any thread."""
        background_loop().loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            task = asyncio.ensure_future(self._publish())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _publish(self) -> None:
        self._is_due = False
        self.panels = [self._build(number, panel) for number, panel in enumerate(self._panels)]

    def _build(self, number: int, panel: _Panel) -> Json:
        groups: list[Json] = [
            {"path": path, "closed": path in panel.folded}
            for path, node in self.nodes.items()
            if node["opens"]
        ]
        return build_panel(
            panel.session, number, notice=panel.notice, folded=panel.folded, groups=groups
        )

    # ---- from the page ---------------------------------------------------------------------------
    def _on_message(self, _widget: object, content: Any, _buffers: object) -> None:
        background_loop().submit(self._handle(content))

    async def _handle(self, content: Any) -> None:
        if not isinstance(content, dict):
            return
        message = cast("Content", content)
        number: Any = message.get("panel", 0)
        if not isinstance(number, int) or not 0 <= number < len(self._panels):
            return
        panel = self._panels[number]
        try:
            panel.notice = ""
            await asyncio.to_thread(self._execute, number, message)
        except GraphorchError as error:
            panel.notice = str(error)
        except Exception as error:
            # The border of a page: every error is shown there, and the kernel goes on.
            panel.notice = f"{type(error).__name__}: {error}"
        self._schedule()

    def _execute(self, number: int, message: Content) -> None:
        """Carry out one command of the page."""
        name = str(message.get("command"))
        session = self._panels[number].session
        without_arguments: dict[str, Callable[[], object]] = {
            "step": session.step,
            "into": session.step_into,
            "go": session.run_until,
            "back": session.step_back,
            "pause": session.pause,
            "errors": lambda: _toggle_error_breakpoint(session),
            "fork": lambda: self._add(session.fork()),
            "drop": lambda: self._drop(number),
        }
        with_arguments: dict[str, Callable[[int, Content], object]] = {
            "until": lambda _, message: session.run_until(until=str(message["box"])),
            "break": self._toggle_breakpoint,
            "unbreak": self._unbreak,
            "edit": self._edit,
            "pin": self._pin,
            "answer": self._answer,
            "rerun": self._rerun,
            "fold": self._fold,
            "detail": self._send_detail,
        }
        if name in without_arguments:
            without_arguments[name]()
        elif name in with_arguments:
            with_arguments[name](number, message)
        else:
            raise InputError(f"The stepper has no command '{name}'.")

    def _toggle_breakpoint(self, number: int, message: Content) -> None:
        """Set or remove the breakpoint on a line or at a box."""
        session, line = self._panels[number].session, message.get("line")
        if line is None:
            path = str(message.get("box"))
            if AtNode(path) in session.breakpoints:
                session.unbreak(AtNode(path))
            else:
                session.break_at(path)
            return
        source, target = self.lines[line]
        if OnRoute(source, target) in session.breakpoints:
            session.unbreak(OnRoute(source, target))
        elif target == "END":
            session.break_on_route(source, target)
        else:
            # Both ends of a line are on one level, and a line names its target by name only.
            flow_path = source.rpartition("/")[0]
            session.break_on_route(source, f"{flow_path}/{target}".lstrip("/"))

    def _unbreak(self, number: int, message: Content) -> None:
        session = self._panels[number].session
        for breakpoint in session.breakpoints:
            if str(breakpoint) == message["text"]:
                session.unbreak(breakpoint)

    def _edit(self, number: int, message: Content) -> None:
        value = parse_value(str(message["value"]), plain=bool(message.get("plain")))
        self._panels[number].session.edit({str(message["name"]): value})

    def _pin(self, number: int, message: Content) -> None:
        box, texts = str(message["box"]), message.get("values")
        session = self._panels[number].session
        if texts is None:
            session.pin(box, None)
            return
        is_plain = {field["name"]: field["type"] == "str" for field in self.nodes[box]["writes"]}
        values = {name: parse_value(text, plain=is_plain[name]) for name, text in texts.items()}
        session.pin(box, values)

    def _answer(self, number: int, message: Content) -> None:
        values: dict[str, Any] = {}
        for name, given in message["values"].items():
            value = given["value"]
            if given["kind"] == "json":
                value = parse_value(value, plain=False)
            values[name] = value
        self._panels[number].session.answer(values, str(message["question"]))

    def _rerun(self, number: int, message: Content) -> None:
        start, model = str(message.get("start", "")), str(message.get("model", ""))
        self._add(self._panels[number].session.rerun(start, model=model))

    def _drop(self, number: int) -> None:
        """Take a fork off the page; the first session stays."""
        if number:
            self._panels.pop(number).session.close()

    def _fold(self, number: int, message: Content) -> None:
        self._panels[number].folded.symmetric_difference_update({str(message["path"])})

    def _send_detail(self, number: int, message: Content) -> None:
        history, at = self._panels[number].session.history, int(message["at"])
        if not 0 <= at < len(history):
            return
        answer = {"panel": number, "at": at, "detail": describe_step(history[at])}
        send = cast("Callable[[Json], None]", self.send)  # pyright: ignore[reportUnknownMemberType]
        background_loop().loop.call_soon_threadsafe(send, answer)


def _toggle_error_breakpoint(session: AnySession) -> None:
    if OnError() in session.breakpoints:
        session.unbreak(OnError())
    else:
        session.break_on_error()


@cache
def shown_steppers() -> dict[str, tuple[str, Stepper]]:
    """Return the steppers that the cells of this kernel show, each with the execution of its cell.

    The dictionary is the one of this process, and is changed in place.
    """
    return {}
