"""One call: failover, rounds, retry budget, probes."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from pydantic import BaseModel, Field

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.errors import Refused, Truncated
from graphorch.models.messages import Request, Response
from graphorch.models.policies.call import PolicyRules
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import fallback, weighted
from graphorch.models.policies.retry_budget import RetryRules
from graphorch.models.policies.target import TargetRules
from graphorch.models.structured_output import ask_for_value
from tests.models.fakes import (
    Answer,
    FakeModel,
    cut_stream,
    hangs,
    html_page,
    ignore,
    request_to,
    status,
    timed_out,
)
from tests.models.policies.targets import list_outcomes, make_targets
from tests.models.virtual import run


class Verdict(BaseModel):
    score: int


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (status(500), "server"),
        (status(529), "server"),
        (status(424), "server"),
        (status(429), "rate_limit"),
        (status(429, retry_after=3600), "rate_limit"),
        (status(429, retryable=False), "credit"),
        (status(401), "auth"),
        (status(402), "credit"),
        (status(412), "credit"),
        (status(404), "unknown_model"),
        (timed_out(), "timeout"),
        (html_page(), "malformed"),
        (cut_stream(), "malformed"),
        (Refused("no", model="a", retryable=False), "filtered"),
        (
            ModelError("This model's maximum context length is 8192 tokens", model="a", status=400),
            "context_overflow",
        ),
        (
            ModelError(
                "The response was filtered by the content management policy: content_filter",
                model="a",
                status=400,
            ),
            "filtered",
        ),
        (status(413), "context_overflow"),
    ],
)
def test_failure_moves_to_next_target(failure: ModelError, outcome: str) -> None:
    """The next target is asked at once, and the record holds the kind of the failure."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(failure), FakeModel(Answer("from b", first=0.1))),
            runtime=runtime,
        )
        response = await policy.complete(request_to())
        assert (response.text, response.attempts) == ("from b", 2)
        assert list_outcomes(response) == [("a", outcome), ("b", "ok")]
        assert runtime.clock() == pytest.approx(0.11)

    run(main)


def test_invalid_output_moves_to_next_target() -> None:
    """An answer that does not fit the schema is discarded, and its cost counts."""

    async def main(runtime: Runtime) -> None:
        models = (
            FakeModel(Answer('{"score": "high"', usd=0.01, tokens=7)),
            FakeModel(Answer('{"score": 3}', usd=0.02, tokens=5)),
        )
        response = await fallback("p", make_targets(runtime, *models), runtime=runtime).complete(
            request_to(schema=Verdict)
        )
        assert (response.text, response.attempts, response.usage.output_tokens) == (
            '{"score": 3}',
            2,
            12,
        )
        assert response.usd == pytest.approx(0.03)
        assert list_outcomes(response) == [("a", "invalid_output"), ("b", "ok")]

    run(main)


@pytest.mark.parametrize(
    "text", ['Sure: {"score": 5}', '{"score": 5} is my verdict.', '{"Score": 5}', '{"score": "5"}']
)
def test_schema_check_is_that_of_caller(text: str) -> None:
    """An answer that the caller can use is not discarded and paid for twice."""

    async def main(runtime: Runtime) -> None:
        class Aliased(BaseModel):
            score: int = Field(alias="Score")

        second = FakeModel(Answer('{"score": 1, "Score": 1}'))
        policy = fallback("p", make_targets(runtime, FakeModel(Answer(text)), second))
        await ask_for_value(policy, request_to(), Aliased)
        assert second.requests == []

    run(main)


