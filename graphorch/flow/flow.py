"""The public `Flow`: a proved graph that runs, streams, resumes and draws itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Never, Unpack, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.engine.scheduler import OnAmbiguous
from graphorch.errors import InputError, Problem
from graphorch.flow.foreign_names import FLOW_NAMES, refuse_name
from graphorch.graph.node import Ask, Signal
from graphorch.graph.plan import Plan
from graphorch.graph.wrong_calls import shows_right_call
from graphorch.runs.background_loop import background_loop
from graphorch.runs.manager import RunManager
from graphorch.runs.options import ForkOptions, RunOptions, SubmitOptions, check_options
from graphorch.runs.result import Question, Result

if TYPE_CHECKING:
    import networkx

    from graphorch.agents.flow_tool import FlowToolOptions
    from graphorch.agents.tool import Tool
    from graphorch.debugger.session import Session
    from graphorch.engine.events import RunEvent
    from graphorch.engine.questions.question_event import OnQuestion
    from graphorch.engine.settings import Limits
    from graphorch.graph.estimate.amounts import Assumed
    from graphorch.graph.estimate.estimator import Estimate
    from graphorch.models.config.schema import Config
    from graphorch.render.layout.engine import Direction, Engine
    from graphorch.render.svg.theme import Theme
    from graphorch.runs.fork import Effects, RerunResult
    from graphorch.runs.stores import Durable

In = TypeVar("In", bound=BaseModel, contravariant=True)
Out = TypeVar("Out", bound=BaseModel, covariant=True)
W = TypeVar("W", bound=BaseModel)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)


class Flow(Generic[In, Out, State]):
    """A graph that `build()` has proved. Immutable, and safe to run many times at once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._runs = RunManager(plan)

    @property
    def name(self) -> str:
        """Name of the graph."""
        return self.plan.name

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems found by `build()` that are not errors, but worth a look."""
        return tuple(self.plan.problems)

    # ---- new runs --------------------------------------------------------------------------------
    async def run(self, input: In, **options: Unpack[RunOptions]) -> Result[Out, State]:
        """Run from START until nothing is left to do, and return the result.

        Options are those of `RunOptions`. Raises `RunFailed` with everything that went wrong, and
        `InputError` for an input or option that does not fit. When the call is cancelled, so is
        the run: nothing of it is left running. Nodes that follow one another run in the caller's
        task, so context variables that they set stay set; run the flow in a task of its own where
        that matters.
        """
        return await self._runs.run(input, options)

    @shows_right_call('flow.run_sync(Topic(topic="tides"), budget=Budget(usd=0.50))')
    def run_sync(self, input: In, **options: Unpack[RunOptions]) -> Result[Out, State]:
        """Run and wait for the result; works in a plain script and in a running event loop alike.

        Options and errors are those of `run`.
        """
        return background_loop().wait(self._runs.run(input, options))

    async def stream(self, input: In, **options: Unpack[RunOptions]) -> AsyncGenerator[RunEvent]:
        """Run, and yield every event as it happens, those of sub-flows and text deltas included.

        The last event is always `Ended`; a run that fails raises `RunFailed` after it. Leaving the
        loop early cancels the run; use `contextlib.aclosing` to have that happen at once. A slow
        reader slows the run down instead of filling the memory.
        """
        from graphorch.engine.observers import EventQueue

        check_options(options)
        queue = EventQueue()
        watched: RunOptions = {**options, "watch": (*(options.get("watch") or ()), queue.put)}
        task = asyncio.create_task(self._runs.run(input, watched, queue.wait_for_room))
        task.add_done_callback(lambda _: queue.close())
        try:
            async for event in queue:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    @shows_right_call('flow.debug(Topic(topic="tides"))')
    def debug(self, input: In, **options: Unpack[RunOptions]) -> Session[Out, State]:
        """Open a session that a person steps through, back and forth, before anything has run.

        In a notebook the session shows itself, with buttons. Options are those of `RunOptions`
        without `durable`: a session keeps its run in memory. Raises `InputError` like `run`.
        """
        settings = self._runs.build_settings(options)
        if options.get("durable", False) is not False:
            raise InputError(
                "debug() keeps its run in memory, so durable=… is not possible. "
                "Use run(…, durable=…) and rerun for a run in a journal."
            )
        self._runs.check_needs(settings)
        from graphorch.debugger.notebook.display import NotebookSession

        open_session = NotebookSession[Out, State].open
        return open_session(self.plan, settings, self._runs.build_update(input))

    # ---- runs that workers drive -----------------------------------------------------------------
    async def submit(
        self,
        input: In,
        *,
        priority: int = 0,
        delay: float = 0.0,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Leave a run to workers (`graphorch worker`), and return its id once it is stored.

        `durable` is the URL of the PostgreSQL database that they share; without it GRAPHORCH_DB
        names it. Runs of a greater `priority` are taken first, and none before `delay` seconds
        have passed. Repeating the call with the same `run_id` and input changes nothing, so it is
        safe after an error. What a worker needs to drive the run, such as resources, is given to
        the worker. Raises `InputError` for an input or option that does not fit, and
        `JournalError`.
        """
        return await self._runs.submit(input, priority, delay, RunOptions(**options))

    async def wait(self, run_id: str, /, *, durable: Durable = True) -> Result[Out, State]:
        """Wait until a run of a journal that others drive is at rest, and return its result.

        Like `run`, it returns the result of a run that waits for people, signals or timers, and
        raises `RunFailed` for a run that failed or was stopped. If its process is gone and it is
        not left to workers, it raises `RunAbandoned` after some seconds: resume the run.
        """
        return await self._runs.wait(run_id, durable)

    # ---- existing runs ---------------------------------------------------------------------------
    @overload
    async def answer(
        self, run_id: str, question: Ask[Any, W], answer: W, /, **options: Unpack[RunOptions]
    ) -> Result[Out, State]: ...
    @overload
    async def answer(
        self,
        run_id: str,
        question: Question | str,
        answer: BaseModel,
        /,
        **options: Unpack[RunOptions],
    ) -> Result[Out, State]: ...
    async def answer(
        self, run_id: str, question: object, answer: BaseModel, /, **options: Unpack[RunOptions]
    ) -> Result[Out, State]:
        """Answer an open question of a run, and return the result of the run.

        `question` is the `ask` node, a `Question` or its id. A gate is answered with an
        `Approval`. No node runs again because of an answer. Pass the `durable` option of the run
        to find it in a journal. A waiting run is resumed. If another process drives the run, that
        process takes the answer in and goes on, and this call waits for it; the other options
        matter only if that process ends before. Raises `QuestionClosed` if the question was
        answered by someone else or withdrawn, `Expired` if it was too late then, `InputError` for
        a run or question that is not open, or an answer of the wrong type, and errors like `run`.
        """
        return await self._runs.answer(run_id, question, answer, options)

    async def send_answer(
        self,
        run_id: str,
        question: Ask[Any, Any] | Question | str,
        answer: BaseModel,
        /,
        *,
        durable: Durable = True,
        wait: bool = True,
    ) -> None:
        """Send an answer to the owner of a run in a journal; see `answer`.

        Returns once it is taken in, or without `wait` as soon as it is stored: then it counts
        unless something that came before it closes the question. If nobody drives the run, the
        answer is kept until the run is resumed, which is an `InputError` with `wait`. Raises like
        `answer`, but not because of what becomes of the run.
        """
        await self._runs.send_answer(run_id, question, answer, durable, wait=wait)

    @overload
    async def send(
        self,
        run_id: str,
        signal: Signal[Any, W],
        value: W,
        /,
        *,
        key: str = "",
        id: str = "",
        **options: Unpack[RunOptions],
    ) -> Result[Out, State]: ...
    @overload
    async def send(
        self,
        run_id: str,
        signal: str,
        value: BaseModel,
        /,
        *,
        key: str = "",
        id: str = "",
        **options: Unpack[RunOptions],
    ) -> Result[Out, State]: ...
    async def send(
        self,
        run_id: str,
        signal: object,
        value: BaseModel,
        /,
        *,
        key: str = "",
        id: str = "",
        **options: Unpack[RunOptions],
    ) -> Result[Out, State]:
        """Send a signal to a run, and return the result of the run.

        `signal` is the node or its name, and `key` says which of the nodes of this name is meant,
        if they have keys. In a journal, a signal with an `id` that was sent before is not sent
        again. Pass the `durable` option of the run to find it in a journal. A waiting run is
        resumed; if another process drives the run, that process takes the signal in and goes on,
        and this call waits for it. Raises `InputError` for a signal that the flow does not declare,
        of another type, or that nothing waits for and nothing keeps, and errors like `run`.
        """
        return await self._runs.send(run_id, signal, value, key, id, options)

    async def send_signal(
        self,
        run_id: str,
        signal: Signal[Any, Any] | str,
        value: BaseModel,
        /,
        *,
        key: str = "",
        id: str = "",
        durable: Durable = True,
        wait: bool = True,
    ) -> None:
        """Send a signal to the owner of a run in a journal; see `send`.

        Returns once it is taken in, or without `wait` as soon as it is stored. If nobody drives the
        run, the signal is kept until the run is resumed, which is an `InputError` with `wait`.
        Raises like `send`, but not because of what becomes of the run.
        """
        await self._runs.send_signal(run_id, signal, value, key, id, durable, wait=wait)

    async def resume(
        self, run_id: str, /, *, ambiguous: OnAmbiguous = "stop", **options: Unpack[RunOptions]
    ) -> Result[Out, State]:
        """Resume a run that failed, was stopped or waits: only what was not committed runs again.

        A run that has succeeded meanwhile is not run again; its result is returned. Options
        replace those of the run, so a run that reached a limit continues with a larger one; a
        budget and a limit on activations count what was done before. A node with effect `once`
        that began and did not finish stops the run as `ambiguous` again, unless it is to run again
        (`ambiguous="repeat"`) or to fail (`"fail"`). Raises like `run`.
        """
        return await self._runs.resume(run_id, ambiguous, options)

    async def replay(self, run_id: str, /, *, durable: Durable = True) -> Result[Out, State]:
        """Replay a run from its records: no node runs, and no model is called.

        Every route, loop and mapping is evaluated again and has to give what was recorded. Raises
        `ReplayDiverged` with the first difference, and `RunFailed` for a run that had failed.
        """
        return await self._runs.replay(run_id, durable)

    async def follow(
        self,
        run_id: str,
        /,
        *,
        durable: Durable = True,
        after: int = 0,
        through_waits: bool = False,
    ) -> AsyncGenerator[RunEvent]:
        """Follow a run of a journal, and yield its events, whichever process drives it.

        All events come, from the first one on, or those `after` the record of that number: the
        `seq` of an event is that of its record. It ends when the run is at rest (also waiting,
        unless `through_waits`). If its process is gone and it is not left to workers, it raises
        `RunAbandoned` after some seconds: resume the run, and follow it again. Leaving the loop
        does nothing to the run. Pieces of text (`TextDelta`) and events of `ctx.emit` are in no
        journal and do not come; an attempt counts as `Started` when it is ready to begin. Raises
        `JournalError` for a run that is not there, is damaged, erased, or of another flow.
        """
        events = self._runs.follow(run_id, durable, after, through_waits=through_waits)
        async with aclosing(events):
            async for event in events:
                yield event

    async def rerun(
        self,
        run_id: str,
        /,
        *,
        start: str,
        output: BaseModel | tuple[BaseModel, ...] | None = None,
        model: str = "",
        effects: Effects = "refuse",
        durable: Durable = True,
        **options: Unpack[ForkOptions],
    ) -> RerunResult[Out, State]:
        """Run again with something changed at `start`, as a new run beside the old one.

        `start` is `node`, `node#2` or `team/node`. There the node gives `output`, all that it
        returns, without running, or runs again, with another `model` if one is named. What does
        not depend on it is taken from the record. `effects` decides about `once` and `idempotent`
        nodes that would act again. Raises like `run`.
        """
        settings = RunOptions(**options)
        return await self._runs.rerun(run_id, start, output, model, effects, durable, settings)

    async def fork(
        self, run_id: str, /, *, start: str, durable: Durable = True, **options: Unpack[ForkOptions]
    ) -> str:
        """Copy a run up to `start` into a new run that is stopped there; return the new id.

        `resume` continues the new run. The old one stays as it is.
        """
        return await self._runs.fork(run_id, start, durable, RunOptions(**options))

    def stop(self, run_id: str, *, now: bool = False, reason: str = "interrupted") -> None:
        """Stop a run of this process: nothing new starts, and running nodes finish.

        With `now` running nodes are cancelled too. The run ends as `RunFailed` with that reason,
        and can be resumed. Safe to call from any thread and from a signal handler. Raises
        `InputError` if no such run is open.
        """
        self._runs.stop(run_id, now=now, reason=reason)

    async def send_stop(
        self,
        run_id: str,
        /,
        *,
        now: bool = False,
        reason: str = "interrupted",
        durable: Durable = True,
        wait: bool = True,
    ) -> None:
        """Stop a run that another process drives, like `stop` in its own process.

        Returns once that process has begun to stop it, or without `wait` as soon as the request is
        stored. Raises `InputError` for a run that is not under way.
        """
        await self._runs.send_stop(run_id, durable, reason, now=now, wait=wait)

    async def cancel(
        self,
        run_id: str,
        /,
        *,
        durable: Durable = False,
        wait: bool = True,
        on_question: OnQuestion | None = None,
        undo: bool = True,
        resources: object = None,
    ) -> list[str]:
        """Cancel a run for good, and withdraw its questions; running nodes are cancelled.

        What nodes with an `undo` have committed is undone, the last first, unless `undo` is False;
        `resources` are for these undos. Returns the paths of what stays committed although it could
        be undone. What was committed can still be read. `on_question` hears of the questions that
        are withdrawn, as it does in `run`. If another process drives the run, it is
        that process which cancels it. Returns once the run is cancelled; without `wait`, a run
        under way is cancelled soon after. Raises `InputError` for a run that is over, and
        `RunFailed` with a `NotUndone` for each undo that failed.
        """
        return await self._runs.cancel(
            run_id, durable, on_question, resources, wait=wait, undo=undo
        )

    # ---- as a part of others ---------------------------------------------------------------------
    def as_tool(
        self, name: str = "", *, description: str = "", **options: Unpack[FlowToolOptions]
    ) -> Tool:
        """Return a tool by which the model of an agent delegates to this flow.

        The model reads the `description` (that of the input, unless you give one) and the fields of
        the input; what it gets is the output as JSON. The flow runs inside the agent: in its
        journal, on its budget, with its questions, and is resumed with it. In one loop it is called
        at most `max_calls` times (4, unless you say otherwise). `approve`, `expires`, `tells`,
        `concurrent` and `untrusted` are those of `@tool`; its effect class is the strongest of its
        nodes.

            @agent(output=Answer, tools=[research_flow.as_tool("research")])

        Raises `GraphError` with code `TOOL` if the name or an option is wrong.
        """
        from graphorch.agents.flow_tool import make_flow_tool

        return make_flow_tool(self.plan, name or self.name, description, options)

    # ---- cost ------------------------------------------------------------------------------------
    def estimate(
        self,
        *,
        assumed: Assumed | None = None,
        model: str = "",
        config: Config | None = None,
        limits: Limits | None = None,
    ) -> Estimate:
        """Estimate a run before it runs: what it can do at most, and what it usually does.

        Counts activations, calls, tokens, dollars and seconds, per node too. Prices are those of
        the configuration and the list; without an endpoint the embedded model answers agents that
        name no model, and is free. `assumed` holds what the structure cannot show, such as the
        longest prompt; `config` replaces the configuration of the current directory, and `model`
        replaces the model of every agent. The seconds follow every limit on what runs at once: of
        maps and nodes, the run (`limits`), and the models in the configuration. What is unbounded
        is named in `gaps`.
        """
        from graphorch.flow.tariff import build_pace, build_tariff
        from graphorch.graph.estimate.estimator import estimate
        from graphorch.models.config.loader import find_config
        from graphorch.models.config.schema import Config

        if config is not None and not isinstance(config, Config):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InputError(
                f"config={config!r:.80} is not a configuration. "
                'Write config=read_config("graphorch.toml").'
            )
        check_options(RunOptions() if limits is None else RunOptions(limits=limits))
        config = config or find_config(Path.cwd())
        return estimate(
            self.plan,
            tariff=build_tariff(config, os.environ),
            assumed=assumed,
            model=model,
            concurrency=None if limits is None else limits.concurrency,
            pace=build_pace(config),
        )

    # ---- pictures --------------------------------------------------------------------------------
    def svg(
        self,
        *,
        theme: Theme = "auto",
        engine: Engine = "auto",
        depth: int | None = None,
        direction: Direction = "TB",
    ) -> str:
        """Draw the topology as SVG.

        `depth` is how many levels of sub-flows and maps are opened, all by default. The layout is
        Graphviz's `dot` where it is installed and draws the flow well, else the builtin one; both
        are drawn alike, and an unchanged flow gives identical bytes. Lines lead from top to bottom
        (`"TB"`) or from left to right (`"LR"`).
        """
        from graphorch.render.picture_style import PictureStyle
        from graphorch.runs.drawing.pictures import draw_topology_svg

        return draw_topology_svg(self.plan, PictureStyle(theme, engine, depth, direction))

    def to_dot(self, *, depth: int | None = None, direction: Direction = "TB") -> str:
        """Return the topology in Graphviz's DOT language."""
        from graphorch.runs.drawing.pictures import draw_topology_dot

        return draw_topology_dot(self.plan, depth, direction)

    def to_mermaid(self, *, depth: int | None = None, direction: Direction = "TB") -> str:
        """Return the topology in Mermaid's language, which GitHub draws in Markdown."""
        from graphorch.runs.drawing.pictures import draw_topology_mermaid

        return draw_topology_mermaid(self.plan, depth, direction)

    def to_networkx(self) -> networkx.MultiDiGraph[str]:
        """Return the topology as a networkx graph, for your own analyses."""
        from graphorch.render.networkx import to_networkx

        return to_networkx(self.plan)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        from graphorch.render.notebook_picture import build_picture_bundle

        return build_picture_bundle(self.svg(), repr(self))

    def _repr_html_(self) -> str:
        """Return the picture for notebooks that know no mime bundles."""
        from graphorch.render.notebook_picture import embed

        return embed(self.svg(), repr(self))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            refuse_name(self, name, FLOW_NAMES)

    def __repr__(self) -> str:
        types = f"{self.plan.input.__name__} → {self.plan.output.__name__}"
        return f"<flow {self.name}: {types}, {self.plan.end} nodes>"
