"""A session: one run that a person steps through, looks at, changes and goes back in.

Commands are plain methods that have done their work when they return, in a script and in a notebook's cell alike: the run lives on the
background loop, so no loop of the caller is needed, entered or blocked. (An async twin of each would add nothing but a second name.)
What is read between commands is read on that loop too, so a session may be used from several threads.
"""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Generic, TypeAlias, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.events import Update
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Scope, Status
from graphorch.debugger import breakpoints as stops
from graphorch.debugger.breakpoints import (
    AtNode,
    Breakpoint,
    OnError,
    OnRoute,
    Predicate,
    When,
    step_at,
)
from graphorch.debugger.inputs import (
    Given,
    item_paths,
    list_steps,
    parse_answer,
    parse_output,
    parse_update,
)
from graphorch.debugger.stepper import SteppedRun
from graphorch.debugger.steps import DebugRecorder, DebugStep
from graphorch.engine import fork as forks
from graphorch.engine.attempts.model_calls import RecordingClient
from graphorch.engine.background_loop import background_loop
from graphorch.engine.fork import Difference
from graphorch.engine.report import RunReport as RunRecord
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, WriteConflict, did_you_mean
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record
from graphorch.models.client import ModelClient
from graphorch.render.layout.engine import Engine, layout
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.plan_picture import box_id, draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme
from graphorch.runs.clients import SharedClient
from graphorch.runs.failures import build_run_failed
from graphorch.runs.fork import Effects, fork
from graphorch.runs.pictures import build_overlay
from graphorch.runs.result import Question, Result, build_question, open_question
from graphorch.state.version import Version, unite

T = TypeVar("T")
Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)

Place: TypeAlias = Node[Any] | str
"""A node, or its path (`team/research`); a node means wherever it stands."""


@dataclass(frozen=True, slots=True)
class _Point:
    """Between two steps: the number of the last record, and of moments."""

    seq: int
    moments: int