def test_invalid_output_of_all_is_returned() -> None:
    """If no answer fits the schema, the last one is returned for the caller to repair."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            make_targets(
                runtime, FakeModel(Answer("first", usd=0.5)), FakeModel(Answer("second", usd=0.25))
            ),
            runtime=runtime,
        )
        response = await policy.complete(request_to(schema=Verdict))
        assert (response.text, response.usd, response.attempts) == ("second", 0.75, 2)
        assert "no target gave an answer that fits" in response.note

    run(main)


def test_rejected_answer_moves_to_next_target() -> None:
    """An answer that the check does not accept is discarded."""

    async def main(runtime: Runtime) -> None:
        async def is_long(request: Request, response: Response) -> bool:
            await runtime.sleep(1)
            return len(response.text) > 10

        rules = PolicyRules(check=is_long)
        policy = fallback(
            "p",
            make_targets(
                runtime, FakeModel(Answer("short")), FakeModel(Answer("long enough to pass"))
            ),
            rules=rules,
            runtime=runtime,
        )
        response = await policy.complete(request_to())
        assert list_outcomes(response) == [("a", "rejected"), ("b", "ok")]

    run(main)


@pytest.mark.parametrize(
    "failure",
    [status(400), status(422), Truncated("cut by max_tokens", model="a", retryable=False)],
)
def test_unavoidable_failure_is_raised(failure: ModelError) -> None:
    """A failure that no other target could avoid is raised unchanged."""

    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        with pytest.raises(type(failure)) as caught:
            await fallback(
                "p", make_targets(runtime, FakeModel(failure), second), runtime=runtime
            ).complete(request_to())
        assert caught.value is failure
        assert second.requests == []

    run(main)


def test_failure_outside_of_on_is_raised() -> None:
    """Only kinds in `on` move to the next target."""

    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        rules = PolicyRules(on=frozenset({"timeout"}))
        with pytest.raises(ModelError, match="answered 500"):
            await fallback(
                "p",
                make_targets(runtime, FakeModel(status(500)), second),
                rules=rules,
                runtime=runtime,
            ).complete(request_to())
        assert second.requests == []

    run(main)


def test_policy_rules_suggest_failure_kind() -> None:
    """A misspelt kind is refused with the nearest known one."""
    with pytest.raises(InputError, match=r"no failure 'time_out'. Did you mean 'timeout'"):
        PolicyRules(on=frozenset({"time_out"}))


def test_attempt_timeout_leaves_time() -> None:
    """A target that hangs leaves time for the next one."""

    async def main(runtime: Runtime) -> None:
        hanging = FakeModel(hangs())
        policy = fallback(
            "p",
            make_targets(runtime, hanging, FakeModel()),
            rules=PolicyRules(attempt_timeout=4),
            runtime=runtime,
        )
        response = await policy.complete(request_to(timeout=10))
        assert list_outcomes(response) == [("a", "timeout"), ("b", "ok")]
        assert (hanging.cancelled, hanging.running) == (1, 0)
        assert policy.candidates[1].latency.pending == 0

    run(main)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("hanging", [1, 2, 3])
def test_hanging_targets_leave_time(hanging: int, streamed: bool) -> None:
    """Targets that hang leave time for one that works, without any rule, and are blamed."""

    async def main(runtime: Runtime) -> None:
        models = [*(FakeModel(hangs()) for _ in range(hanging)), FakeModel(Answer(first=2))]
        policy = fallback("p", make_targets(runtime, *models), runtime=runtime)
        on_text = ignore if streamed else None
        response = await policy.complete(request_to(timeout=60), on_text)
        outcomes = [outcome for _, outcome in list_outcomes(response)]
        assert outcomes == ["timeout"] * hanging + ["ok"]
        for _ in range(4):
            await policy.complete(request_to(timeout=60), on_text)
        assert policy.targets[0].breaker.state == "open"

    run(main)


def test_hanging_inner_target_leaves_time() -> None:
    """A target that hangs inside of another policy leaves time for the outer one's next."""

    async def main(runtime: Runtime) -> None:
        a, b, c = make_targets(runtime, FakeModel(hangs()), FakeModel(hangs()), FakeModel())
        inner = fallback("inner", [a, b], runtime=runtime)
        policy = fallback("outer", [inner, c], runtime=runtime)
        response = await policy.complete(request_to(timeout=60))
        assert (response.text, response.attempts) == ("fine", 3)
        assert runtime.clock() < 31

    run(main)


