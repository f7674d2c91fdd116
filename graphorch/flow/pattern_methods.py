"""The six patterns as typed methods that add ordinary nodes and edges to a graph.

A pattern is imported by its method: most graphs use one of them, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, LiteralString, Self

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.flow.flow import Flow
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.node import Node1
from graphorch.graph.route import Fits, Free, Of, Step, Steps
from graphorch.graph.wrong_calls import shows_right_call

if TYPE_CHECKING:
    from graphorch.graph.plan import Rest
    from graphorch.patterns.supervisor import Worker
    from graphorch.patterns.types import GateVerdict

S = TypeVar("S", bound=BaseModel)
I2 = TypeVar("I2", bound=BaseModel)
O2 = TypeVar("O2", bound=BaseModel)
W = TypeVar("W", bound=BaseModel)
L = TypeVar("L", bound=LiteralString)


class PatternMethods(GraphBuilder[S]):
    """A graph builder with the six patterns."""

    @shows_right_call("graph.pipeline(write, judge, gates={write: is_short_enough})")
    def pipeline(
        self,
        *steps: Step[S, Free] | Sequence[Fits[S]],
        gates: Mapping[Fits[S], Of[S, GateVerdict]] | None = None,
        attempts: int = 2,
        timeout: float | None = None,
    ) -> Self:
        """Run steps in a row, with gates between them: a weak step does not poison all that follow.

        A gate is a pure function of the state after its step. True lets the step pass; False or
        `Repeat(reason)` makes it try again, at most `attempts` times in all; `Stop(reason)`, or
        the last attempt rejected, ends the run with `GateRejected`. When an agent tries again, its
        prompt holds what it wrote and the reason; a plain function may read the slice `Feedback`,
        if the state inherits from it. `timeout` is the seconds for one attempt of each step that
        has none of its own.
        """
        from graphorch.patterns.pipeline import pipeline

        pipeline(self, steps, gates or {}, attempts, timeout)
        return self

    @shows_right_call(
        "graph.supervisor(plan, tasks=list_tasks, worker_of=choose, "
        "workers={'research': look}, gather=collect, max_tasks=10)"
    )
    def supervisor(
        self,
        plan: Fits[S],
        *,
        tasks: Of[S, Sequence[I2]],
        worker_of: Callable[[I2], L],
        workers: Mapping[L, Node1[I2, O2] | Flow[I2, O2, Any]],
        gather: Callable[[list[O2]], W],
        max_tasks: int,
        assemble: Fits[S] | None = None,
        replans: int = 1,
        digest_tokens: int = 8000,
        concurrency: int = 8,
    ) -> Self:
        """Plan tasks, give them to workers, and gather their reports into a slice for `assemble`.

        Each task goes to the worker that `worker_of` names, all at once. A task with an `id` and
        `needs` (or `after`: ids of other tasks) begins when those are done, and an agent's prompt
        holds what they reported. A plan that is empty, circular, or has a task twice ends the run
        with `PlanRefused`; more than `max_tasks` with `TooManyItems`.

        A worker declines by raising `Declined`, or by a report with a reason in its field
        `declined`. Then `plan` runs again with the reasons, at most `replans` times;
        `TasksDeclined` after that. `gather` is called with the reports cut to digests that
        together count as at most `digest_tokens`; the event `Digest` lists what was cut.
        """
        from graphorch.patterns.supervisor import SupervisorBounds, supervisor

        all_workers = [_build_worker(label, work) for label, work in workers.items()]
        supervisor(
            self,
            plan,
            tasks,
            worker_of,
            all_workers,
            gather,
            assemble,
            SupervisorBounds(max_tasks, replans, digest_tokens, concurrency),
        )
        return self

    @shows_right_call("graph.fan_out([first, second], merge, need=1)")
    def fan_out(
        self,
        branches: Sequence[Fits[S]],
        merge: Fits[S],
        *,
        need: int | Literal["arriving"] = "arriving",
        rest: Rest = "cancel",
        deadline: float | None = None,
        hedge_after: float | None = None,
    ) -> Self:
        """Run branches side by side, and merge what they bring, without waiting for the slowest.

        `need=k` takes the first k that succeed and cancels the others, or with `rest="finish"`
        goes on while they run to their end, which the run waits for; with fewer the run fails with
        every reason. With a `deadline` (seconds for each branch) and no `need`, what failed
        or is late is left out. In both cases the prompt of an agent that merges holds what is
        missing and why; a plain function may read the slice `Gaps`, if the state inherits from it.
        `hedge_after` makes a second model call after so many seconds, and takes the first answer.
        """
        from graphorch.patterns.fan_out import fan_out

        fan_out(self, branches, merge, need, rest, deadline, hedge_after)
        return self

    @shows_right_call("graph.router(classify, by, {'billing': pay}, default=answer)")
    def router(
        self,
        classify: Fits[S],
        by: Of[S, L],
        routes: Mapping[L, Steps[S]],
        *,
        default: Steps[S],
        confidence: Of[S, float] | None = None,
        threshold: float = 0.0,
        second_opinion: Fits[S] | None = None,
    ) -> Self:
        """Route to one of several specialists, by the label that `by` reads of `classify`'s slice.

        `default` takes the labels that have no route, and labels of which the classifier is less
        sure than `threshold` (`confidence` returns how sure it is, from 0 to 1). A
        `second_opinion`, a node that writes that slice by another model, runs before that: where
        it is sure, or agrees, its label counts. The metadata of every later model call hold the
        route.
        """
        from graphorch.patterns.router import Certainty, router

        router(
            self, classify, by, routes, default, Certainty(confidence, threshold, second_opinion)
        )
        return self

    @shows_right_call("graph.hierarchy(lead, [first, second], report)")
    def hierarchy(
        self,
        lead: Fits[S],
        teams: Sequence[Fits[S]],
        report: Fits[S],
        *,
        shares: Mapping[Fits[S], float] | None = None,
    ) -> Self:
        """Run a lead, then teams at once, then a report.

        A team is a node, or `sub()` of a flow that has teams of its own, to any depth. Errors,
        events and the metadata of model calls hold the path through all levels. `shares` splits
        the run's budget: a team, with all that is inside it, spends at most that part of it.
        """
        from graphorch.patterns.hierarchy import hierarchy

        hierarchy(self, lead, teams, report, shares or {})
        return self

    @shows_right_call("graph.evaluator_loop(write, judge, accept=is_good, max_rounds=3)")
    def evaluator_loop(
        self,
        generate: Fits[S],
        evaluate: Fits[S],
        *,
        accept: Of[S, bool],
        max_rounds: int,
        score: Of[S, float] | None = None,
        scale: tuple[float, float] | None = None,
        usd: float | None = None,
        same_model: bool = False,
    ) -> Self:
        """Write, evaluate, and write again, until `accept`; the state keeps the best attempt.

        The loop ends at `max_rounds`, when an attempt was made before, when `score` was not better
        for two rounds, or when the dollars left of `usd` do not cover another round; no call is
        made that could exceed them. From the second round on, the prompt of an agent that
        generates holds its last attempt and the evaluation, unless it reads them anyway. A score
        that is not a number within `scale` ends the run with `ScoreOutside`; without `score` the
        last attempt is the best one. Two agents with one model do not build, unless `same_model`.
        """
        from graphorch.patterns.evaluator_loop import LoopBounds, evaluator_loop

        evaluator_loop(
            self, generate, evaluate, accept, score, LoopBounds(max_rounds, usd, scale), same_model
        )
        return self


def _build_worker(label: Any, work: Any) -> Worker:
    """Return a worker of a supervisor: a flow, or a node."""
    from graphorch.patterns.supervisor import Worker

    if isinstance(work, Flow):
        return Worker(label, None, work.plan)  # pyright: ignore[reportUnknownMemberType]
    return Worker(label, work, None)
