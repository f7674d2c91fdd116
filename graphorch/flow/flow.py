"""The public `Flow`: a proved graph that runs, streams and draws itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Unpack, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.engine.background_loop import background_loop
from graphorch.engine.node_cache import NodeCache
from graphorch.engine.scheduler import OnAmbiguous, Scheduler
from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError, Problem, WrongOutput
from graphorch.graph.networkx import to_networkx
from graphorch.graph.node import Ask
from graphorch.graph.plan import Plan
from graphorch.runs.clients import ReplayClient, SharedClient, share_client
from graphorch.runs.failures import build_run_failed
from graphorch.runs.options import ForkOptions, RunOptions, build_settings, check_resources
from graphorch.runs.registry import OpenRuns
from graphorch.runs.result import Question, Result, open_question
from graphorch.runs.stores import open_store

if TYPE_CHECKING:
    import networkx

    from graphorch.debugger.session import Session
    from graphorch.engine.events import RunEvent
    from graphorch.engine.observers import EventQueue
    from graphorch.graph.estimate.amounts import Assumed
    from graphorch.graph.estimate.estimator import Estimate
    from graphorch.render.layout.engine import Engine
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
        self._open = OpenRuns(plan.name)
        self._cache = NodeCache()

    @property
    def name(self) -> str:
        """The graph's name."""
        return self.plan.name

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What `build()` found that is no error, but worth a look."""
        return tuple(self.plan.problems)

    async def run(self, input: In, **options: Unpack[RunOptions]) -> Result[Out, State]:
        """Run from START until nothing is left to do, and return what came of it; the options are those of `RunOptions`.

        Raises `RunFailed` with everything that went wrong, and `InputError` for an input or option that does not fit. When the call is
        cancelled, so is the run: nothing of it is left running. Nodes that follow one another run in the caller's task, so context variables
        that they set stay set; run it in a task of its own where that matters.
        """
        return await self._run(input, options)

    def run_sync(self, input: In, **options: Unpack[RunOptions]) -> Result[Out, State]:
        """The same, waiting for it; works in a plain script and inside a running event loop (a notebook) alike."""
        return background_loop().wait(self._run(input, options))

    async def stream(self, input: In, **options: Unpack[RunOptions]) -> AsyncGenerator[RunEvent]:
        """Run, and yield every event as it happens, sub-flows and tokens included; the last one is always `Ended`.

        A run that fails raises `RunFailed` after its `Ended`. Leaving the loop early cancels the run; use `contextlib.aclosing` to have
        that happen at once. A slow reader slows the run down instead of filling the memory.
        """
        from graphorch.engine.observers import EventQueue

        queue = EventQueue()
        watched: RunOptions = {**options, "watch": (*options.get("watch", ()), queue.put)}
        task = asyncio.create_task(self._run(input, watched, queue))
        task.add_done_callback(lambda _: queue.close())
        try:
            async for event in queue:
                yield event
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def debug(self, input: In, **options: Unpack[RunOptions]) -> Session[Out, State]:
        """The same run under a person's hand: step by step, back and forth, with what it reads and writes laid open.

        Returns before anything ran. In a notebook the session shows itself, with buttons. The options are those of `RunOptions`, without
        `durable`: a session keeps its run in memory. Raises `InputError` like `run`.
        """
        settings = self._settings(options)
        if options.get("durable", False) is not False:
            raise InputError(
                "debug() keeps its run in memory, so durable=… is not possible. Use run(…, durable=…) and rerun for a run in a journal."
            )
        check_resources(self.plan, settings.resources)
        from graphorch.debugger.session import Session

        return Session(
            self.plan,
            settings,
            share_client(self.plan, options.get("client"), options.get("budget")),
            self._update(input),
        )

    # ---- people, and going on ----------------------------------------------------------------------
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
        """Answer an open question of a run that waits, and go on with it; `question` is the `ask` node, or a question or its id.

        A gate is answered with an `Approval`. No node runs again because of an answer. A run in a journal is found with the same `durable`
        option. Raises `InputError` for a run or question that is not open, or an answer of the wrong type, and like `run`.
        """
        async with self._found(run_id, options) as scheduler:
            await self._go_on(
                scheduler, scheduler.answer(open_question(scheduler, question), answer)
            )
            return self._outcome(scheduler)

    async def resume(
        self, run_id: str, /, *, ambiguous: OnAmbiguous = "stop", **options: Unpack[RunOptions]
    ) -> Result[Out, State]:
        """Go on with a run that failed, was stopped or waits: nothing that was committed runs again, what failed is tried again.

        A run that succeeded meanwhile is not run again; its result is returned. Options replace those of the run, so a run that reached a
        limit goes on with a larger one; a budget and a limit on activations count what was done before. A node with effect `once` that began
        and did not finish stops the run as `ambiguous` again, unless it is to be run again (`ambiguous="repeat"`) or to fail (`"fail"`).
        Raises like `run`.
        """
        async with self._found(run_id, options) as scheduler:
            if scheduler.run.status not in ("succeeded", "partial"):
                await self._go_on(scheduler, scheduler.resume(ambiguous))
            return self._outcome(scheduler)

    # ---- what was, and what if ------------------------------------------------------------------------
    async def replay(self, run_id: str, /, *, durable: Durable = True) -> Result[Out, State]:
        """Read a run again: no node runs and no model is asked, but every route, loop and mapping is, and has to say what it said.

        Raises `ReplayDiverged` with the first difference, and `RunFailed` for a run that had failed, as `run` did.
        """
        from graphorch.engine.replay import verify
        from graphorch.runs.durable import check_log

        async with open_store(durable) as store:
            log = await store.load(run_id)
            read = check_log(log, self.plan)
            rebuilt = verify(self.plan, run_id, read.records, adopted=read.adopted)
            return self._outcome(
                Scheduler.from_records(
                    self.plan, RunSettings(client=ReplayClient(), run_id=run_id), rebuilt, None
                )
            )

    async def rerun(
        self,
        run_id: str,
        /,
        *,
        start: str,
        output: BaseModel | None = None,
        model: str = "",
        effects: Effects = "refuse",
        durable: Durable = True,
        **options: Unpack[ForkOptions],
    ) -> RerunResult[Out, State]:
        """The run as it would have gone with something changed at `start` (`node`, `node#2`, `team/node`), as a new run beside the old one.

        There the node gives `output` without running, or runs again, with another `model` if one is named. What does not depend on it is
        taken from the record. `effects` says what to do about `once` and `idempotent` nodes that would act again. Raises like `run`.
        """
        from graphorch.runs.fork import RerunResult, build_edit, fork

        async with open_store(durable) as store:
            forked = await fork(
                store, self.plan, run_id, start, self._settings(RunOptions(**options)), effects
            )
            scheduler = forked.scheduler
            if model:
                scheduler.settings = replace(scheduler.settings, models={forked.change.path: model})
            if output is not None:
                scheduler.edit(forked.change, build_edit(forked.change, output))
            await self._go_on(scheduler, scheduler.resume("repeat"))
            return RerunResult(self._outcome(scheduler), forked.difference())

    async def fork(
        self, run_id: str, /, *, start: str, durable: Durable = True, **options: Unpack[ForkOptions]
    ) -> str:
        """A new run that is the old one up to `start`, stopped there; returns its id. `resume` goes on with it. The old one stays as it is."""
        from graphorch.runs.fork import fork

        async with open_store(durable) as store:
            forked = await fork(
                store, self.plan, run_id, start, self._settings(RunOptions(**options)), "repeat"
            )
            await forked.scheduler.leave("forked")
            return forked.scheduler.run.run_id

    def stop(self, run_id: str, *, now: bool = False, reason: str = "interrupted") -> None:
        """Have a run of this process stop: nothing new starts, and running nodes may finish, or are cancelled too (`now`).

        It ends as `RunFailed` with that reason, and can be resumed. Safe to call from any thread and from a signal handler. Raises
        `InputError` if no such run is open.
        """
        self._open.find(run_id).request_stop(reason, now=now)

    async def cancel(self, run_id: str, /, *, durable: Durable = False) -> None:
        """Cancel a run that waits, failed or was stopped, for good: nobody goes on with it, and its questions are withdrawn.

        What was committed stays to be read. Raises `InputError` for a run that is under way (`stop` it first) or over.
        """
        from graphorch.runs.durable import FINAL

        async with self._found(
            run_id, RunOptions(durable=durable) if durable is not False else RunOptions()
        ) as scheduler:
            if scheduler.is_under_way:
                raise InputError(
                    f"Run {run_id} is under way. Stop it with flow.stop(…), then cancel it."
                )
            if scheduler.run.status in FINAL:
                raise InputError(
                    f"Run {run_id} is {scheduler.run.status}: there is nothing left to cancel."
                )
            self._open.begin(scheduler)
            try:
                await scheduler.cancel()
            finally:
                self._open.end(scheduler)

    # ---- what it costs ---------------------------------------------------------------------------
    def estimate(self, *, assumed: Assumed | None = None, model: str = "") -> Estimate:
        """What one run can do at most, and what a usual one does, before it runs: activations, calls, tokens, dollars, seconds, per node too.

        Prices are those of the configuration and the list; without an endpoint the embedded model answers, and that is free. `assumed` says
        what the structure cannot, such as the longest prompt; `model` replaces the model of every agent. What is unbounded is named in `gaps`.
        """
        from graphorch.flow.tariff import build_tariff
        from graphorch.graph.estimate.estimator import estimate
        from graphorch.models.config.loader import find_config

        return estimate(
            self.plan,
            tariff=build_tariff(find_config(Path.cwd()), os.environ),
            assumed=assumed,
            model=model,
        )

    # ---- pictures --------------------------------------------------------------------------------
    def svg(
        self, *, theme: Theme = "auto", engine: Engine = "auto", depth: int | None = None
    ) -> str:
        """The topology as SVG.

        `depth` is how many levels of sub-flows and maps are opened, all by default. The layout is Graphviz's `dot` where it is installed,
        else the builtin one; both are drawn alike, and the same flow gives the same bytes.
        """
        from graphorch.runs.pictures import topology_svg

        return topology_svg(self.plan, theme, engine, depth)

    def to_dot(self, *, depth: int | None = None) -> str:
        """The topology in Graphviz's language."""
        from graphorch.runs.pictures import topology_dot

        return topology_dot(self.plan, depth)

    def to_mermaid(self, *, depth: int | None = None) -> str:
        """The topology in Mermaid's language, which GitHub draws in Markdown."""
        from graphorch.runs.pictures import topology_mermaid

        return topology_mermaid(self.plan, depth)

    def to_networkx(self) -> networkx.MultiDiGraph[str]:
        """The topology as a networkx graph, for analyses of your own."""
        return to_networkx(self.plan)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<flow {self.name}: {self.plan.input.__name__} → {self.plan.output.__name__}, {self.plan.end} nodes>"

    # ---- running ---------------------------------------------------------------------------------
    async def _run(
        self, input: object, options: RunOptions, queue: EventQueue | None = None
    ) -> Result[Out, State]:
        settings = self._settings(options)
        update = self._update(input)
        pace = queue.room if queue is not None else None
        durable, after = options.get("durable", False), options.get("after", "")
        if durable is False and after:
            raise InputError(
                f'after={after!r} needs the journal in which that run is. Say durable=True, or durable="its path".'
            )
        if durable is False:
            scheduler = Scheduler(self.plan, settings, pace=pace)
            client = self._open_run(scheduler)
            try:
                await scheduler.begin(update)
            finally:
                self._open.end(scheduler)
                await client.end()
            return self._outcome(scheduler)
        from graphorch.runs.durable import begin

        async with open_store(durable) as store:
            if after:
                from graphorch.runs.durable import build_next_turn

                update = await build_next_turn(store, self.plan, after, update)
            scheduler = Scheduler(
                self.plan,
                settings,
                pace=pace,
                journal=await begin(store, self.plan, settings, after),
            )
            await self._go_on(scheduler, scheduler.begin(update))
            return self._outcome(scheduler)

    @asynccontextmanager
    async def _found(self, run_id: str, options: RunOptions) -> AsyncGenerator[Scheduler]:
        """The driver of a run that somebody comes back to: the one in memory, or a new one made of the journal."""
        durable = options.get("durable", False)
        if options.get("after"):
            raise InputError(
                f"after={options.get('after')!r} begins a run, and run {run_id} was begun already. Say it with run(…)."
            )
        if durable is False:
            scheduler = self._open.find(run_id)
            if options:
                from graphorch.runs.durable import merge_settings

                scheduler.change(
                    merge_settings(
                        scheduler,
                        self._settings({**options, "run_id": run_id}),
                        options.get("on_failure"),
                    )
                )
            yield scheduler
            return
        from graphorch.runs.durable import reopen

        settings = self._settings({**options, "run_id": run_id})
        async with open_store(durable) as store:
            scheduler = await reopen(store, self.plan, settings, options.get("on_failure"))
            try:
                yield scheduler
            except InputError:  # nothing was done, so others may have the run at once
                if scheduler.journal is not None:
                    await scheduler.journal.release()
                raise

    def _settings(self, options: RunOptions) -> RunSettings:
        return build_settings(
            self.plan,
            options,
            share_client(self.plan, options.get("client"), options.get("budget")),
            self._cache,
        )

    async def _go_on(self, scheduler: Scheduler, work: Coroutine[Any, Any, None]) -> None:
        try:
            client = self._open_run(scheduler)
        except InputError:
            work.close()
            raise
        try:
            await work
        finally:
            self._open.end(scheduler)
            await client.end()

    def _open_run(self, scheduler: Scheduler) -> SharedClient:
        """Count a run as under way, and return the client that it uses, to be ended with it."""
        client = scheduler.settings.client
        used = client if isinstance(client, SharedClient) else share_client(self.plan, client)
        check_resources(self.plan, scheduler.settings.resources)
        self._open.begin(scheduler)
        used.begin()
        return used

    def _outcome(self, scheduler: Scheduler) -> Result[Out, State]:
        run = scheduler.run
        if run.status not in ("succeeded", "partial", "waiting"):
            raise build_run_failed(scheduler)
        return Result(scheduler)

    def _update(self, input: object) -> dict[int, Any]:
        wanted = self.plan.input
        if not isinstance(input, wanted):
            shown = (
                f"the class {input.__name__}" if isinstance(input, type) else type(input).__name__
            )
            raise InputError(
                f"Flow '{self.name}' takes a {wanted.__name__}, got {shown}. Write flow.run({wanted.__name__}(…))."
            )
        try:
            return self.plan.read_input.update(input)
        except WrongOutput as error:
            raise InputError(f"The input of flow '{self.name}' does not fit: {error}") from error