def test_long_stream_gets_whole_time() -> None:
    """An answer that has begun is not cut, however much of the time it takes."""

    async def main(runtime: Runtime) -> None:
        long = Answer("long", first=5, per_token=1, tokens=50)
        policy = fallback("p", make_targets(runtime, FakeModel(long), FakeModel()), runtime=runtime)
        response = await policy.complete(request_to(timeout=60), ignore)
        assert (response.text, response.attempts) == ("long", 1)
        with pytest.raises(NotAnswered, match="a: timeout"):
            await policy.complete(request_to(timeout=50), ignore)

    run(main)


def test_slow_target_gets_time_it_needs() -> None:
    """A target that is known to take more than half of the time gets what it needs."""

    async def main(runtime: Runtime) -> None:
        slow, spare = FakeModel(Answer("slow", first=40)), FakeModel(Answer("spare"))
        policy = fallback("p", make_targets(runtime, slow, spare), runtime=runtime)
        await policy.complete(request_to(timeout=200))
        assert (await policy.complete(request_to(timeout=60))).text == "slow"

    run(main)


def test_call_timeout_bounds_all_attempts() -> None:
    """No attempt begins after the time of the call."""

    async def main(runtime: Runtime) -> None:
        models = [FakeModel(hangs()), FakeModel(hangs()), FakeModel(hangs())]
        with pytest.raises(NotAnswered):
            await fallback("p", make_targets(runtime, *models), runtime=runtime).complete(
                request_to(timeout=10)
            )
        assert runtime.clock() == pytest.approx(10)
        assert [model.cancelled for model in models] == [1, 1, 1]

    run(main)


def test_attempt_gets_time_left() -> None:
    """The request of each attempt carries the time that is left."""

    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        await fallback(
            "p", make_targets(runtime, FakeModel(status(500)), second), runtime=runtime
        ).complete(request_to(timeout=10))
        assert second.requests[0].timeout == pytest.approx(9.99)

    run(main)


def test_slow_target_is_skipped() -> None:
    """A target whose first token comes too late is not asked."""

    async def main(runtime: Runtime) -> None:
        slow, quick = FakeModel(Answer(first=5)), FakeModel(Answer(first=0.5))
        policy = fallback("p", make_targets(runtime, slow, quick), runtime=runtime)
        await policy.complete(request_to(), ignore)
        response = await policy.complete(request_to(timeout=3))
        assert list_outcomes(response) == [("b", "ok")]
        assert response.decision is not None
        assert (
            response.decision.candidates[0].skipped
            == "its first token takes about 5.0 s, and 3.0 s are left"
        )

    run(main)


def test_second_round_asks_recoverable_targets() -> None:
    """After a short pause only targets that may have recovered are asked."""

    async def main(runtime: Runtime) -> None:
        gone, flaky = FakeModel(status(404)), FakeModel(status(500), Answer("back"))
        response = await fallback(
            "p", make_targets(runtime, gone, flaky), runtime=runtime
        ).complete(request_to())
        assert (response.text, response.attempts) == ("back", 3)
        assert len(gone.requests) == 1
        assert 0.25 <= runtime.clock() <= 1

    run(main)


def test_second_round_waits_for_retry_after() -> None:
    """The pause is as long as the target asks for."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(status(429, retry_after=7), Answer("back"))),
            runtime=runtime,
        )
        assert (await policy.complete(request_to())).text == "back"
        assert runtime.clock() == pytest.approx(7.11, abs=0.02)

    run(main)


def test_pause_beyond_timeout_fails_at_once() -> None:
    """A pause that does not fit into the time left is not waited for."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p", make_targets(runtime, FakeModel(status(429, retry_after=7))), runtime=runtime
        )
        with pytest.raises(NotAnswered, match=r"a: rate_limit") as caught:
            await policy.complete(request_to(timeout=5))
        assert runtime.clock() < 0.1
        assert (caught.value.retry_after, caught.value.retryable, caught.value.status) == (
            7,
            True,
            429,
        )

    run(main)


