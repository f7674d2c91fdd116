"""The stepper: a session in a cell, with buttons.

Three threads meet here. A message of the page comes on the kernel's main thread or on a subshell's,
in some hosts only after the running cell has finished; it hands the command over to the background
loop at once. Commands run on worker threads, through the session's public methods. What the page
shows is built and sent on the background loop, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias, cast

import anywidget
import traitlets

from graphorch.debugger.breakpoints import AtNode, OnError, OnRoute
from graphorch.debugger.live_text import LiveText
from graphorch.debugger.notebook.page import read_script, read_style
from graphorch.debugger.notebook.timeline import describe_items
from graphorch.debugger.notebook.values import parse_value
from graphorch.debugger.notebook.view import (
    Json,
    build_panel,
    describe_lines,
    describe_nodes,
    describe_step,
    name_session,
)
from graphorch.debugger.session import Session
from graphorch.debugger.steps import DebugStep
from graphorch.errors import GraphorchError, InputError
from graphorch.runs.background_loop import background_loop

AnySession: TypeAlias = Session[Any, Any]
Content: TypeAlias = Mapping[str, Any]
_TEXT_PAUSE = 0.1  # seconds between two messages with what models write
_DONE = ("done", "handled")  # kinds of steps that can run again


class _Panel:
    """One session on the page: what the page shows of it, and what belongs to the page alone.

    It keeps the step that its cell showed. It moves on with what is done on this page, and with
    what other cells do only once a person asks it to follow: a notebook that ran in one go still
    shows beside each text what that text speaks of.
    """

    def __init__(self, session: AnySession, name: str, stepper: Stepper) -> None:
        self.session = session
        self.name = name
        self.notice = ""
        self.folded: set[str] = set()
        self.follows = False
        self.steps: list[DebugStep] = session.history
        self.live_text = LiveText(stepper.send_texts_soon)
        self._view: Json = {}
        self._commands = 0  # of this page, under way
        self._stepper = stepper
        session.controller.observe(self._take_change)
        session.controller.watch(self.live_text)

    @property
    def is_current(self) -> bool:
        """Whether the session stands at the step that the page shows."""
        history = self.session.controller.history
        if len(history) != len(self.steps):
            return False
        return not history or history[-1] is self.steps[-1]

    def refresh(self, groups: Sequence[Json]) -> Json:
        """Return what the page shows, from the session if that stands at the same step."""
        session = self.session
        if self._moves:
            self.steps = session.history
        is_busy_elsewhere = session.controller.is_busy and not self._moves
        if not self._view or (self.is_current and not is_busy_elsewhere):
            self._view = build_panel(session, folded=self.folded, groups=groups)
        moved = None
        if not self.is_current:
            steps = len(session.controller.history)
            moved = {"steps": steps, "next": session.next, "status": session.status}
        return {**self._view, "name": self.name, "notice": self.notice, "moved": moved}

    def show_now(self) -> None:
        """Show where the session stands now."""
        self.follows = False
        self.steps = self.session.history

    def follow(self) -> None:
        """Show where the session stands, from now on."""
        self.follows = True
        self._take_change()

    @contextmanager
    def moving(self) -> Generator[None]:
        """Move on with what happens in this block. Raises `InputError` where the page is behind."""
        if not self.is_current:
            raise InputError(
                "The session went on after this cell showed it. Press 'Follow' to go on with it."
            )
        self._commands += 1
        try:
            yield
        finally:
            self.steps = self.session.history
            self._commands -= 1

    @property
    def _moves(self) -> bool:
        return self.follows or self._commands > 0

    def _take_change(self) -> None:
        """Publish a change of the session, and move on with it. Called from any thread."""
        if self._moves:
            self.steps = self.session.history
        self._stepper.publish_soon()


class Stepper(anywidget.AnyWidget):
    """A session and its forks, side by side."""

    _esm = read_script()
    _css = read_style()
    panels: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    nodes: Any = traitlets.Dict().tag(sync=True)
    lines: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, session: AnySession) -> None:
        plan = session.controller.plan
        super().__init__(nodes=describe_nodes(plan), lines=describe_lines(plan))
        self._panels: list[_Panel] = []
        self._is_due = False
        self._is_text_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = 0  # forks and reruns so far
        self._add(session, name_session(session))
        background_loop().wait(self._publish())
        self.on_msg(self._on_message)  # pyright: ignore[reportUnknownMemberType]

    @property
    def session(self) -> AnySession:
        """Session that the stepper was made for."""
        return self._panels[0].session

    def show_now(self) -> None:
        """Show where the sessions stand now, as their cell was run again."""
        for panel in self._panels:
            panel.show_now()
        background_loop().wait(self._publish())

    def end(self, reason: str) -> None:
        """Close all sessions; the page shows the reason."""
        for panel in self._panels:
            panel.session.close(reason)

    def _add(self, session: AnySession, name: str) -> None:
        self._panels.append(_Panel(session, name, self))

    def _add_branch(self, session: AnySession) -> None:
        self._made += 1
        self._add(session, f"{name_session(session)} {self._made}")

    # ---- to the page -----------------------------------------------------------------------------
    def publish_soon(self) -> None:
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
        self.panels = [
            {**panel.refresh(self._list_groups(panel)), "number": number}
            for number, panel in enumerate(self._panels)
        ]

    def send_texts_soon(self) -> None:
        """Send the texts that models write now, some times a second. Called on the loop."""
        if not self._is_text_due:
            self._is_text_due = True
            background_loop().loop.call_later(_TEXT_PAUSE, self._send_texts)

    def _send_texts(self) -> None:
        self._is_text_due = False
        for panel in self._panels:
            if panel.live_text.texts and panel.is_current:
                self._send_to(panel, texts=dict(panel.live_text.texts))

    def _send_to(self, panel: _Panel, **answer: Any) -> None:
        """Send a message to a panel of the page. Called from any thread."""
        send = cast("Callable[[Json], None]", self.send)  # pyright: ignore[reportUnknownMemberType]
        message = {"panel": self._panels.index(panel), **answer}
        background_loop().loop.call_soon_threadsafe(send, message)

    def _list_groups(self, panel: _Panel) -> list[Json]:
        return [
            {"path": path, "closed": path in panel.folded}
            for path, node in self.nodes.items()
            if node["opens"]
        ]

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
        panel.notice = ""
        try:
            await self._execute(panel, message)
        except GraphorchError as error:
            panel.notice = str(error)
        except Exception as error:
            # The border of a page: every error is shown there, and the kernel goes on.
            panel.notice = f"{type(error).__name__}: {error}"
        self._schedule()

    async def _execute(self, panel: _Panel, message: Content) -> None:
        """Carry out one command of the page."""
        name = str(message.get("command"))
        # What can be done also where the session went on since.
        looking: dict[str, Callable[[_Panel, Content], None]] = {
            "detail": self._send_detail,
            "items": self._send_items,
            "follow": lambda panel, _: panel.follow(),
            "drop": self._drop,
        }
        moving: dict[str, Callable[[_Panel, Content], object]] = {
            "step": lambda panel, _: panel.session.step(),
            "into": lambda panel, _: panel.session.step_into(),
            "go": lambda panel, _: panel.session.run_until(),
            "until": lambda panel, message: panel.session.run_until(str(message["box"])),
            "back": lambda panel, _: panel.session.step_back(),
            "pause": lambda panel, _: panel.session.pause(),
            "errors": lambda panel, _: _toggle_error_breakpoint(panel.session),
            "break": self._toggle_breakpoint,
            "unbreak": self._unbreak,
            "edit": self._edit,
            "pin": self._pin,
            "answer": self._answer,
            "signal": self._send_signal,
            "skip": self._skip_wait,
            "decide": self._decide,
            "fork": lambda panel, _: self._add_branch(panel.session.fork()),
            "rerun": self._rerun,
            "fold": self._fold,
        }
        if name in looking:
            await asyncio.to_thread(looking[name], panel, message)
        elif name in moving:
            await asyncio.to_thread(_move, moving[name], panel, message)
        else:
            raise InputError(f"The stepper has no command '{name}'.")

    def _toggle_breakpoint(self, panel: _Panel, message: Content) -> None:
        """Set or remove the breakpoint on a line or at a box."""
        session, line = panel.session, message.get("line")
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

    def _unbreak(self, panel: _Panel, message: Content) -> None:
        session = panel.session
        for breakpoint in session.breakpoints:
            if str(breakpoint) == message["text"]:
                session.unbreak(breakpoint)

    def _edit(self, panel: _Panel, message: Content) -> None:
        value = parse_value(str(message["value"]), plain=bool(message.get("plain")))
        panel.session.edit({str(message["name"]): value})

    def _pin(self, panel: _Panel, message: Content) -> None:
        box, texts = str(message["box"]), message.get("values")
        session = panel.session
        if texts is None:
            session.pin(box, None)
            return
        is_plain = {field["name"]: field["type"] == "str" for field in self.nodes[box]["writes"]}
        values = {name: parse_value(text, plain=is_plain[name]) for name, text in texts.items()}
        session.pin(box, values)

    def _answer(self, panel: _Panel, message: Content) -> None:
        panel.session.answer(_read_form(message), str(message["question"]))

    def _send_signal(self, panel: _Panel, message: Content) -> None:
        """Send the signal that a node waits for."""
        panel.session.send(str(message["signal"]), _read_form(message), key=str(message["key"]))

    def _skip_wait(self, panel: _Panel, message: Content) -> None:
        """Let the time come that a node waits for."""
        panel.session.skip_wait(str(message["question"]))

    def _decide(self, panel: _Panel, message: Content) -> None:
        """Approve a call of a tool, refuse it, or answer instead of the tool."""
        decision, words = str(message["decision"]), str(message["words"]).strip()
        values: dict[str, Any] = {"approved": decision == "approve"}
        if decision == "answer":
            if not words:
                raise InputError("Write what the model gets instead of the result of the tool.")
            values["answer"] = words
        elif decision == "refuse":
            values["reason"] = words
        elif message["arguments"] is not None:
            values["arguments"] = parse_value(str(message["arguments"]), plain=False)
        panel.session.answer(values, str(message["question"]))

    def _rerun(self, panel: _Panel, message: Content) -> None:
        """Run the node of one step again, beside the session."""
        at, model = int(message["at"]), str(message.get("model", "")).strip()
        start = _name_visit(panel.steps, at)
        self._add_branch(panel.session.rerun(start, model=model))

    def _drop(self, panel: _Panel, _: Content) -> None:
        """Take a fork off the page; the first session stays."""
        if panel is not self._panels[0]:
            self._panels.remove(panel)
            panel.session.close()

    def _fold(self, panel: _Panel, message: Content) -> None:
        panel.folded.symmetric_difference_update({str(message["path"])})

    def _send_detail(self, panel: _Panel, message: Content) -> None:
        at = int(message["at"])
        if 0 <= at < len(panel.steps):
            self._send_to(panel, at=at, detail=describe_step(panel.steps[at], at))

    def _send_items(self, panel: _Panel, message: Content) -> None:
        first, last = int(message["first"]), int(message["last"])
        self._send_to(panel, first=first, items=describe_items(panel.steps, first, last))


def _move(command: Callable[[_Panel, Content], object], panel: _Panel, message: Content) -> None:
    """Carry out a command of the page; what happens after its end is no longer its doing."""
    with panel.moving():
        command(panel, message)


def _name_visit(steps: Sequence[DebugStep], at: int) -> str:
    """Return a step as `path#visit`, as a rerun names it."""
    if not 0 <= at < len(steps):
        raise InputError(f"There is no step {at + 1} to run again.")
    path = steps[at].path
    visits = [step for step in steps[: at + 1] if step.path == path and step.kind in _DONE]
    return f"{path}#{len(visits)}"


def _toggle_error_breakpoint(session: AnySession) -> None:
    if OnError() in session.breakpoints:
        session.unbreak(OnError())
    else:
        session.break_on_error()


@cache
def shown_steppers() -> dict[str, tuple[str, list[Stepper]]]:
    """Return the steppers that each cell of this kernel shows, with the execution of the cell.

    The dictionary is the one of this process, and is changed in place.
    """
    return {}


def _read_form(message: Content) -> dict[str, Any]:
    """Return the values that a person wrote into a form, by field."""
    values: dict[str, Any] = {}
    for name, given in message["values"].items():
        value = given["value"]
        values[name] = parse_value(value, plain=False) if given["kind"] == "json" else value
    return values
