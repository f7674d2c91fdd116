"""Write, evaluate, and write again with the evaluation in the prompt, until it is good.

Known failure: the loop never ends, costs fifty times as much as one call, and returns the last
attempt instead of the best. Here it is bounded; it ends as soon as the evaluator accepts, scores
stop improving, or the next round would not fit into its budget; and it leaves the best attempt in
the state.

    write → judge → judge_progress          judge_progress goes back to write
    write, judge ─(budget is spent)→ judge_money → judge_progress
    judge ─(invalid answer)→ judge_invalid → judge_progress

A loop that ends without an accepted attempt leaves a note that says why.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.engine.invocation.binding import check_verdict
from graphorch.errors import BudgetExceeded
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.options import NodeBudget, is_count
from graphorch.graph.payloads import Failure
from graphorch.graph.signature import Read
from graphorch.patterns.errors import Unjudged, check_score
from graphorch.patterns.pattern_builder import (
    HiddenSlice,
    InputSlices,
    PatternBuilder,
    format_slice,
    has_required,
    make_model,
    restore_slice,
)
from graphorch.patterns.types import Round
from graphorch.state.identity import Indescribable, describe
from graphorch.text import plural

PATIENCE = 2
"""Rounds without a better score before the loop ends."""

_OUT_OF_ROUNDS = "max_rounds"
_MONEY_OVER = "the money set aside is over"

_ACCEPT = "return True to accept the attempt, False for another round"
_SCORE = "return a number"


@dataclass(frozen=True, slots=True)
class LoopBounds:
    """Limits of a loop beside acceptance; `scale` is the lowest and highest score."""

    rounds: int
    usd: float | None
    scale: tuple[float, float] | None


class Progress(BaseModel):
    """Memory of a loop; a subclass made for each loop has the type of the best attempt.

    `score` is that of the best attempt, `stale` the rounds since then, `seen` the digests of all
    attempts. `going`: a further round is wanted, also if the bound does not allow it. `open`: there
    will be one. `left` is the budget in dollars before the round, `dearest` the cost of the most
    expensive round.
    """

    rounds: int = 0
    going: bool = False
    open: bool = False
    stale: int = 0
    score: float | None = None
    seen: list[str] = []
    left: float | None = None
    dearest: float = 0.0
    money_over: bool = False
    best: Any = None


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop that is being drawn."""

    pattern: PatternBuilder
    generate: str
    evaluate: str
    bounds: LoopBounds
    memory: HiddenSlice
    progress: type[Progress]
    attempt: type[BaseModel]
    slices: tuple[type[BaseModel], ...]
    # Why the judge's last answer could not be used, or "".
    invalid: HiddenSlice

    @property
    def where(self) -> str:
        return f"evaluator_loop of '{self.generate}' and '{self.evaluate}'"


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
    pattern = PatternBuilder(builder)
    generator = pattern.add_step(generate, "evaluator_loop(generate)")
    evaluator = pattern.add_step(evaluate, "evaluator_loop(evaluate)")
    if not generator or not evaluator or not _check_writes(pattern, generator, evaluator):
        return

    # The names of these classes stay: they are part of fingerprints of format 1.
    slices = tuple(pattern.written_slices(generator, evaluator))
    parts = {f"part{number}": (model | None, None) for number, model in enumerate(slices)}
    attempt: type[BaseModel] = make_model("Best", parts)
    progress: type[Progress] = make_model(
        "ProgressOfLoop", {"best": (attempt | None, None)}, Progress
    )
    memory = pattern.add_memory(f"{evaluator}_progress", progress, progress)
    invalid = pattern.add_memory(f"{evaluator}_invalid", str, str, serves_fallback=True)
    loop = _Loop(pattern, generator, evaluator, bounds, memory, progress, attempt, slices, invalid)
    _check_bounds(loop)
    _check_models(loop, same_model=same_model)
    _extend_generator(loop)
    _draw_loop(loop, accept, score)


# ---- checks before anything runs -----------------------------------------------------------------
def _check_writes(pattern: PatternBuilder, *names: str) -> bool:
    before = len(pattern.spec.problems)
    for name in names:
        node = pattern.node(name)
        what = fix = ""
        if node.kind in ("map", "sub") and node.signature.may_skip:
            what = "what it writes is not known, so the best attempt could not be kept"
            fix = "annotate what its leave or gather function returns; a lambda may write anything"
        elif not node.signature.writes:
            what, fix = "it writes nothing", "have it return the slice that it makes"
        if what:
            pattern.add_problem("EVALUATOR_WRITES", f"node '{name}'", what, fix)
    return len(pattern.spec.problems) == before


