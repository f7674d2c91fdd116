"""Write, evaluate, and write again with the evaluation in hand, until it is good.

Known failure: the loop never ends, costs fifty times what one call costs, and returns the last attempt instead of the best. Here it is
bounded; it ends as soon as the evaluator accepts, nothing gets better, or the next round would not fit into the money set aside for it;
and the best attempt is what it leaves in the state.

    write → judge → judge_progress          judge_progress goes back to write
    write, judge ─(money is over)→ judge_money → judge_progress
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.errors import BudgetExceeded
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.options import NodeBudget, is_count
from graphorch.graph.payloads import Failure
from graphorch.graph.signature import Read, StateFunction
from graphorch.patterns.errors import ScoreOutside
from graphorch.patterns.pattern_builder import (
    HiddenSlice,
    InputSlices,
    PatternBuilder,
    format_slice,
    make_model,
    with_fields,
)
from graphorch.patterns.types import Round

PATIENCE = 2  # rounds without a better score before the loop ends


@dataclass(frozen=True, slots=True)
class LoopBounds:
    """What ends a loop beside acceptance."""

    rounds: int
    usd: float | None
    scale: tuple[float, float] | None


class Progress(BaseModel):
    """What the loop remembers; a subclass made for each loop adds the best attempt, `best`."""

    rounds: int = 0
    going: bool = False  # whether a further round is wanted, also if the bound does not allow it
    open: bool = False  # whether there will be one
    stale: int = 0  # rounds since the score was best
    score: float | None = None  # of the best attempt
    seen: list[str] = []
    left: float | None = None  # dollars, before the round
    dearest: float = 0.0  # the most dollars that a round has cost
    money_over: bool = False
    best: Any = None


@dataclass(frozen=True, slots=True)
class _Loop:
    """One loop being drawn."""

    wiring: PatternBuilder
    generate: str
    evaluate: str
    bounds: LoopBounds
    memory: HiddenSlice
    kind: type[Progress]
    best: type[BaseModel]
    slices: tuple[type[BaseModel], ...]


def evaluator_loop(
    builder: GraphBuilder[Any],
    generate: Any,
    evaluate: Any,
    accept: Callable[..., Any],
    score: Callable[..., Any] | None,
    bounds: LoopBounds,
    same_model: bool,
) -> None:
    """See `Graph.evaluator_loop`."""
    wiring = PatternBuilder(builder)
    names = (
        wiring.one(generate, "evaluator_loop(generate)"),
        wiring.one(evaluate, "evaluator_loop(evaluate)"),
    )
    if not all(names) or not _writes_something(wiring, *names):
        return
    _check(wiring, *names, bounds, same_model)
    slices = tuple(wiring.slices_of(*names))
    best: type[BaseModel] = make_model(
        "Best", {f"part{number}": (model | None, None) for number, model in enumerate(slices)}
    )
    kind: type[Progress] = make_model("ProgressOfLoop", {"best": (best | None, None)}, Progress)
    memory = wiring.memory(f"{names[1]}_progress", kind, kind)
    loop = _Loop(wiring, *names, bounds, memory, kind, best, slices)
    generated = tuple(wiring.slices_of(names[0]))
    nested = wiring.blueprint.subs.get(names[0])
    own = {
        read.model
        for read in (
            nested.enter.reads if nested is not None else wiring.node(names[0]).signature.reads
        )
    }
    unread = [model for model in slices if model not in own]
    told = not unread or wiring.tell(
        names[0], [memory.model, *unread], _said_again(memory, generated)
    )
    if not told and not own & {*slices, None, wiring.blueprint.state}:
        what = f"it reads neither what it wrote the last time nor what '{names[1]}' says, so no round can be better than the first"
        listed = " or ".join(f"{model.__name__} | None" for model in slices)
        wiring.warn(
            "EVALUATOR_UNHEARD",
            f"node '{names[0]}'",
            what,
            f"read {listed}, or make it an @agent, which is told",
        )
    _draw(loop, accept, score)


def _check(
    wiring: PatternBuilder, generate: str, evaluate: str, bounds: LoopBounds, same_model: bool
) -> None:
    where = f"evaluator_loop of '{generate}' and '{evaluate}'"
    if not is_count(bounds.rounds):
        wiring.problem(
            "EVALUATOR_BOUND",
            where,
            f"max_rounds={bounds.rounds!r} is no bound",
            "give a whole number from 1 on, the first round included",
        )
    if bounds.usd is not None and not (bounds.usd > 0 and math.isfinite(bounds.usd)):
        wiring.problem(
            "EVALUATOR_USD",
            where,
            f"usd={bounds.usd!r} pays for nothing",
            "give dollars above 0, or leave it out",
        )
    if bounds.scale is not None and not bounds.scale[0] < bounds.scale[1]:
        wiring.problem(
            "EVALUATOR_SCALE",
            where,
            f"scale={bounds.scale!r} is no range",
            "give the lowest and the highest score, such as (0, 10)",
        )
    models = wiring.node(generate).model, wiring.node(evaluate).model
    if models[0] and models[0] == models[1] and not same_model:
        what = f"both ask '{models[0]}', and a model is a mild judge of its own work"
        if models[0] == "default":
            wiring.warn(
                "EVALUATOR_MODEL",
                where,
                what,
                "name a model for one of them, or say same_model=True",
            )
        else:
            wiring.problem(
                "EVALUATOR_MODEL",
                where,
                what,
                "name another model for one of them, or say same_model=True",
            )


def _writes_something(wiring: PatternBuilder, *names: str) -> bool:
    before = len(wiring.blueprint.problems)
    for name in names:
        node = wiring.node(name)
        if node.kind in ("map", "sub") and node.signature.may_skip:
            fix = "annotate what its leave or gather function returns; a lambda may write anything"
            wiring.problem(
                "EVALUATOR_WRITES",
                f"node '{name}'",
                "what it writes is not known, so the best attempt could not be kept",
                fix,
            )
        elif not node.signature.writes:
            wiring.problem(
                "EVALUATOR_WRITES",
                f"node '{name}'",
                "it writes nothing",
                "have it return the slice that it makes",
            )
    return len(wiring.blueprint.problems) == before


def _draw(loop: _Loop, accept: Callable[..., Any], score: Callable[..., Any] | None) -> None:
    wiring, memory, bounds = loop.wiring, loop.memory, loop.bounds
    where = f"evaluator_loop of '{loop.generate}' and '{loop.evaluate}'"
    reading = InputSlices([Read(memory.model)])
    parts = reading.add(*loop.slices, optional=True)
    unsure = [
        model
        for model in loop.slices
        if any(info.is_required() for info in model.model_fields.values())
    ]
    accepts = reading.of(wiring.pure(accept, where), unsure)
    scores = reading.of(wiring.pure(score, where), unsure) if score is not None else None
    name = getattr(score, "__name__", "score")

    wants_more = _wants_more(memory)

    def weigh(ctx: NodeContext, *given: BaseModel) -> tuple[BaseModel, ...]:
        old: Progress = memory.of(given[0])
        if old.money_over:
            now = old.model_copy(update={"going": False, "open": False, "money_over": False})
            ctx.emit(Round(round=old.rounds, best=old.score, stopped="the money set aside is over"))
        else:
            fresh = (
                old if old.open else loop.kind(left=bounds.usd if old.left is None else old.left)
            )
            value = None if scores is None else _checked(name, scores(given), bounds.scale)
            attempt = loop.best(
                **{f"part{number}": model for number, model in enumerate(given[parts])}
            )
            accepted = bool(accepts(given))
            now = _next(
                fresh,
                attempt,
                value,
                accepted,
                ctx.budget_left.usd if bounds.usd is not None else None,
            )
            stopped = (
                "accepted"
                if accepted
                else _why_stop(now, bounds, has_room=ctx.has_room(wants_more))
            )
            ctx.emit(
                Round(
                    round=now.rounds,
                    score=value,
                    best=now.score,
                    accepted=accepted,
                    stopped=stopped,
                )
            )
            now = now.model_copy(update={"open": not stopped, "going": stopped in ("", _BOUND)})
        taken: set[str] = set()
        best = [
            None if now.open else getattr(now.best, f"part{number}")
            for number in range(len(loop.slices))
        ]
        return memory.keep(now), *(
            with_fields(model, part, taken) for model, part in zip(loop.slices, best, strict=True)
        )

    wallet = (
        NodeBudget(f"loop of '{loop.evaluate}'", usd=bounds.usd) if bounds.usd is not None else None
    )
    if wallet is not None:
        wiring.pay_from(loop.generate, wallet)
        wiring.pay_from(loop.evaluate, wallet)
    inside = {text: wiring.exit_of(text) for text in (loop.generate, loop.evaluate)}
    last = wiring.hidden(
        f"{loop.evaluate}_progress", weigh, reading.reads, (memory.model, *loop.slices)
    )
    wiring.leave_by(inside[loop.evaluate], last)
    if wallet is not None:
        wiring.pay_from(last, wallet)
        _money(loop, last)
    wiring.edge(inside[loop.generate], loop.evaluate)
    wiring.edge(inside[loop.evaluate], last)
    wiring.loop(
        last, loop.generate, StateFunction(wants_more, (Read(memory.model),)), bounds.rounds
    )


def _money(loop: _Loop, last: str) -> None:
    """Where a call leads that the money does not cover: to the best attempt, if there is one."""
    memory = loop.memory

    def money_is_over(ctx: NodeContext, failure: Failure, slice: BaseModel) -> BaseModel:
        progress: Progress = memory.of(slice)
        if progress.best is None or not progress.open:
            raise BudgetExceeded(
                f"The money ended before the first attempt was evaluated: {failure.message}",
                limit="usd",
            )
        return memory.keep(progress.model_copy(update={"money_over": True}))

    name = loop.wiring.hidden(
        f"{loop.evaluate}_money",
        money_is_over,
        (Read(Failure), Read(memory.model)),
        (memory.model,),
    )
    for source in (loop.generate, loop.evaluate):
        loop.wiring.on_error(source, name, BudgetExceeded)
    loop.wiring.edge(name, last)


_BOUND = "max_rounds"


def _next(
    old: Progress, attempt: BaseModel, value: float | None, accepted: bool, left: float | None
) -> Progress:
    """The memory after a round. Without scores the last attempt is the best one, and so is an accepted one."""
    better = accepted or value is None or old.score is None or value > old.score
    digest = hashlib.blake2b(attempt.model_dump_json().encode(), digest_size=16).hexdigest()
    spent = old.left - left if old.left is not None and left is not None else 0.0
    return old.model_copy(
        update={
            "rounds": old.rounds + 1,
            "stale": 0 if better else old.stale + 1,
            "score": value if better else old.score,
            "best": attempt if better else old.best,
            "seen": [*old.seen, digest],
            "left": left,
            "dearest": max(old.dearest, spent),
        }
    )


def _why_stop(now: Progress, bounds: LoopBounds, *, has_room: bool) -> str:
    if now.seen[-1] in now.seen[:-1]:
        return "no progress: this very attempt was made before"
    if now.stale >= PATIENCE:
        return f"no progress: no better score in {now.stale} rounds"
    if not has_room:
        return _BOUND
    if bounds.usd is not None and now.left is not None and now.left < now.dearest:
        return "the money left does not cover another round"
    return ""


def _checked(name: str, value: Any, scale: tuple[float, float] | None) -> float:
    """A score as a number. Raises `ScoreOutside`."""
    low, high = scale or (-math.inf, math.inf)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ScoreOutside(name, value, low, high)
    return float(value)


def _wants_more(memory: HiddenSlice) -> Callable[[BaseModel], bool]:
    def not_good_yet(slice: BaseModel) -> bool:
        return memory.of(slice).going

    return not_good_yet


def _said_again(memory: HiddenSlice, generated: tuple[type[BaseModel], ...]) -> Callable[..., str]:
    """What a generator that is an agent is told from the second round on: what it wrote, and what the evaluator said."""

    def say(slice: BaseModel | None, *written: BaseModel | None) -> str:
        if slice is None or not memory.of(slice).open:
            return ""
        drafts = [
            format_slice(model)
            for model in written
            if model is not None and isinstance(model, generated)
        ]
        verdicts = [
            format_slice(model)
            for model in written
            if model is not None and not isinstance(model, generated)
        ]
        parts = ["What you wrote:", *drafts] if drafts else []
        parts += ["What the evaluation says:", *verdicts] if verdicts else []
        return "\n\n".join(["Improve your last attempt.", *parts])

    return say
