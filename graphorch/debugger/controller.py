"""The commands of a session, as coroutines on the background loop.

Rules of this file:
1. Commands run one at a time, through `run_command`. Between two of them the run is quiet.
2. `history` holds one `DebugStep` per activation that happened. A *point* is a place between two
   commands: a number of the run's records, and of steps of `history` that lead there.
3. Going back and editing never undo anything: they open the records up to a point again.
4. A fork is a new controller over copied records; it never reaches into the old one afterwards.
5. Nothing here refers to the `Session`, so a session that is let go of can be collected.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from graphorch.core.events import Update
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.debugger.breakpoints import (
    AtNode,
    Breakpoint,
    Predicate,
    When,
    find_stop_after,
    find_stop_before,
    holds_now,
)
from graphorch.debugger.inputs import FieldValues, parse_answer, parse_output, parse_update
from graphorch.debugger.live_state import read_state, read_values
from graphorch.debugger.places import Place, expand_item_paths, find_step, resolve_path
from graphorch.debugger.prompts import ChangedPrompt, compare_prompts
from graphorch.debugger.stepper import SteppedRun
from graphorch.debugger.steps import DebugRecorder, DebugStep
from graphorch.engine.attempts.model_calls import RecordingClient
from graphorch.engine.events import Observer
from graphorch.engine.fork_selection import Difference, compare_runs
from graphorch.engine.mailbox.expected_signals import build_signal, find_signal
from graphorch.engine.report import RunReport
from graphorch.engine.settings import RunSettings
from graphorch.engine.tool_calls.pinned_calls import find_place
from graphorch.engine.waits.event_waits import find_due
from graphorch.errors import InputError
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record
from graphorch.models.budgets.charge import Charge, sum_charges
from graphorch.models.client import ModelClient
from graphorch.runs.clients import SharedClient
from graphorch.runs.fork import Effects, fork
from graphorch.runs.result import (
    Question,
    Result,
    Wait,
    build_question,
    build_result,
    describe_wait,
    find_asker,
    list_waits,
)
from graphorch.statuses import SUCCESS_STATUSES
from graphorch.text import format_error

T = TypeVar("T")
Output: TypeAlias = BaseModel | tuple[BaseModel, ...]

_SLOW = 0.15  # seconds after which a display shows that a step is running


@dataclass(frozen=True, slots=True)
class _Point:
    """A place between two commands: the numbers of the last record and of steps so far."""

    seq: int
    steps: int


@dataclass(frozen=True, slots=True)
class _Origin:
    """State that a fork takes over from the session that it comes from.

    `report` and `steps` are those of that session, as they are by now, for comparison.
    """

    name: str
    input: Update
    breakpoints: Sequence[Breakpoint]
    pins: Mapping[str, Output]
    history: Sequence[DebugStep]
    points: Sequence[_Point]
    report: RunReport
    steps: Sequence[DebugStep]
    copied: set[str]


class Controller:
    """One stepped run with its history, breakpoints and pins, and the commands that change them."""

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        client: SharedClient,
        origin: _Origin | None = None,
    ) -> None:
        self.plan = plan
        self.client = client
        self.history: list[DebugStep] = []
        self.breakpoints: list[Breakpoint] = []
        self.pins: dict[str, Output] = {}
        self.stop_reason = ""
        self.close_reason = ""
        self.is_busy = False
        self._recording = RecordingClient(cast("ModelClient", client))
        self._given_watchers = settings.watchers
        # Time limits do not count while a person thinks.
        limits = replace(settings.limits, seconds=None, grace=None)
        self.stepped = SteppedRun(plan, replace(settings, client=self._recording, limits=limits))
        self._recorder = DebugRecorder()
        self._input: Update = {}
        self._points: list[_Point] = []
        self._origin = origin
        if origin is not None:
            self.history += origin.history
            self.breakpoints += origin.breakpoints
            self.pins.update(origin.pins)
            self._input = origin.input
            self._points += origin.points
        self._lock = asyncio.Lock()
        self._is_pausing = False
        self._observers: list[Callable[[], None]] = []

    @property
    def spent(self) -> Charge:
        """What the session was charged, also for steps that were taken back since."""
        return sum_charges(self._recording.charges)

    # ---- begin and end ---------------------------------------------------------------------------
    async def begin(self, update: Update) -> None:
        """Start the run as far as the gate: nothing of the flow runs yet."""
        self.client.begin()
        await self._begin_with(update)

    async def _begin_with(self, update: Update) -> None:
        self._input = update
        await self.stepped.begin(update)
        self._recorder.start_at(self.run)
        self._points = [_Point(self.stepped.last_seq, 0)]

    async def run_command(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one command at a time. A cancelled one leaves the run as it was before its step."""
        try:
            async with self._lock:
                if self.close_reason:
                    raise InputError(
                        f"The session is {self.close_reason}. Make a new one with flow.debug(…)."
                    )
                self.is_busy = True
                try:
                    return await work
                except asyncio.CancelledError:
                    if self.close_reason:
                        raise InputError(
                            f"The session was {self.close_reason} in the middle of a step; "
                            "nothing of it is running any more."
                        ) from None
                    await self._restore()
                    raise
                finally:
                    self.is_busy = False
                    self.notify()
        finally:
            work.close()

    # ---- observers -------------------------------------------------------------------------------
    def observe(self, observer: Callable[[], None]) -> None:
        """Call a function after every change, mostly on the background loop."""
        self._observers.append(observer)

    def notify(self) -> None:
        """Call the observers."""
        for observer in self._observers:
            observer()

    def watch(self, watcher: Observer) -> None:
        """Hand the events of the run to a watcher too, the pieces of answers among them."""
        self.stepped.watch(watcher)

    # ---- where the run stands --------------------------------------------------------------------
    @property
    def run(self) -> Run:
        """State of the run."""
        return self.stepped.run

    @property
    def status(self) -> str:
        """Status of the session, as `Session.status` describes it."""
        if self.close_reason:
            return "closed"
        if self.is_busy:
            return "running"
        if self.run.status == "running":
            return "paused"
        return self.run.status

    def list_questions(self) -> list[Question]:
        """Return the open questions."""
        return [build_question(asker) for asker in self.stepped.scheduler.open_questions()]

    def list_waits(self) -> list[Wait]:
        """Return the signals and timers that the run waits for."""
        return list_waits(self.run)

    async def build_result(self) -> Result[Any, Any]:
        """Return the result, once the command before is done. Raises `RunFailed`."""
        if self.run.status == "running":
            following = self.stepped.held_activations()[0].path
            raise InputError(
                f"The session is not at its end: '{following}' is next. Use run_until()."
            )
        return build_result(self.stepped.scheduler)

    @property
    def origin(self) -> str:
        """What a fork was made of, in words; empty for a session that is no fork."""
        return "" if self._origin is None else self._origin.name

    def compare(self) -> Difference:
        """Compare a fork with the session that it comes from."""
        origin = self._require_origin()
        before = origin.report
        difference = compare_runs(before, self.stepped.scheduler.report, origin.copied)
        old, new = read_values(before.run), read_values(self.run)
        fields = {
            name: (old.get(name), new.get(name))
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        }
        return replace(difference, fields=fields)

    def compare_prompts(self) -> list[ChangedPrompt]:
        """Return the prompts of a fork that differ from those of the session it comes from."""
        return compare_prompts(self._require_origin().steps, self.history)

    def _require_origin(self) -> _Origin:
        if self._origin is None:
            raise InputError(
                "This session is not a fork. Use difference of a session that "
                "fork() or rerun() returned."
            )
        return self._origin

    # ---- forward ---------------------------------------------------------------------------------
    async def step(self, *, into: bool) -> DebugStep:
        """Run the next activation; without `into` all that is inside it too."""
        self.stop_reason = ""
        steps = await self._advance(self._require_next(), into=into)
        return steps[-1]

    async def run_until(self, until: Place | Predicate | None) -> DebugStep:
        """Step into everything until a breakpoint, the end, or `until`."""
        self._is_pausing, self.stop_reason = False, ""
        stops_before = list(self.breakpoints)
        condition: Predicate | None = None
        if isinstance(until, Node | str):
            stops_before.append(AtNode(resolve_path(self.plan, cast("Place", until))))
        else:
            condition = until

        activation = self._require_next()
        while True:
            # The first activation runs in any case: the session may stand at a breakpoint.
            conditions_before = self._true_conditions()
            steps = await self._advance(activation, into=True)
            self.stop_reason = self._reason_to_stop(steps, condition, conditions_before)
            held = self.stepped.held_activations()
            if self.stop_reason or not held:
                return steps[-1]
            activation = held[0]
            hit = find_stop_before(activation, stops_before)
            if hit is not None:
                self.stop_reason = str(hit)
                return steps[-1]

    def pause(self) -> None:
        """Stop `run_until` after the step that runs now."""
        self._is_pausing = True

    def _true_conditions(self) -> list[When]:
        """Return the conditional breakpoints whose conditions hold now."""
        return [
            breakpoint
            for breakpoint in self.breakpoints
            if isinstance(breakpoint, When) and holds_now(breakpoint.holds, read_state(self.run))
        ]

    def _reason_to_stop(
        self, steps: Sequence[DebugStep], condition: Predicate | None, true_before: list[When]
    ) -> str:
        """Return why `run_until` stops after these steps; empty if it does not."""
        hit = find_stop_after(steps, self.breakpoints)
        if hit is not None:
            return str(hit)
        if condition is not None and holds_now(condition, read_state(self.run)):
            return str(When(condition))
        # A conditional breakpoint stops once, when its condition becomes true.
        for breakpoint in self._true_conditions():
            if breakpoint not in true_before:
                return str(breakpoint)
        if self._is_pausing:
            return "pause"
        return ""

    def _require_next(self) -> Activation:
        """Return the activation that is next. Raises `InputError` that says why there is none."""
        held = self.stepped.held_activations()
        if held:
            return held[0]
        run = self.run
        if run.status == "waiting":
            before = "a question is answered" if self.list_questions() else "what it waits for"
            raise InputError(f"Nothing can run before {before}. {self._explain_waits()}")
        if run.status in SUCCESS_STATUSES:
            raise InputError(
                f"The session is at its end, the run {run.status}. Look at result, "
                "use step_back(), or make a new session with flow.debug(…)."
            )
        failures = [
            f"'{failed.path}' raised {format_error(failed.failure)}" for failed in run.failed()
        ]
        raise InputError(
            f"The run {run.status} ({run.reason}): {'; '.join(failures) or 'nothing can run'}. "
            "Use step_back() to try again, or edit(…) to change what it should have written."
        )

    async def _advance(self, activation: Activation, *, into: bool) -> list[DebugStep]:
        """Run one activation, without `into` all that is inside it too, and add one point.

        Inside are the nodes of a sub-flow or map, and the tool calls of an agent.
        """
        late_notice = asyncio.get_running_loop().call_later(_SLOW, self.notify)
        try:
            steps = await self._let_through(activation)
            while not into:
                inner = self.stepped.next_inside(activation)
                if inner is None:
                    break
                steps += await self._let_through(inner)
        finally:
            late_notice.cancel()
        self._add_point()
        return steps

    async def _let_through(self, activation: Activation) -> list[DebugStep]:
        for unfinished in self.run.unfinished():
            self._recorder.remember(unfinished)
        is_pinned = find_place(activation) in self.stepped.settings.pins
        await self.stepped.let_through(activation)
        steps = self._recorder.collect(self.run, activation, self._recording.calls)
        # An agent may ask its model while its tool calls are let through: its next step has that.
        ended = {step.activation for step in steps}
        calls = self._recording.calls
        calls[:] = [call for call in calls if call.activation not in ended]
        if is_pinned:
            steps = [
                replace(step, how="pinned") if step.activation == activation.id else step
                for step in steps
            ]
        self.history += steps
        return steps

    def _add_point(self) -> None:
        self._points.append(_Point(self.stepped.last_seq, len(self.history)))

    async def answer(
        self, answer: FieldValues, question: Node[Any] | Question | str | None
    ) -> DebugStep | None:
        """Answer an open question; return what happened, if anything did."""
        scheduler = self.stepped.scheduler
        asker = self._choose_question(question)
        value = parse_answer(asker.question.answer, answer)
        path, activation_id = asker.path, asker.id
        if not scheduler.is_under_way:
            self._recorder.start_at(self.run)
        await self.stepped.answer(activation_id, value)
        # The run may have been opened again, so the activation is another object by now.
        answered = self._find_activation(activation_id)
        if answered is not None and answered.status is Status.AWAITING_ANSWER:
            answered = None
        steps = [
            replace(step, how="answered") if step.path == path else step
            for step in self._recorder.collect(self.run, answered, [])
        ]
        self.history += steps
        self._add_point()
        return steps[-1] if steps else None

    async def send(self, signal: Node[Any] | str, value: FieldValues, key: str) -> None:
        """Send a signal to the run: what takes it is next, or the run keeps it."""
        name = signal.name if isinstance(signal, Node) else signal
        value = parse_answer(find_signal(self.plan, name).value, value)
        sent = build_signal(self.plan, name, value, key, self.stepped.settings.clock())
        if not self.stepped.scheduler.is_under_way:
            self._recorder.start_at(self.run)
        await self.stepped.send(sent)
        self.history += self._recorder.collect(self.run, None, [])
        self._add_point()

    async def skip_wait(self, node: Place | None) -> DebugStep | None:
        """End a wait as if its time had come; return what happened."""
        waiting = self._choose_wait(node)
        path, activation_id = waiting.path, waiting.id
        if not self.stepped.scheduler.is_under_way:
            self._recorder.start_at(self.run)
        await self.stepped.end_wait(activation_id)
        steps = self._recorder.collect(self.run, self._find_activation(activation_id), [])
        self.history += steps
        self._add_point()
        return next((step for step in steps if step.path == path), None)

    def _choose_wait(self, node: Place | None) -> Activation:
        """Return what waits for a time at a place; without a place what is due next."""
        timed = [each for each in self.run.waits() if find_due(each) is not None]
        if node is not None:
            name = node.name if isinstance(node, Node) else node
            timed = [each for each in timed if name in (each.path, each.step.name, each.id)]
        if not timed:
            what = "Nothing" if node is None else f"Nothing at '{getattr(node, 'name', node)}'"
            raise InputError(f"{what} waits for a time. {self._explain_waits()}".rstrip())
        return min(timed, key=lambda each: (find_due(each) or 0.0, each.path))

    def _explain_waits(self) -> str:
        """Return what is waited for, and how to go on; nothing if nothing is."""
        questions, events = self.list_questions(), self.list_waits()
        waits = [f"'{item.path}' asks: {item.text}" for item in questions]
        waits += [f"'{item.path}' waits for {describe_wait(item)}" for item in events]
        possible = {
            "answer(…)": bool(questions),
            "send(…)": any(item.signal for item in events),
            "skip_wait(…)": any(find_due(each) is not None for each in self.run.waits()),
        }
        ways = [way for way, is_possible in possible.items() if is_possible]
        return f"{'; '.join(waits)}. Use {' or '.join(ways)}." if waits else ""

    def _choose_question(self, question: Node[Any] | Question | str | None) -> Activation:
        """Return the activation that asks; the only one that does if none is named."""
        scheduler = self.stepped.scheduler
        if question is not None:
            return find_asker(scheduler, question)
        askers = scheduler.open_questions()
        if len(askers) > 1:
            paths = ", ".join(repr(asker.path) for asker in askers)
            raise InputError(
                f"{len(askers)} questions are open: {paths}. "
                "Name the one that you answer: answer(…, question)."
            )
        return find_asker(scheduler, askers[0].id if askers else "")

    # ---- back ------------------------------------------------------------------------------------
    async def step_back(self, effects: Effects) -> None:
        """Return to the point before the last one."""
        if len(self._points) < 2:
            raise InputError("There is nothing to undo: this is where the session began.")
        target = self._points[-2]
        self._guard_effects(self.history[target.steps :], effects)
        self._points.pop()
        await self._restore()

    async def _restore(self) -> None:
        """Open the last point again, and drop every step after it."""
        self.stop_reason = ""
        point = self._points[-1]
        del self.history[point.steps :]
        await self._open(await self.stepped.read_records(point.seq))

    async def _open(self, records: Sequence[Record]) -> None:
        await self.stepped.open(records)
        self._recorder.start_at(self.run)

    def _guard_effects(self, undone: Sequence[DebugStep], effects: Effects) -> None:
        """Refuse, repeat, or pin the outputs of undone nodes that must not act twice."""
        ids = {step.activation for step in undone}
        acted = [
            activation
            for activation in self.run.history
            if activation.id in ids
            and activation.step.node.options.effect == "once"
            and activation.update is not None
        ]
        if acted and effects == "refuse":
            names = ", ".join(f"'{activation.path}'" for activation in acted)
            raise InputError(
                f"Going back would let {names} act again (effect once). "
                'Pass effects="repeat", or effects="serve" to keep what it returned.'
            )
        if effects == "serve":
            # The next visit of a path is the one that was undone, before those undone earlier.
            pins = dict(self.stepped.scheduler.unused_pins)
            for activation in reversed(acted):
                place = find_place(activation)
                pins[place] = (activation.update or {}, *pins.get(place, ()))
            self._replace_pins(pins)

    def _replace_pins(self, pins: Mapping[str, Sequence[Update]]) -> None:
        self.stepped.replace_settings(replace(self.stepped.settings, pins=pins))

    # ---- change ----------------------------------------------------------------------------------
    async def edit(self, change: FieldValues) -> DebugStep | None:
        """Commit other values for the last step; before the first one, change the input."""
        if not self.history:
            changed = parse_update(self.plan, change)
            await self.stepped.halt()
            await self._begin_with({**self._input, **changed})
            return None
        last = self.history[-1]
        activation = self._find_activation(last.activation)
        assert activation is not None
        if last.kind not in ("done", "failed", "handled"):
            fix = _INSTEAD_OF_EDIT.get(last.kind, "Use step_back() first.")
            raise InputError(
                f"The last step ('{last.path}', {last.kind}) wrote nothing that could be edited. "
                f"{fix}"
            )
        changed = parse_update(activation.scope.plan, change)
        return await self._commit_instead(last, {**(activation.update or {}), **changed})

    async def _commit_instead(self, last: DebugStep, update: Update) -> DebugStep | None:
        """Open the run just before a step ended, and commit `update` as if its node gave it."""
        records = await self.stepped.read_records()
        end = max(
            record.seq
            for record in records
            if record.kind in ("commit", "failed") and record.body["id"] == last.activation
        )
        committed: list[Activation] = []

        def commit(run: Run) -> tuple[Activation, Update]:
            self._recorder.start_at(run)
            committed.append(next(item for item in run.unfinished() if item.path == last.path))
            return committed[0], update

        self._replace_pins(self.stepped.scheduler.unused_pins)
        await self.stepped.open(records[: end - 1], commit)
        steps = [
            replace(step, how="edited", calls=last.calls)
            for step in self._recorder.collect(self.run, committed[0], [])
        ]
        # At once: who looks on meanwhile sees the old step or the new one, and never neither.
        self.history[-1:] = steps
        self._points.pop()
        self._add_point()
        return steps[-1] if steps else None

    async def pin(self, node: Place, output: FieldValues | tuple[BaseModel, ...] | None) -> None:
        """Serve an output instead of running a node, or run it again (None)."""
        if isinstance(node, str) and "[" in node:
            path = node  # one item of a map
        else:
            path = resolve_path(self.plan, node)
        step = find_step(self.plan, path)
        paths = expand_item_paths(self.plan, path)
        pins = dict(self.stepped.settings.pins)
        for item_path in paths:
            pins.pop(item_path, None)
        self.pins.pop(path, None)
        if output is not None:
            value, update = parse_output(step, output)
            pins.update(dict.fromkeys(paths, (update,)))
            self.pins[path] = value
        self._replace_pins(pins)

    # ---- breakpoints -----------------------------------------------------------------------------
    def add_breakpoint(self, breakpoint: Breakpoint) -> Breakpoint:
        """Add a breakpoint, once."""
        if breakpoint not in self.breakpoints:
            self.breakpoints.append(breakpoint)
            self.notify()
        return breakpoint

    def remove_breakpoint(self, breakpoint: Breakpoint) -> None:
        """Remove a breakpoint. Raises `InputError` if it is not set."""
        if breakpoint not in self.breakpoints:
            known = ", ".join(map(str, self.breakpoints)) or "none"
            raise InputError(f"There is no breakpoint {breakpoint}. There are: {known}.")
        self.breakpoints.remove(breakpoint)
        self.notify()

    # ---- forks -----------------------------------------------------------------------------------
    async def fork(self, run_id: str) -> Controller:
        """Copy everything into a new controller that stands where this one does."""
        records = await self.stepped.read_records()
        at = self.history[-1].path if self.history else ""
        origin = {"from": self.stepped.settings.run_id, "at": at, "copied": len(records)}
        # The new run begins with one more record, which says where it comes from.
        first = Record(1, "forked", origin)
        copies = [replace(record, seq=record.seq + 1) for record in records]
        points = [_Point(point.seq + 1, point.steps) for point in self._points]
        settings = replace(self.stepped.settings, run_id=run_id)
        copied = {activation.id for activation in self.run.history}
        where = f"after step {len(self.history)} ('{at}')" if at else "before its first step"
        forked = self._branch(f"fork of {{}} {where}", settings, self.history, points, copied)
        await forked._open_branch([first, *copies])
        return forked

    async def rerun(
        self, node: str, model: str, output: FieldValues | None, effects: Effects
    ) -> Controller:
        """Run one activation again in a new controller; what depends on it is open there."""
        start = node or self._name_last_done()
        if model:
            self.client.check_call(model, self.stepped.settings.account)
        settings = replace(self.stepped.settings, run_id=uuid.uuid4().hex)
        run_id, store = self.stepped.settings.run_id, self.stepped.store
        forked_run = await fork(store, self.plan, run_id, start, settings, effects)
        path = forked_run.change.path
        settings = forked_run.scheduler.settings
        if model:
            settings = replace(settings, models={**settings.models, path: model})
        if output is not None:
            update = parse_output(forked_run.change.step, output)[1]
            settings = replace(settings, pins={**settings.pins, path: (update,)})

        records = list((await store.load(settings.run_id)).records)
        copied = {activation.id for activation in forked_run.scheduler.run.history}
        history = [step for step in self.history if step.activation in copied]
        point = _Point(len(records), len(history))
        change = f" by {model}" if model else " with another output" if output is not None else ""
        name = f"rerun of {{}}: '{start}' again{change}"
        branch = self._branch(name, settings, history, [point], copied)
        await branch._open_branch(records, run_first=path)
        if output is not None:
            # The output is for this one activation, not for later visits of the node.
            branch._replace_pins(self.stepped.settings.pins)
        return branch

    def _branch(
        self,
        name: str,
        settings: RunSettings,
        history: Sequence[DebugStep],
        points: Sequence[_Point],
        copied: set[str],
    ) -> Controller:
        """Make a controller that takes over what this one knows; its run is not open yet."""
        origin = _Origin(
            name=name.format(self.stepped.settings.run_id[:8]),
            input=self._input,
            breakpoints=self.breakpoints,
            pins=self.pins,
            history=history,
            points=points,
            report=self.stepped.scheduler.report,
            steps=self.history,
            copied=copied,
        )
        settings = replace(settings, watchers=self._given_watchers)
        return Controller(self.plan, settings, self.client, origin)

    async def _open_branch(self, records: Sequence[Record], run_first: str = "") -> None:
        """Open the run of a fork, and run the activation at a path, if one is named."""
        self.client.begin()
        try:
            await self._open(records)
            if run_first:
                held = self.stepped.held_activations()
                first = next(item for item in held if item.path == run_first)
                await self._advance(first, into=False)
        except BaseException:
            await shut_down(self.stepped, self.client)
            raise

    def _name_last_done(self) -> str:
        """Return the newest activation that is done as `path#visit`, inner ones included."""
        done = [step.path for step in self.history if step.kind in ("done", "handled")]
        if not done:
            raise InputError("Nothing has run yet that could run again. Use step() first.")
        return f"{done[-1]}#{done.count(done[-1])}"

    def _find_activation(self, id: str) -> Activation | None:
        run = self.run
        for activation in [*reversed(run.history), *run.unfinished()]:
            if activation.id == id:
                return activation
        return None


async def shut_down(stepped: SteppedRun, client: SharedClient) -> None:
    """End a stepped run, and give its client back."""
    await stepped.halt()
    await client.end()


_INSTEAD_OF_EDIT = {
    "asked": "Use answer(…).",
    "waits": "Use send(…) or skip_wait(…).",
    "entered": "Use step() to go inside first, or pin(…) a node that is in it.",
}