def _check_bounds(loop: _Loop) -> None:
    pattern, bounds = loop.pattern, loop.bounds
    if not is_count(bounds.rounds):
        what = f"max_rounds={bounds.rounds!r} is not a bound"
        fix = "give a whole number from 1 on, the first round included"
        pattern.add_problem("EVALUATOR_BOUND", loop.where, what, fix)
    if bounds.usd is not None and not (bounds.usd > 0 and math.isfinite(bounds.usd)):
        what = f"usd={bounds.usd!r} pays for nothing"
        fix = "give dollars above 0, or leave it out"
        pattern.add_problem("EVALUATOR_USD", loop.where, what, fix)
    if bounds.scale is not None and not bounds.scale[0] < bounds.scale[1]:
        what = f"scale={bounds.scale!r} is not a range"
        fix = "give the lowest and the highest score, such as (0, 10)"
        pattern.add_problem("EVALUATOR_SCALE", loop.where, what, fix)


def _check_models(loop: _Loop, *, same_model: bool) -> None:
    pattern = loop.pattern
    model = pattern.node(loop.generate).model
    if same_model or not model or model != pattern.node(loop.evaluate).model:
        return
    what = f"both ask '{model}', and a model is a mild judge of its own work"
    if model == "default":
        fix = "name a model for one of them, or say same_model=True"
        pattern.add_warning("EVALUATOR_MODEL", loop.where, what, fix)
    else:
        fix = "name another model for one of them, or say same_model=True"
        pattern.add_problem("EVALUATOR_MODEL", loop.where, what, fix)


# ---- nodes and edges -----------------------------------------------------------------------------
def _extend_generator(loop: _Loop) -> None:
    """Let the generator read its last attempt and the evaluation, or warn that it cannot."""
    pattern, name = loop.pattern, loop.generate
    subflow = pattern.spec.subs.get(name)
    reads = pattern.node(name).signature.reads if subflow is None else subflow.enter.reads
    own = {read.model for read in reads}
    unread = [model for model in loop.slices if model not in own]
    if not unread:
        return
    generated = tuple(pattern.written_slices(name))
    write = _improve_prompt(loop.memory, generated)
    if pattern.extend_prompt(name, [loop.memory.model, *unread], write):
        return
    # It is not an agent. A function that reads one of these, or the whole state, may improve.
    if own & {*loop.slices, None, pattern.spec.state}:
        return
    listed = " or ".join(f"{model.__name__} | None" for model in loop.slices)
    pattern.add_warning(
        "EVALUATOR_UNHEARD",
        f"node '{name}'",
        f"it reads neither what it wrote the last time nor the evaluation of '{loop.evaluate}', "
        "so no round can be better than the first",
        f"read {listed}, or make it an @agent, whose prompt gets both",
    )


def _draw_loop(loop: _Loop, accept: Callable[..., Any], score: Callable[..., Any] | None) -> None:
    pattern, memory, bounds = loop.pattern, loop.memory, loop.bounds
    wants_more = _wants_more(memory)
    last = _draw_progress(loop, accept, score, wants_more)
    inner_exits = {name: pattern.find_exit(name) for name in (loop.generate, loop.evaluate)}
    pattern.set_exit(inner_exits[loop.evaluate], last)
    if bounds.usd is not None:
        budget = NodeBudget(f"loop of '{loop.evaluate}'", usd=bounds.usd)
        for name in (loop.generate, loop.evaluate, last):
            pattern.set_budget(name, budget)
        _draw_money(loop, last)
    pattern.add_edges(inner_exits[loop.generate], loop.evaluate)
    pattern.add_edges(inner_exits[loop.evaluate], last)
    _draw_invalid(loop, last)
    pattern.add_loop(last, loop.generate, wants_more, memory, bounds.rounds)


