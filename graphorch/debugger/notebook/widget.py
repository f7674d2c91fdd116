"""The stepper: a session in a cell, with buttons.

Three threads meet here. A front end's message comes on the kernel's main thread or on a subshell's, and not until a cell has finished in
some hosts; it only hands the command over to the background loop. Commands run on worker threads, through the session's public methods.
What the page shows is made and sent on the background loop, by nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets

from graphorch.debugger.breakpoints import AtNode, OnRoute
from graphorch.debugger.notebook.view import Json, detail, given_value, lines_of, nodes_of, view_of
from graphorch.debugger.session import Session
from graphorch.engine.background_loop import background_loop
from graphorch.errors import GraphorchError, InputError

AnySession = Session[Any, Any]
_HERE = Path(__file__).parent


class Stepper(anywidget.AnyWidget):
    """A session, and what was forked from it, side by side."""

    _esm = (_HERE / "stepper.js").read_text(encoding="utf-8")
    _css = (_HERE / "stepper.css").read_text(encoding="utf-8")
    panels: Any = traitlets.List(traitlets.Dict()).tag(sync=True)
    nodes: Any = traitlets.Dict().tag(sync=True)
    lines: Any = traitlets.Dict().tag(sync=True)

    def __init__(self, session: AnySession) -> None:
        plan = session.stepping.plan
        super().__init__(nodes=nodes_of(plan), lines=lines_of(plan))
        self._sessions: list[AnySession] = []
        self._folded: list[set[str]] = []
        self._told: list[str] = []
        self._is_due = False
        self._working: set[asyncio.Task[None]] = set()
        self._add(session)
        background_loop().wait(self._publish())
        self.on_msg(self._on_message)  # pyright: ignore[reportUnknownMemberType]

    def _add(self, session: AnySession) -> None:
        self._sessions.append(session)
        self._folded.append(set())
        self._told.append("")
        session.watch(self._changed)

    @property
    def session(self) -> AnySession:
        """The session that the stepper was made for."""
        return self._sessions[0]

    # ---- towards the page --------------------------------------------------------------------------
    def _changed(self) -> None:
        """Something changed, said from any thread: send it soon, several changes at once."""
        background_loop().loop.call_soon_threadsafe(self._schedule)

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            task = asyncio.ensure_future(self._publish())
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _publish(self) -> None:
        self._is_due = False
        self.panels = [self._panel(number) for number in range(len(self._sessions))]

    def _panel(self, number: int) -> Json:
        session, folded = self._sessions[number], self._folded[number]
        groups = [
            {"path": path, "closed": path in folded}
            for path, node in self.nodes.items()
            if node["opens"]
        ]
        return {
            **view_of(session),
            "svg": session.untitled_svg(sorted(folded)),
            "groups": groups,
            "told": self._told[number],
            "number": number,
        }

    # ---- from the page -------------------------------------------------------------------------------
    def _on_message(self, _widget: object, content: Any, _buffers: object) -> None:
        background_loop().submit(self._handle(content))

    async def _handle(self, content: Any) -> None:
        if not isinstance(content, dict):
            return
        given = cast("Mapping[str, Any]", content)
        number: Any = given.get("panel", 0)
        if number not in range(len(self._sessions)):
            return
        try:
            self._told[number] = ""
            await asyncio.to_thread(self._command, number, given)
        # the border of a page: whatever goes wrong is told there, and the kernel goes on
        except Exception as error:
            self._told[number] = (
                str(error)
                if isinstance(error, GraphorchError)
                else f"{type(error).__name__}: {error}"
            )
        self._schedule()

    def _command(self, number: int, content: Mapping[str, Any]) -> None:
        session, name = self._sessions[number], str(content.get("command"))
        simple: dict[str, Callable[[], object]] = {
            "step": session.step, "into": session.step_into, "go": session.run_until, "back": session.step_back, "pause": session.pause,
        }  # fmt: skip
        if name in simple:
            simple[name]()
        elif name in _COMMANDS:
            _COMMANDS[name](self, number, content)
        else:
            raise InputError(f"The stepper knows no command '{name}'.")

    def _go_until(self, number: int, content: Mapping[str, Any]) -> None:
        self._sessions[number].run_until(until=str(content["box"]))

    def _break(self, number: int, content: Mapping[str, Any]) -> None:
        session, box, line = self._sessions[number], content.get("box"), content.get("line")
        if line is not None:
            source, target = self.lines[line]
            route: AtNode | OnRoute = OnRoute(source, target)
        else:
            route = AtNode(str(box))
        if route in session.breakpoints:
            session.unbreak(route)
        elif isinstance(route, OnRoute):
            session.break_on_route(
                route.source,
                f"{route.source.rpartition('/')[0]}/{route.target}".lstrip("/")
                if route.target != "END"
                else "END",
            )
        else:
            session.break_at(route.path)

    def _break_on_errors(self, number: int, _content: object) -> None:
        session = self._sessions[number]
        found = next((item for item in session.breakpoints if str(item) == "on Exception"), None)
        if found is None:
            session.break_on_error()
        else:
            session.unbreak(found)

    def _unbreak(self, number: int, content: Mapping[str, Any]) -> None:
        session = self._sessions[number]
        for item in session.breakpoints:
            if str(item) == content["text"]:
                session.unbreak(item)

    def _edit(self, number: int, content: Mapping[str, Any]) -> None:
        text = given_value(str(content["value"]), plain=bool(content.get("plain")))
        self._sessions[number].edit({str(content["name"]): text})

    def _pin(self, number: int, content: Mapping[str, Any]) -> None:
        box, values = str(content["box"]), content.get("values")
        plain = {node["name"]: node["type"] == "str" for node in self.nodes[box]["writes"]}
        output = (
            None
            if values is None
            else {name: given_value(text, plain=plain[name]) for name, text in values.items()}
        )
        self._sessions[number].pin(box, output)

    def _answer(self, number: int, content: Mapping[str, Any]) -> None:
        fields = {
            name: given_value(item["value"], plain=False)
            if item["kind"] == "json"
            else item["value"]
            for name, item in content["values"].items()
        }
        self._sessions[number].answer(fields, str(content["question"]))

    def _fork(self, number: int, _content: object) -> None:
        self._add(self._sessions[number].fork())

    def _rerun(self, number: int, content: Mapping[str, Any]) -> None:
        self._add(
            self._sessions[number].rerun(
                str(content.get("start", "")), model=str(content.get("model", ""))
            )
        )

    def _drop(self, number: int, _content: object) -> None:
        """Take a fork off the page; the first session stays."""
        if number:
            self._sessions.pop(number).close()
            self._folded.pop(number)
            self._told.pop(number)

    def _fold(self, number: int, content: Mapping[str, Any]) -> None:
        self._folded[number].symmetric_difference_update({str(content["path"])})

    def _detail(self, number: int, content: Mapping[str, Any]) -> None:
        history, at = self._sessions[number].history, int(content["at"])
        if 0 <= at < len(history):
            found = detail(history[at])
            send = cast("Callable[[Json], None]", self.send)  # pyright: ignore[reportUnknownMemberType]
            background_loop().loop.call_soon_threadsafe(
                send, {"panel": number, "at": at, "detail": found}
            )

    def end(self, reason: str) -> None:
        """Close the sessions, and say why on the page."""
        for session in self._sessions:
            session.close(reason)


_COMMANDS: dict[str, Callable[[Stepper, int, Mapping[str, Any]], None]] = {
    "until": Stepper._go_until,  # pyright: ignore[reportPrivateUsage]
    "break": Stepper._break,  # pyright: ignore[reportPrivateUsage]
    "errors": Stepper._break_on_errors,  # pyright: ignore[reportPrivateUsage]
    "unbreak": Stepper._unbreak,  # pyright: ignore[reportPrivateUsage]
    "edit": Stepper._edit,  # pyright: ignore[reportPrivateUsage]
    "pin": Stepper._pin,  # pyright: ignore[reportPrivateUsage]
    "answer": Stepper._answer,  # pyright: ignore[reportPrivateUsage]
    "fork": Stepper._fork,  # pyright: ignore[reportPrivateUsage]
    "rerun": Stepper._rerun,  # pyright: ignore[reportPrivateUsage]
    "drop": Stepper._drop,  # pyright: ignore[reportPrivateUsage]
    "fold": Stepper._fold,  # pyright: ignore[reportPrivateUsage]
    "detail": Stepper._detail,  # pyright: ignore[reportPrivateUsage]
}


@cache
def steppers() -> dict[str, tuple[str, Stepper]]:
    """The stepper that each cell of this kernel shows, with the execution that made it."""
    return {}