class Session(Generic[Out, State]):
    """One run, stepped by a person. Made by `Flow.debug`; nothing has run when it comes.

    Steps have one order, whatever the timing: of what could run, the first in canonical order goes, alone. A run that is stepped to its end
    has the result that `run` gives. The run is kept in memory, as it is kept in a journal: values of the state have to survive JSON. Time
    limits of the run do not count while a person thinks, so a session has none. Close it, or let go of it, and nothing of it runs on.
    """

    def __init__(
        self, plan: Plan, settings: RunSettings, client: SharedClient, update: Update | None
    ) -> None:
        self._client = client
        self._listening = RecordingClient(cast("ModelClient", client))
        limits = replace(settings.limits, seconds=None, grace=None)
        self._stepping = SteppedRun(plan, replace(settings, client=self._listening, limits=limits))
        self._input = update
        self._observer = DebugRecorder()
        self._moments: list[DebugStep] = []
        self._points: list[_Point] = []
        self._breakpoints: list[Breakpoint] = []
        self._pinned: dict[str, BaseModel | tuple[BaseModel, ...]] = {}
        self._lock = asyncio.Lock()
        self._is_busy = False
        self._is_pausing = False
        self._closed = ""
        self._stopped_by = ""
        self._from: tuple[RunRecord, set[str]] | None = None
        self._watchers: list[Callable[[], None]] = []
        self._placed: dict[tuple[Any, ...], Any] = {}
        self._finalizer = weakref.finalize(self, _let_go, self._stepping, client)
        if update is not None:
            # as far as the gate: nothing of the flow runs yet
            background_loop().wait(self._begin(update))

    # ---- going on --------------------------------------------------------------------------------
    def step(self) -> DebugStep:
        """Run the next activation until it is over; of a sub-flow or map all that is inside it. Returns what happened.

        Raises `InputError` where there is no next one: the run has ended, or waits for an answer.
        """
        return self._do(self._step(into=False))

    def step_into(self) -> DebugStep:
        """The same, but of a sub-flow or map only the entry: the next step is the first one inside."""
        return self._do(self._step(into=True))

    def run_until(self, until: Place | Predicate | None = None) -> DebugStep:
        """Step on, sub-flows and maps included, until a breakpoint, the end, or what is given here.

        A node (or its path): stop before it runs. A function of the whole state: stop after the step that leaves it true. At least one step is
        made. Raises like `step`.
        """
        return self._do(self._go(until))

    def pause(self) -> None:
        """Have `go` stop after the step that runs now. Call it from another thread, or press the button."""
        self._is_pausing = True

    def answer(
        self, answer: Given, question: Node[Any] | Question | str | None = None
    ) -> DebugStep | None:
        """Answer an open question; which one may be left out if only one is open. No node runs because of it until the next step.

        Returns what happened; None where the answer lets a gate open, and the node behind it is next. Raises `InputError` for an
        answer that does not fit.
        """
        return self._do(self._answer(answer, question))

    # ---- going back, and changing ------------------------------------------------------------------
    def step_back(self, *, effects: Effects = "refuse") -> None:
        """Undo the last step (of `go`: the last single one), as if it had not been made. What its model calls cost stays spent.

        A node with effect `once` that was undone would act again: that is refused, or done with `effects="repeat"`; with `"serve"` what it
        returned is pinned. Raises `InputError` at the start.
        """
        self._do(self._back(effects))

    def edit(self, change: Given) -> DebugStep | None:
        """Change what the last step wrote, and go on from there as if its node had returned that; before the first step, change the input.

        Fields that are not named stay. Any field of the state (inside a sub-flow: of its state) may be named; for a field with a reducer, what
        is given is folded in instead of what the node returned. Raises `InputError` for a field that does not exist or a value of a wrong type.
        """
        return self._do(self._edit(change))

    def pin(self, node: Place, output: Given | tuple[BaseModel, ...] | None) -> None:
        """From now on, serve this output whenever the node is to run, instead of running it; None takes the pin away.

        A node inside a map is pinned for all items, or for one by its path (`workers[3]/dig`). Raises `InputError`.
        """
        self._do(self._pin(node, output))

    def fork(self, *, run_id: str = "") -> Session[Out, State]:
        """A second session that stands where this one does, with its breakpoints and pins; from here on the two know nothing of each other."""
        return self._do(self._fork(run_id or uuid.uuid4().hex))

    def rerun(
        self,
        node: str = "",
        *,
        model: str = "",
        output: Given | None = None,
        effects: Effects = "refuse",
    ) -> Session[Out, State]:
        """A second session in which something that was done is done anew: the last step, or a `node` (`node#2`, `team/node`).

        It runs again, with another `model` if one is named, or gives `output` without running. What does not depend on it is taken over, and
        what does is open again. `difference` of the new session compares the two. Raises `InputError`.
        """
        return self._do(self._rerun(node, model, output, effects))

    # ---- breakpoints -------------------------------------------------------------------------------
    def break_at(self, node: Place) -> Breakpoint:
        """Have `go` stop before a node runs. Raises `InputError` if there is no such node."""
        return self._add(AtNode(self._path(node)))

    def break_on_route(self, source: Place, target: Place) -> Breakpoint:
        """Have `go` stop after an activation of `source` went on to `target`: a route, a way back of a loop, an error edge, or any other edge."""
        path = self._path(source)
        name = self._path(target).rpartition("/")[2] if target != "END" else "END"
        return self._add(OnRoute(path, name))

    def break_on_error(self, kind: type[Exception] = Exception) -> Breakpoint:
        """Have `go` stop after an activation failed like that, whether an error edge carries on or not."""
        return self._add(OnError(kind))

    def break_when(self, holds: Predicate) -> Breakpoint:
        """Have `go` stop after the step that makes a predicate over the whole state true; of a field that nothing assigned yet it is false."""
        return self._add(When(holds))

    def unbreak(self, breakpoint: Breakpoint) -> None:
        """Take a breakpoint away. Raises `InputError` if it is not there."""
        if breakpoint not in self._breakpoints:
            raise InputError(
                f"There is no breakpoint {breakpoint}. There are: {', '.join(map(str, self._breakpoints)) or 'none'}."
            )
        self._breakpoints.remove(breakpoint)
        self._tell()

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """The breakpoints."""
        return tuple(self._breakpoints)

    @property
    def pins(self) -> Mapping[str, BaseModel | tuple[BaseModel, ...]]:
        """What is pinned, by the path of the node."""
        return dict(self._pinned)

    # ---- looking -----------------------------------------------------------------------------------
    @property
    def flow(self) -> str:
        """The flow's name."""
        return self._stepping.plan.name

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._stepping.settings.run_id

    @property
    def status(self) -> str:
        """`paused` between steps, `running` while one is made, `waiting` for an answer; else how the run ended: `succeeded`, `partial`,
        `failed`, `stopped`; or `closed`."""
        if self._closed:
            return "closed"
        if self._is_busy:
            return "running"
        return "paused" if self._stepping.run.status == "running" else self._stepping.run.status

    @property
    def stop_reason(self) -> str:
        """What made the last `go` stop, if it was no end: a breakpoint, a condition, or `pause`."""
        return self._stopped_by

    @property
    def next(self) -> str:
        """The path of what the next step runs; empty where there is none."""
        return next(iter(self.ready), "")

    @property
    def ready(self) -> list[str]:
        """The paths of all that could run, in the order in which steps run them, unless something comes before them."""
        return self._read(lambda: [activation.path for activation in self._stepping.held()])

    @property
    def open_questions(self) -> list[Question]:
        """The open questions; others may be asked while something can still run."""
        return self._read(
            lambda: [
                build_question(activation)
                for activation in self._stepping.scheduler.open_questions()
            ]
        )

    @property
    def history(self) -> list[DebugStep]:
        """What happened, one moment per activation, sub-flows included; the last one is the newest."""
        return list(self._moments)

    @property
    def state(self) -> State:
        """The whole state as it stands: what any branch has written by now, as far as it was assigned. A fresh copy."""
        return self._read(self._state)

    @property
    def current_scope(self) -> tuple[str, BaseModel] | None:
        """Inside a sub-flow or map, where the next step is: its path, and the state there."""
        return self._read(self._state_inside)

    @property
    def result(self) -> Result[Out, State]:
        """The result, as `run` gives it. Raises `RunFailed` for a run that failed, and `InputError` for one that is not over."""
        self._do(self._settled())
        run = self._stepping.run
        if run.status == "running":
            raise InputError(f"The session is not at its end: '{self.next}' is next. Use go().")
        if run.status not in ("succeeded", "partial", "waiting"):
            raise build_run_failed(self._stepping.scheduler)
        return Result(self._stepping.scheduler)

    @property
    def difference(self) -> Difference:
        """How a fork or rerun differs by now from where it came from. Raises `InputError` for a session that came from nowhere."""
        if self._from is None:
            raise InputError(
                "This session is no fork. Call difference on what fork() or rerun() returned."
            )
        return self._read(self._difference)

    def _difference(self) -> Difference:
        assert self._from is not None
        before, copied = self._from
        found = forks.compare_runs(before, self._stepping.scheduler.report, copied)
        old, new = _values(before.run), _values(self._stepping.run)
        names = sorted({*old, *new})
        return replace(
            found,
            fields={
                name: (old.get(name), new.get(name))
                for name in names
                if old.get(name) != new.get(name)
            },
        )

    def svg(
        self,
        *,
        theme: Theme = "auto",
        engine: Engine = "auto",
        depth: int | None = None,
        closed: Sequence[str] = (),
    ) -> str:
        """The picture of the flow with what was done by now on it; `depth` and `closed` say which sub-flows are not opened."""
        return self._read(
            lambda: self._drawn((engine, depth, tuple(sorted(closed))), theme, self.status)
        )

    def untitled_svg(self, closed: Sequence[str]) -> str:
        """The same for those who show the status beside it."""
        return self._read(lambda: self._drawn(("auto", None, tuple(sorted(closed))), "auto", ""))

    def _drawn(
        self, key: tuple[Engine, int | None, tuple[str, ...]], theme: Theme, title: str
    ) -> str:
        plan, (engine, depth, closed) = self._stepping.plan, key
        if key not in self._placed:
            picture = draw_plan(plan, depth=depth, closed=frozenset(closed))
            roomy = {box.id: Mark("done", note="9 calls · 1.2 s") for box in picture.boxes}
            self._placed[key] = picture, layout(picture, engine, overlay=Overlay(roomy))
        picture, placed = self._placed[key]
        held = {activation.id for activation in self._stepping.held()}
        overlay = build_overlay(self._stepping.scheduler.report, held)
        return draw(picture, placed, theme=theme, overlay=replace(overlay, title=title))

    def close(self, reason: str = "closed") -> None:
        """End the session, a step that runs included; nothing of it is left running. What was is still there to be looked at."""
        if not self._closed:
            self._closed = reason
            self._finalizer.detach()
            background_loop().wait(_shut(self._stepping, self._client))
            self._tell()

    def __enter__(self) -> Session[Out, State]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = (
            f"next is '{self.next}'"
            if self.next
            else f"{len(self.open_questions)} open questions"
            if self.open_questions
            else "nothing is left to run"
        )
        return f"<{self.status} session {self.run_id} of {self.flow}: {len(self._moments)} steps, {where}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        # The notebook lies above the flow, and needs packages that are not everybody's: it is asked for by name, when a cell shows a session.
        return import_module("graphorch.debugger.notebook.display").shown(self)

    # ---- for those who show it ---------------------------------------------------------------------
    @property
    def stepping(self) -> SteppedRun:
        """The run under its gate. Read it on the background loop only."""
        return self._stepping

    def watch(self, told: Callable[[], None]) -> None:
        """Call a function whenever something changed; on the background loop, mostly."""
        self._watchers.append(told)

    def _tell(self) -> None:
        for told in self._watchers:
            told()

    # ---- commands, on the loop -------------------------------------------------------------------------
    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return background_loop().wait(self._alone(work))

    async def _alone(self, work: Coroutine[Any, Any, T]) -> T:
        """One command at a time. One that is cancelled leaves the session where it was before the step that it was in."""
        try:
            async with self._lock:
                if self._closed:
                    raise InputError(
                        f"The session is {self._closed}. Make a new one with flow.debug(…)."
                    )
                self._is_busy = True
                try:
                    return await work
                except asyncio.CancelledError:
                    if self._closed:
                        raise InputError(
                            f"The session was {self._closed} in the middle of a step; nothing of it runs any more."
                        ) from None
                    await self._restore()
                    raise
                finally:
                    self._is_busy = False
                    self._tell()
        finally:
            work.close()

    async def _begin(self, update: Update) -> None:
        self._client.begin()
        await self._stepping.begin(update)
        self._look()
        self._points = [_Point(self._stepping.point, 0)]

    async def _settled(self) -> None:
        """Nothing: whoever waits for it has waited for the command before."""

    async def _step(self, *, into: bool) -> DebugStep:
        self._stopped_by = ""
        return (await self._advance(self._first(), into=into))[-1]

    async def _go(self, until: Place | Predicate | None) -> DebugStep:
        self._is_pausing, self._stopped_by = False, ""
        target = AtNode(self._path(cast("Place", until))) if isinstance(until, Node | str) else None
        condition = cast("Predicate", until) if until is not None and target is None else None
        activation: Activation | None = self._first()
        moment: DebugStep | None = None
        before = [*self._breakpoints, *([target] if target is not None else [])]
        while activation is not None:
            if moment is not None and (hit := stops.stops_before(activation, before)) is not None:
                self._stopped_by = str(hit)
                break
            true = [
                item
                for item in self._breakpoints
                if isinstance(item, When) and stops.holds(item.holds, self._state())
            ]
            moments = await self._advance(activation, into=True)
            moment = moments[-1]
            self._stopped_by = self._why_stop(moments, condition, true)
            if self._stopped_by:
                break
            activation = next(iter(self._stepping.held()), None)
        assert moment is not None
        return moment

    def _why_stop(
        self, moments: list[DebugStep], condition: Predicate | None, true: list[When]
    ) -> str:
        if (hit := stops.stops_after(moments, self._breakpoints)) is not None:
            return str(hit)
        if condition is not None and stops.holds(condition, self._state()):
            return str(When(condition))
        for item in self._breakpoints:
            if (
                isinstance(item, When)
                and item not in true
                and stops.holds(item.holds, self._state())
            ):
                return str(item)
        return "pause" if self._is_pausing else ""

    def _first(self) -> Activation:
        """What is next. Raises `InputError` that says why nothing is."""
        held = self._stepping.held()
        if held:
            return held[0]
        run = self._stepping.run
        if run.status == "waiting":
            asked = "; ".join(
                f"'{question.path}' asks: {question.text}" for question in self.open_questions
            )
            raise InputError(
                f"Nothing can run before a question is answered. {asked} Use answer(…)."
            )
        if run.status in ("succeeded", "partial"):
            raise InputError(
                f"The session is at its end, the run {run.status}. Look at result, go back(), or make a new one with flow.debug(…)."
            )
        failed = "; ".join(
            f"'{activation.path}' raised {type(activation.failure).__name__}: {activation.failure}"
            for activation in run.failed()
        )
        raise InputError(
            f"The run {run.status} ({run.reason}): {failed or 'nothing can run'}. Go back() to try again, or edit(…) what it should have written."
        )

    async def _advance(self, activation: Activation, *, into: bool) -> list[DebugStep]:
        """Let one activation through, and unless `into` all that follows inside it; one point to go back to."""
        later = asyncio.get_running_loop().call_later(0.15, self._tell)
        try:
            moments = await self._let_through(activation)
            while (
                not into
                and activation.status is Status.ENTERED
                and (inner := self._stepping.next_inside(activation)) is not None
            ):
                moments += await self._let_through(inner)
        finally:
            later.cancel()
        self._points.append(_Point(self._stepping.point, len(self._moments)))
        return moments

    async def _let_through(self, activation: Activation) -> list[DebugStep]:
        for item in self._stepping.run.unfinished():
            self._observer.remember(item)
        self._listening.calls.clear()
        is_pinned = activation.path in self._stepping.settings.pins
        await self._stepping.let_through(activation)
        moments = self._observer.since(self._stepping.run, activation, self._listening.calls)
        moments = [
            replace(step, how="pinned") if is_pinned and step.activation == activation.id else step
            for step in moments
        ]
        self._moments += moments
        return moments

    async def _answer(
        self, answer: Given, question: Node[Any] | Question | str | None
    ) -> DebugStep | None:
        scheduler = self._stepping.scheduler
        asked = scheduler.open_questions()
        if question is None and len(asked) > 1:
            raise InputError(
                f"{len(asked)} questions are open: {', '.join(repr(item.path) for item in asked)}. Say which one: answer(…, question)."
            )
        activation = open_question(
            scheduler, question if question is not None else asked[0].id if asked else ""
        )
        value = parse_answer(activation.question.answer, answer)
        path, number = activation.path, activation.id
        if not scheduler.is_under_way:
            self._observer.look(self._stepping.run)
        await self._stepping.answer(number, value)
        again = next(
            (
                item
                for item in [*self._stepping.run.history, *self._stepping.run.unfinished()]
                if item.id == number
            ),
            None,
        )
        seen = again if again is not None and again.status is not Status.AWAITING_ANSWER else None
        moments = [
            replace(step, how="answered") if step.path == path else step
            for step in self._observer.since(self._stepping.run, seen, [])
        ]
        self._moments += moments
        self._points.append(_Point(self._stepping.point, len(self._moments)))
        return moments[-1] if moments else None

    # ---- going back ------------------------------------------------------------------------------------
    async def _back(self, effects: Effects) -> None:
        if len(self._points) < 2:
            raise InputError("There is nothing to go back to: this is where the session began.")
        point = self._points[-2]
        self._serve_effects(self._moments[point.moments :], effects)
        self._points.pop()
        del self._moments[point.moments :]
        await self._restore()

    async def _restore(self) -> None:
        """Be at the last point again."""
        self._stopped_by = ""
        point = self._points[-1]
        del self._moments[point.moments :]
        await self._stepping.open(await self._stepping.records(point.seq))
        self._look()

    def _serve_effects(self, undone: Sequence[DebugStep], effects: Effects) -> None:
        """What must not act twice, and did: refuse, repeat it, or pin what it returned."""
        ids = {moment.activation for moment in undone}
        acted = [
            item
            for item in self._stepping.run.history
            if item.id in ids
            and item.step.node.options.effect == "once"
            and item.update is not None
        ]
        if acted and effects == "refuse":
            names = ", ".join(f"'{item.path}'" for item in acted)
            raise InputError(
                f'Going back would let {names} act again (effect once). Say effects="repeat", or effects="serve" to keep what it returned.'
            )
        if effects == "serve":
            pins = dict(self._stepping.settings.pins)
            for activation in acted:
                pins[activation.path] = (*pins.get(activation.path, ()), activation.update or {})
            self._stepping.change(replace(self._stepping.settings, pins=pins))

    def _look(self) -> None:
        self._observer.look(self._stepping.run)

    # ---- changing ----------------------------------------------------------------------------------------
    async def _edit(self, change: Given) -> DebugStep | None:
        if not self._moments:
            return await self._edit_input(change)
        last = self._moments[-1]
        activation = self._activation(last.activation)
        if last.kind not in ("done", "failed", "handled"):
            raise InputError(
                f"The last step ('{last.path}', {last.kind}) wrote nothing that could be edited. {_INSTEAD.get(last.kind, 'Go back() first.')}"
            )
        update = {**(activation.update or {}), **parse_update(activation.scope.plan, change)}
        records = await self._stepping.records()
        at = max(
            record.seq
            for record in records
            if record.kind in ("commit", "failed") and record.body["id"] == activation.id
        )
        found: list[Activation] = []

        def commit(run: Run) -> tuple[Activation, Update]:
            self._observer.look(run)
            found.append(next(item for item in run.unfinished() if item.path == last.path))
            return found[0], update

        self._moments.pop()
        await self._stepping.open(records[: at - 1], commit)
        moments = [
            replace(step, how="edited", calls=last.calls)
            for step in self._observer.since(self._stepping.run, found[0], [])
        ]
        self._moments += moments
        self._points[-1] = _Point(self._stepping.point, len(self._moments))
        return moments[-1] if moments else None

    async def _edit_input(self, change: Given) -> None:
        plan = self._stepping.plan
        self._input = {**(self._input or {}), **parse_update(plan, change)}
        await self._stepping.halt()
        await self._stepping.begin(self._input)
        self._look()
        self._points = [_Point(self._stepping.point, 0)]

    async def _pin(self, node: Place, output: Given | tuple[BaseModel, ...] | None) -> None:
        path = node if isinstance(node, str) and "[" in node else self._path(node)
        step = step_at(self._stepping.plan, path)
        pins = dict(self._stepping.settings.pins)
        paths = item_paths(self._stepping.plan, path)
        for text in paths:
            pins.pop(text, None)
        self._pinned.pop(path, None)
        if output is not None:
            value, update = parse_output(step, output)
            pins.update(dict.fromkeys(paths, (update,)))
            self._pinned[path] = value
        self._stepping.change(replace(self._stepping.settings, pins=pins))

    # ---- forks -------------------------------------------------------------------------------------------
    async def _fork(self, run_id: str) -> Session[Out, State]:
        records = await self._stepping.records()
        at = self._moments[-1].path if self._moments else ""
        first = Record(1, "forked", {"from": self.run_id, "at": at, "copied": len(records)})
        copied = [first, *(replace(record, seq=record.seq + 1) for record in records)]
        new = self._beside(replace(self._stepping.settings, run_id=run_id))
        new._points = [_Point(point.seq + 1, point.moments) for point in self._points]
        new._moments = list(self._moments)
        await new._open(copied)
        new._from = (
            self._stepping.scheduler.report,
            {activation.id for activation in self._stepping.run.history},
        )
        return new

    async def _rerun(
        self, node: str, model: str, output: Given | None, effects: Effects
    ) -> Session[Out, State]:
        start = node or self._last_done()
        settings = replace(self._stepping.settings, run_id=uuid.uuid4().hex)
        forked = await fork(
            self._stepping.store, self._stepping.plan, self.run_id, start, settings, effects
        )
        path = forked.change.path
        settings = forked.scheduler.settings
        if model:
            settings = replace(settings, models={**settings.models, path: model})
        if output is not None:
            settings = replace(
                settings,
                pins={**settings.pins, path: (parse_output(forked.change.step, output)[1],)},
            )
        new = self._beside(settings)
        records = list((await self._stepping.store.load(settings.run_id)).records)
        taken = {item.id for item in forked.scheduler.run.history}
        new._moments = [moment for moment in self._moments if moment.activation in taken]
        new._points = [_Point(len(records), len(new._moments))]
        await new._open(records)
        new._from = (self._stepping.scheduler.report, taken)
        activation = next(item for item in new._stepping.held() if item.path == path)
        await new._advance(activation, into=False)
        if output is not None:
            new._stepping.change(replace(settings, pins=self._stepping.settings.pins))
        return new

    def _last_done(self) -> str:
        """The newest thing that was done, as `find` wants it named: what ran inside of it counts too."""
        done = [moment for moment in self._moments if moment.kind in ("done", "handled")]
        if not done:
            raise InputError("Nothing was done yet that could be done anew. Take a step() first.")
        number = sum(moment.path == done[-1].path for moment in done)
        return f"{done[-1].path}#{number}"

    def _beside(self, settings: RunSettings) -> Session[Out, State]:
        client = self._client
        new: Session[Out, State] = Session(self._stepping.plan, settings, client, None)
        new._input, new._breakpoints, new._pinned = (
            self._input,
            list(self._breakpoints),
            dict(self._pinned),
        )
        return new

    async def _open(self, records: Sequence[Record]) -> None:
        self._client.begin()
        await self._stepping.open(records)
        self._look()

    # ---- names and values ----------------------------------------------------------------------------------
    def _add(self, breakpoint: Breakpoint) -> Breakpoint:
        if breakpoint not in self._breakpoints:
            self._breakpoints.append(breakpoint)
            self._tell()
        return breakpoint

    def _path(self, node: Place) -> str:
        """The path of a node's box. Raises `InputError` if there is none, or more than one."""
        plan = self._stepping.plan
        if isinstance(node, str):
            step_at(plan, node)
            return box_id(node)
        paths = [path for path, step in list_steps(plan, "") if step.name == node.name]
        if len(paths) == 1:
            return paths[0]
        if paths:
            raise InputError(
                f"'{node.name}' stands in several places: {', '.join(paths)}. Give the path instead."
            )
        raise InputError(
            f"'{node.name}' is no node of '{plan.name}'. {did_you_mean(node.name, [path for path, _ in list_steps(plan, '')])}"
        )

    def _activation(self, id: str) -> Activation:
        run = self._stepping.run
        return next(
            activation
            for activation in [*reversed(run.history), *run.unfinished()]
            if activation.id == id
        )

    def _read(self, look: Callable[[], T]) -> T:
        """What somebody sees who looks from the loop, where nothing changes meanwhile."""
        loop = background_loop()
        return look() if loop.is_here else loop.wait(_called(look))

    def _state(self) -> State:
        plan = self._stepping.plan
        return plan.read_state.result(_union(self._stepping.run.root))  # pyright: ignore[reportReturnType]

    def _state_inside(self) -> tuple[str, BaseModel] | None:
        held = self._stepping.held()
        scope = held[0].scope if held else self._stepping.run.root
        return (
            None
            if scope.parent is None
            else (scope.prefix.rstrip("/"), scope.plan.read_state.result(_union(scope)))
        )


_INSTEAD = {
    "asked": "Use answer(…).",
    "entered": "Take a step() inside it first, or pin(…) what is in it.",
}


async def _called(look: Callable[[], T]) -> T:
    return look()


def _let_go(stepping: SteppedRun, client: SharedClient) -> None:
    """Nobody has the session any more: end what is held of it."""
    background_loop().submit(_shut(stepping, client))


async def _shut(stepping: SteppedRun, client: SharedClient) -> None:
    await stepping.halt()
    await client.end()


def _union(scope: Scope) -> Version:
    """What anything alive in a scope has seen; at its end, what reached it."""
    if scope.finished and scope.output is not None:
        return scope.output
    versions = [activation.version for activation in scope.active.values()]
    versions += [token.version for tokens in scope.waiting.values() for token in tokens]
    found = [version for version in versions if version is not None]
    try:
        return unite(found) if found else Version({}, {})
    except WriteConflict:  # only an edit can do that; the join of the two will say it
        return found[0]


def _values(run: Run) -> dict[str, Any]:
    return run.plan.read_state.read(_union(run.root)).model_dump()