def _draw_progress(
    loop: _Loop,
    accept: Callable[..., Any],
    score: Callable[..., Any] | None,
    wants_more: Callable[..., bool],
) -> str:
    """Draw the node that weighs an attempt, and writes the best one when the loop ends."""
    pattern, memory, bounds = loop.pattern, loop.memory, loop.bounds
    inputs = InputSlices([Read(memory.model), Read(loop.invalid.model)])
    parts = inputs.add(*loop.slices, optional=True)
    # A slice with required fields is None where its node failed; functions may get it so.
    nullable = [model for model in loop.slices if has_required(model)]
    accept_function = pattern.read_function(accept, loop.where, (bool,), _ACCEPT)
    accepts = inputs.bind(accept_function, f"accept of {loop.where}", nullable)
    scores: Callable[[Sequence[Any]], Any] | None = None
    if score is not None:
        score_function = pattern.read_function(score, loop.where, (float, int), _SCORE)
        scores = inputs.bind(score_function, f"score of {loop.where}", nullable)
    score_name = getattr(score, "__name__", "score")
    low, high = bounds.scale or (-math.inf, math.inf)

    def weigh_attempt(ctx: NodeContext, old: Progress, slices: Sequence[BaseModel]) -> Progress:
        value = None
        if scores is not None:
            value = check_score(score_name, scores(slices), low, high)
        attempt = loop.attempt(
            **{f"part{number}": model for number, model in enumerate(slices[parts])}
        )
        accepted = check_verdict(f"accept of {loop.where}", accepts(slices), _ACCEPT)
        left = ctx.budget_left.usd if bounds.usd is not None else None
        now = _add_round(old, attempt, value, accepted, left)
        stopped = "accepted"
        if not accepted:
            stopped = _find_stop_reason(now, bounds, has_room=ctx.has_room(wants_more))
            if stopped:
                ctx.note(_describe_end(now, bounds, stopped))
        ctx.emit(
            Round(round=now.rounds, score=value, best=now.score, accepted=accepted, stopped=stopped)
        )
        is_going = stopped in ("", _OUT_OF_ROUNDS)
        return now.model_copy(update={"open": not stopped, "going": is_going})

    def weigh(ctx: NodeContext, *slices: BaseModel) -> tuple[BaseModel, ...]:
        old: Progress = memory.unwrap(slices[0])
        if not old.open:  # the loop is entered anew; its budget is not
            old = loop.progress(left=bounds.usd if old.left is None else old.left)
        invalid: str = loop.invalid.unwrap(slices[1])
        if old.money_over or invalid:
            now = old.model_copy(update={"going": False, "open": False, "money_over": False})
            stopped = invalid or _MONEY_OVER
            ctx.emit(Round(round=old.rounds, best=old.score, stopped=stopped))
            ctx.note(_describe_end(old, bounds, stopped))
        else:
            now = weigh_attempt(ctx, old, slices)
        # While the loop goes on, the state keeps the last attempt; at its end it gets the best.
        taken: set[str] = set()
        restored: list[BaseModel] = []
        for number, model in enumerate(loop.slices):
            best = None if now.open else getattr(now.best, f"part{number}", None)
            restored.append(restore_slice(model, best, taken))
        return memory.wrap(now), loop.invalid.wrap(""), *restored

    writes = (memory.model, loop.invalid.model, *loop.slices)
    return pattern.add_node(f"{loop.evaluate}_progress", weigh, inputs.reads, writes)


def _draw_money(loop: _Loop, last: str) -> None:
    """Draw the way of a call that the budget does not cover: to the best attempt, if any."""
    pattern, memory = loop.pattern, loop.memory

    def money_is_over(ctx: NodeContext, failure: Failure, slice: BaseModel) -> BaseModel:
        progress: Progress = memory.unwrap(slice)
        if progress.best is None or not progress.open:
            raise BudgetExceeded(
                f"The money ended before the first attempt was evaluated: {failure.message}",
                limit="usd",
            )
        return memory.wrap(progress.model_copy(update={"money_over": True}))

    reads = (Read(Failure), Read(memory.model))
    name = pattern.add_node(f"{loop.evaluate}_money", money_is_over, reads, (memory.model,))
    for source in (loop.generate, loop.evaluate):
        pattern.add_error_edge(source, name, BudgetExceeded)
    pattern.add_edges(name, last)