def test_retry_after_holds_for_other_calls() -> None:
    """A pause that a target asked for holds for all calls."""

    async def main(runtime: Runtime) -> None:
        first = FakeModel(status(429, retry_after=30), Answer("a"))
        policy = fallback(
            "p", make_targets(runtime, first, FakeModel(Answer("b"))), runtime=runtime
        )
        for _ in range(10):
            assert (await policy.complete(request_to())).text == "b"
        assert len(first.requests) == 1
        await runtime.sleep(30)
        assert (await policy.complete(request_to())).text == "a"

    run(main)


def test_single_attempt_is_not_repeated() -> None:
    """A target with one attempt, such as a gateway that repeats by itself, is asked once."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(status(500))
        with pytest.raises(NotAnswered):
            await fallback(
                "p", make_targets(runtime, model, rules=TargetRules(attempts=1)), runtime=runtime
            ).complete(request_to())
        assert len(model.requests) == 1

    run(main)


@pytest.mark.parametrize(("calls", "broken"), [(1000, 1), (100, 2), (100, 4)])
@pytest.mark.parametrize(
    "failure", [status(503), status(429), status(401), timed_out(), html_page()], ids=str
)
def test_burst_reaches_healthy_target(failure: ModelError, calls: int, broken: int) -> None:
    """No call of a burst fails while one target works, however many before it do not."""

    async def main(runtime: Runtime) -> None:
        models = [*(FakeModel(failure) for _ in range(broken)), FakeModel(Answer("works"))]
        policy = fallback("p", make_targets(runtime, *models), runtime=runtime)
        answers = await asyncio.gather(*(policy.complete(request_to()) for _ in range(calls)))
        assert {answer.text for answer in answers} == {"works"}
        assert all(len(model.requests) <= calls for model in models)

    run(main)


def test_used_up_budget_ends_call() -> None:
    """Without retry budget no target is asked twice, and the error says so."""

    async def main(runtime: Runtime) -> None:
        models = FakeModel(status(500)), FakeModel(status(500))
        rules = PolicyRules(retry=RetryRules(share=0, per_second=0, reserve=0))
        policy = fallback("p", make_targets(runtime, *models), rules=rules, runtime=runtime)
        with pytest.raises(NotAnswered, match=r"a: server; b: server.*retry budget was used up"):
            await policy.complete(request_to())
        assert [len(model.requests) for model in models] == [1, 1]

    run(main)


# ---- when everything is down


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("pace", ["at once", "one after the other"])
def test_outage_stays_within_retry_budget(width: int, pace: str) -> None:
    """With every target down, what goes beyond a request per call and target is in the budget."""

    async def main(runtime: Runtime) -> None:
        models = [FakeModel(status(500)) for _ in range(width)]
        policy = fallback("p", make_targets(runtime, *models), runtime=runtime)
        calls = 300

        async def call() -> None:
            with pytest.raises(NotAnswered):
                await policy.complete(request_to())

        if pace == "at once":
            await asyncio.gather(*(call() for _ in range(calls)))
        else:
            for _ in range(calls):
                await call()
        budget = 10 + 0.2 * calls + 0.1 * runtime.clock()
        asked = [len(model.requests) for model in models]
        assert sum(max(0, requests - calls) for requests in asked) <= budget
        if pace != "at once":
            # a few until the circuit opens, then a probe every five seconds
            assert max(asked) <= 20 + runtime.clock() / 4

    run(main)


def test_all_resting_probes_first_due() -> None:
    """If every circuit is open, the target that is due first is probed."""

    async def main(runtime: Runtime) -> None:
        first, second = (
            FakeModel(*[status(500)] * 5, Answer("a is back")),
            FakeModel(*[status(500)] * 5, Answer("b is back")),
        )
        policy = fallback(
            "p",
            make_targets(runtime, first, second),
            rules=PolicyRules(retry=RetryRules(rounds=1)),
            runtime=runtime,
        )
        for _ in range(5):
            with pytest.raises(NotAnswered):
                await policy.complete(request_to())
        response = await policy.complete(request_to())
        assert response.text == "a is back"
        assert response.decision is not None
        assert [target.skipped for target in response.decision.candidates] == [
            "its circuit is open for 30 s"
        ] * 2

    run(main)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("at_once", [1, 50])
@pytest.mark.parametrize("pause", [0.1, 1.0])
def test_short_outage_is_soon_forgotten(pause: float, at_once: int, streamed: bool) -> None:
    """After five seconds without any target, every call is answered again at once."""

    async def main(runtime: Runtime) -> None:
        def answer(request: Request) -> Answer | ModelError:
            return status(503) if runtime.clock() < 5 else Answer("back")

        policy = fallback(
            "p", make_targets(runtime, FakeModel(answer), FakeModel(answer)), runtime=runtime
        )

        async def call() -> bool:
            try:
                response = await policy.complete(request_to(), ignore if streamed else None)
            except NotAnswered:
                return False
            return response.text == "back"

        while runtime.clock() < 5:
            await asyncio.gather(*(call() for _ in range(at_once)))
            await runtime.sleep(pause)
        began = runtime.clock()
        for _ in range(20):
            assert all(await asyncio.gather(*(call() for _ in range(at_once))))
        assert runtime.clock() - began < 10
        assert "closed" in [target.breaker.state for target in policy.targets]

    run(main)


def test_probes_reach_recovered_target() -> None:
    """While all rest, a target that stays down does not take every probe."""

    async def main(runtime: Runtime) -> None:
        down, back = FakeModel(status(500)), FakeModel(*[status(500)] * 5, Answer("back"))
        policy = fallback(
            "p",
            make_targets(runtime, down, back),
            rules=PolicyRules(retry=RetryRules(rounds=1)),
            runtime=runtime,
        )
        for _ in range(5):
            with pytest.raises(NotAnswered):
                await policy.complete(request_to())
        assert (await policy.complete(request_to())).text == "back"

    run(main)


def test_calls_wait_for_verdict_of_probe() -> None:
    """Calls that come while a probe is on its way are answered once it has succeeded."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(*[status(500)] * 5, Answer("back", first=4))
        (target,) = make_targets(runtime, model)
        policy = fallback("p", [target], runtime=runtime)
        await asyncio.gather(
            *(target.complete(request_to()) for _ in range(5)), return_exceptions=True
        )
        answers = await asyncio.gather(*(policy.complete(request_to()) for _ in range(40)))
        assert {answer.text for answer in answers} == {"back"}

    run(main)


