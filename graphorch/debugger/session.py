"""A session: one run that a person steps through, looks at, changes and goes back in.

Commands are plain methods that have done their work when they return, in a script and in a
notebook's cell alike: the run lives on the background loop, so no loop of the caller is needed,
entered or blocked. (An async twin of each command would add nothing but a second name.) Properties
are read on that loop too, so a session may be used from several threads.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, Self, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.events import Update
from graphorch.core.tree import Activation
from graphorch.debugger.breakpoints import (
    AtNode,
    Breakpoint,
    OnError,
    OnRoute,
    Predicate,
    When,
)
from graphorch.debugger.controller import Controller, Output, shut_down
from graphorch.debugger.inputs import FieldValues
from graphorch.debugger.live_state import read_scope_state, read_state
from graphorch.debugger.picture import LivePicture
from graphorch.debugger.places import Place, resolve_path
from graphorch.debugger.prompts import ChangedPrompt
from graphorch.debugger.stepper import SteppedRun
from graphorch.debugger.steps import DebugStep
from graphorch.engine.fork_selection import Difference
from graphorch.engine.settings import RunSettings
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan
from graphorch.render.layout.engine import Direction, Engine
from graphorch.render.svg.theme import Theme
from graphorch.runs.background_loop import background_loop
from graphorch.runs.clients import SharedClient, share_client
from graphorch.runs.fork import Effects
from graphorch.runs.result import Question, Result, Wait

T = TypeVar("T")
Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)


class Session(Generic[Out, State]):
    """One run, stepped by a person. Made by `Flow.debug`, before anything of the flow has run.

    Steps have one order at any timing: the first activation in canonical order runs, alone.
    A run that is stepped to its end has the result that `run` gives. The run is kept in memory, in
    the form of a journal: values of the state have to survive JSON. Time limits of the run do not
    count while a person thinks, so a session has none. Close it, or let go of it, and nothing of
    it is left running.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._picture = LivePicture(controller.plan)
        # The finalizer may not refer to the session, nor to the controller, whose observers do.
        stepped, client = controller.stepped, controller.client
        self._finalizer = weakref.finalize(self, _shut_down_later, stepped, client)

    @classmethod
    def open(cls, plan: Plan, settings: RunSettings, update: Update) -> Self:
        """Open a session whose run begins with `update`, and hold it before its first node."""
        client = share_client(plan, settings.client)
        controller = Controller(plan, settings, client)
        session = cls(controller)
        background_loop().wait(controller.begin(update))
        return session

    # ---- forward ---------------------------------------------------------------------------------
    def step(self) -> DebugStep:
        """Run the next activation until it is over, and return what happened.

        A sub-flow or map runs as a whole. Raises `InputError` if nothing is next: the run has
        ended, or waits for an answer.
        """
        return self._do(self.controller.step(into=False))

    def step_into(self) -> DebugStep:
        """Run the next activation, but only enter a sub-flow or map: its first node is next."""
        return self._do(self.controller.step(into=True))

    def run_until(self, until: Place | Predicate | None = None) -> DebugStep:
        """Step on, sub-flows and maps included, until a breakpoint, the end, or `until`.

        A node (or its path): stop before it runs. A function of the whole state: stop after the
        step that leaves it true. At least one step is made. Raises like `step`.
        """
        return self._do(self.controller.run_until(until))

    def pause(self) -> None:
        """Stop `run_until` after the step that runs now. Call it from another thread."""
        self.controller.pause()

    def answer(
        self, answer: FieldValues, question: Node[Any] | Question | str | None = None
    ) -> DebugStep | None:
        """Answer an open question; leave out `question` if only one is open.

        No node runs because of it until the next step. Returns what happened; None if the answer
        opened a gate, and the node behind it is next. Raises `InputError` for an answer that does
        not fit.
        """
        return self._do(self.controller.answer(answer, question))

    def send(self, signal: Node[Any] | str, value: FieldValues, *, key: str = "") -> None:
        """Send a signal, as something outside would: what takes it is next, or the run keeps it.

        Raises `InputError` for a signal that the flow does not declare, of another type, or that
        nothing waits for and nothing keeps.
        """
        self._do(self.controller.send(signal, value, key))

    def skip_wait(self, node: Place | None = None) -> DebugStep | None:
        """End a wait as if its time had come: a timer fires, a signal or a question expires.

        Without a node it is the wait that is due next. No time passes by itself in a session.
        Returns what happened. Raises `InputError` if nothing waits for a time there.
        """
        return self._do(self.controller.skip_wait(node))

    # ---- back, and changes -----------------------------------------------------------------------
    def step_back(self, *, effects: Effects = "refuse") -> None:
        """Undo the last step (of `run_until`: the last single one). Spent money stays spent.

        A node with effect `once` would act again: that is refused, or accepted with
        `effects="repeat"`; with `"serve"` what it returned is pinned. Raises `InputError` at the
        start.
        """
        self._do(self.controller.step_back(effects))

    def edit(self, change: FieldValues) -> DebugStep | None:
        """Change what the last step wrote, and continue as if its node had returned that.

        Before the first step, change the input. Fields that are not named stay. Any field of the
        state (inside a sub-flow: of its state) may be named; for a field with a reducer, the given
        value is folded in instead of the node's. Raises `InputError` for a field that does not
        exist or a value of a wrong type.
        """
        return self._do(self.controller.edit(change))

    def pin(self, node: Place, output: FieldValues | tuple[BaseModel, ...] | None) -> None:
        """Serve this output from now on instead of running the node; None removes the pin.

        A node inside a map is pinned for all items, or for one by its path (`workers[3]/dig`).
        Raises `InputError`.
        """
        self._do(self.controller.pin(node, output))

    def fork(self, *, run_id: str = "") -> Self:
        """Open a second session that stands where this one does, with its breakpoints and pins.

        From there on the two are independent.
        """
        return type(self)(self._do(self.controller.fork(run_id or uuid.uuid4().hex)))

    def rerun(
        self,
        node: str = "",
        *,
        model: str = "",
        output: FieldValues | None = None,
        effects: Effects = "refuse",
    ) -> Self:
        """Open a second session in which the last step, or a `node`, runs again.

        Name it as `node`, `node#2` or `team/node`. It runs with another `model` if one is named,
        or gives `output` without running. What does not depend on it is taken over, and the rest
        is open again. `difference` of the new session compares the two. Raises `InputError`.
        """
        return type(self)(self._do(self.controller.rerun(node, model, output, effects)))

    # ---- breakpoints -----------------------------------------------------------------------------
    def break_at(self, node: Place) -> Breakpoint:
        """Stop `run_until` before a node runs. Raises `InputError` for an unknown node."""
        return self.controller.add_breakpoint(AtNode(resolve_path(self.controller.plan, node)))

    def break_on_route(self, source: Place, target: Place) -> Breakpoint:
        """Stop `run_until` after an activation of `source` sent a token to `target`.

        By any edge: a route, the way back of a loop, an error edge. Raises `InputError`.
        """
        plan = self.controller.plan
        path = resolve_path(plan, source)
        name = "END"
        if target != "END":
            name = resolve_path(plan, target).rpartition("/")[2]
        return self.controller.add_breakpoint(OnRoute(path, name))

    def break_on_error(self, kind: type[Exception] = Exception) -> Breakpoint:
        """Stop `run_until` after a node failed with such an exception, handled or not."""
        return self.controller.add_breakpoint(OnError(kind))

    def break_when(self, holds: Predicate) -> Breakpoint:
        """Stop `run_until` after the step that makes a predicate over the whole state true.

        A predicate that reads a field without a value counts as false.
        """
        return self.controller.add_breakpoint(When(holds))

    def unbreak(self, breakpoint: Breakpoint) -> None:
        """Remove a breakpoint. Raises `InputError` if it is not set."""
        self.controller.remove_breakpoint(breakpoint)

    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """All breakpoints, in the order in which they were set."""
        return tuple(self.controller.breakpoints)

    @property
    def pins(self) -> Mapping[str, Output]:
        """Pinned outputs by the path of their node."""
        return dict(self.controller.pins)

    # ---- looking ---------------------------------------------------------------------------------
    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self.controller.plan.name

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.controller.stepped.settings.run_id

    @property
    def status(self) -> str:
        """`paused` between steps, `running` during one, `waiting` for what comes, or the end.

        The end is `succeeded`, `partial`, `failed` or `stopped`; a closed session is `closed`.
        """
        return self.controller.status

    @property
    def stop_reason(self) -> str:
        """Reason for which the last `run_until` stopped before the end.

        A breakpoint, a condition, or `pause`; empty at the end.
        """
        return self.controller.stop_reason

    @property
    def next(self) -> str:
        """Path of the activation that the next step runs; empty if there is none."""
        return next(iter(self.ready), "")

    @property
    def ready(self) -> list[str]:
        """Paths of all activations that could run, in the order in which steps run them."""
        return self._read(lambda: [activation.path for activation in self._held()])

    @property
    def open_questions(self) -> list[Question]:
        """Open questions; more may follow while something can still run."""
        return self._read(self.controller.list_questions)

    @property
    def waits(self) -> list[Wait]:
        """Signals and timers that the run waits for."""
        return self._read(self.controller.list_waits)

    @property
    def history(self) -> list[DebugStep]:
        """Everything that happened, one step per activation, sub-flows included, newest last."""
        return list(self.controller.history)

    @property
    def state(self) -> State:
        """Whole state as it stands: everything that any branch has written. A fresh copy."""
        return cast("State", self._read(lambda: read_state(self.controller.run)))

    @property
    def current_scope(self) -> tuple[str, BaseModel] | None:
        """Path and state of the sub-flow or map that the next step is in; None at the top."""
        return self._read(
            lambda: read_scope_state(self.controller.run, next(iter(self._held()), None))
        )

    @property
    def result(self) -> Result[Out, State]:
        """Result, as `run` returns it.

        Raises `RunFailed` for a run that failed, and `InputError` for one that is not over.
        """
        return self._do(self.controller.build_result())

    @property
    def difference(self) -> Difference:
        """Difference between a fork or rerun and the session that it comes from, by now.

        Raises `InputError` for a session that is not a fork.
        """
        return self._read(self.controller.compare)

    @property
    def changed_prompts(self) -> list[ChangedPrompt]:
        """Prompts of a fork or rerun that differ from those of the session that it comes from.

        Raises `InputError` for a session that is not a fork.
        """
        return self._read(self.controller.compare_prompts)

    def svg(
        self,
        *,
        theme: Theme = "auto",
        engine: Engine = "auto",
        depth: int | None = None,
        direction: Direction = "TB",
        closed: Sequence[str] = (),
        title: str | None = None,
    ) -> str:
        """Draw the flow with what was done by now on it.

        `depth` and `closed` (paths) limit which sub-flows are opened. The title is the status
        unless another one, or none (""), is given.
        """
        key = (engine, direction, depth, tuple(sorted(closed)))
        stepped = self.controller.stepped

        def draw() -> str:
            heading = self.status if title is None else title
            return self._picture.draw(stepped, key, theme, heading)

        return self._read(draw)

    # ---- the end ---------------------------------------------------------------------------------
    def close(self, reason: str = "closed") -> None:
        """End the session, a running step included. Its history can still be looked at."""
        controller = self.controller
        if not controller.close_reason:
            controller.close_reason = reason
            self._finalizer.detach()
            background_loop().wait(shut_down(controller.stepped, controller.client))
            controller.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.next:
            where = f"next is '{self.next}'"
        elif self.open_questions:
            where = f"{len(self.open_questions)} open questions"
        elif self.waits:
            where = f"it waits for {', '.join(repr(wait.path) for wait in self.waits)}"
        else:
            where = "nothing is left to run"
        steps = len(self.controller.history)
        return f"<{self.status} session {self.run_id} of {self.flow}: {steps} steps, {where}>"

    # ---- from the caller's thread to the loop ----------------------------------------------------
    def _do(self, command: Coroutine[Any, Any, T]) -> T:
        return background_loop().wait(self.controller.run_command(command))

    def _read(self, look: Callable[[], T]) -> T:
        """Call a function on the loop, where nothing changes meanwhile."""
        loop = background_loop()
        if loop.is_here:
            return look()
        return loop.wait(_call(look))

    def _held(self) -> list[Activation]:
        return self.controller.stepped.held_activations()


async def _call(look: Callable[[], T]) -> T:
    return look()


def _shut_down_later(stepped: SteppedRun, client: SharedClient) -> None:
    """End the run of a session that was garbage-collected."""
    background_loop().submit(shut_down(stepped, client))