def _draw_invalid(loop: _Loop, last: str) -> None:
    """Draw the way of a judge's answer that cannot be used: to the best attempt so far."""
    pattern, memory = loop.pattern, loop.memory
    if not pattern.can_ask_models(loop.evaluate):
        return
    judged = pattern.written_slices(loop.evaluate)
    needs_judgement = any(has_required(model) for model in judged)

    def keep_best(ctx: NodeContext, failure: Failure, slice: BaseModel) -> BaseModel:
        progress: Progress = memory.unwrap(slice)
        has_best = progress.open and progress.best is not None
        if not has_best and needs_judgement:
            raise Unjudged(loop.evaluate, failure.message)
        return loop.invalid.wrap(f"'{loop.evaluate}' gave no valid answer: {failure.message}")

    reads = (Read(Failure), Read(memory.model))
    name = pattern.add_node(f"{loop.evaluate}_invalid", keep_best, reads, (loop.invalid.model,))
    problem, then = "ends the run", "the loop ends with the best attempt so far"
    pattern.add_fallback(loop.evaluate, name, (last,), ("EVALUATOR_INVALID", problem, then))


# ---- rounds --------------------------------------------------------------------------------------
def _add_round(
    old: Progress, attempt: BaseModel, value: float | None, accepted: bool, left: float | None
) -> Progress:
    """Return the memory after a round.

    An accepted attempt is the best one; without scores, the last one is.
    """
    is_better = accepted or value is None or old.score is None or value > old.score
    spent = old.left - left if old.left is not None and left is not None else 0.0
    update: dict[str, Any] = {
        "rounds": old.rounds + 1,
        "stale": old.stale + 1,
        "seen": [*old.seen, _compute_digest(attempt)],
        "left": left,
        "dearest": max(old.dearest, spent),
    }
    if is_better:
        update |= {"stale": 0, "score": value, "best": attempt}
    return old.model_copy(update=update)


def _compute_digest(attempt: BaseModel) -> str:
    """Return a digest that differs if anything in two attempts does; "" if they cannot be compared.

    It is not made of their JSON, which hides secrets and fields that are left out, and which an
    attempt may not have.
    """
    try:
        description = repr(describe(attempt))
    except Indescribable:
        return ""
    content = description.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _find_stop_reason(now: Progress, bounds: LoopBounds, *, has_room: bool) -> str:
    """Return why there is no further round after an attempt that was not accepted, or ""."""
    if now.seen[-1] and now.seen[-1] in now.seen[:-1]:
        return "no progress: this very attempt was made before"
    if now.stale >= PATIENCE:
        return f"no progress: no better score in {now.stale} rounds"
    if not has_room:
        return _OUT_OF_ROUNDS
    if bounds.usd is not None and now.left is not None and now.left < now.dearest:
        return "the money left does not cover another round"
    return ""


def _describe_end(progress: Progress, bounds: LoopBounds, stopped: str) -> str:
    """Return the note of a loop that ended without an accepted attempt."""
    reason = f"no more than {bounds.rounds} rounds" if stopped == _OUT_OF_ROUNDS else stopped
    kept = "the last attempt was kept"
    if progress.best is not None and progress.score is not None:
        kept = f"the best attempt was kept, with score {progress.score:g}"
    rounds = plural(progress.rounds, "evaluated round")
    return f"the loop ended without an accepted attempt after {rounds} ({reason}); {kept}"


def _wants_more(memory: HiddenSlice) -> Callable[[BaseModel], bool]:
    # Pictures show the name of this function.
    def not_good_yet(slice: BaseModel) -> bool:
        return memory.unwrap(slice).going

    return not_good_yet


def _improve_prompt(
    memory: HiddenSlice, generated: tuple[type[BaseModel], ...]
) -> Callable[..., str]:
    """Return the writer of what an agent reads from the second round on.

    That is its last attempt (slices in `generated`) and the evaluation (all others).
    """

    def write(slice: BaseModel | None, *written: BaseModel | None) -> str:
        if slice is None or not memory.unwrap(slice).open:
            return ""
        known = [model for model in written if model is not None]
        drafts = [format_slice(model) for model in known if isinstance(model, generated)]
        verdicts = [format_slice(model) for model in known if not isinstance(model, generated)]
        parts = ["Improve your last attempt."]
        if drafts:
            parts += ["What you wrote:", *drafts]
        if verdicts:
            parts += ["What the evaluation says:", *verdicts]
        return "\n\n".join(parts)

    return write