def test_excluded_target_is_not_probed() -> None:
    """A target that the order leaves out is never probed."""

    async def main(runtime: Runtime) -> None:
        off, resting = FakeModel(status(500)), FakeModel(status(500))
        a, b = make_targets(runtime, off, resting)
        for target in (a, b):
            await asyncio.gather(
                *(target.complete(request_to()) for _ in range(5)), return_exceptions=True
            )
        with pytest.raises(NotAnswered):
            await weighted(
                "p",
                [(a, 0), (b, 1)],
                rules=PolicyRules(retry=RetryRules(rounds=1)),
                runtime=runtime,
            ).complete(request_to())
        assert (len(off.requests), len(resting.requests)) == (5, 6)

    run(main)


def test_recovery_lets_one_call_first() -> None:
    """After the rest one call probes, and the others follow once it succeeded."""

    async def main(runtime: Runtime) -> None:
        first, second = (
            FakeModel(*[status(500)] * 5, Answer("a", first=1.0)),
            FakeModel(Answer("b", first=1.0)),
        )
        policy = fallback("p", make_targets(runtime, first, second), runtime=runtime)
        for _ in range(5):
            await policy.complete(request_to())
        await runtime.sleep(30)
        wave = await asyncio.gather(*(policy.complete(request_to()) for _ in range(50)))
        assert Counter(response.text for response in wave) == {"a": 1, "b": 49}
        wave = await asyncio.gather(*(policy.complete(request_to()) for _ in range(50)))
        assert Counter(response.text for response in wave) == {"a": 50}

    run(main)
