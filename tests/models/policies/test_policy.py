"""Who is asked, who is asked next, and what the decision says about it."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest
from pydantic import BaseModel

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount, Budget, CapReached
from graphorch.models.client import OnText
from graphorch.models.errors import Refused, TimedOut, Truncated
from graphorch.models.messages import Request, Response
from graphorch.models.policies.call import PolicyRules
from graphorch.models.policies.circuit_breaker import RetryRules
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.policy import Policy, cascade, cheapest, fallback, fastest, weighted
from graphorch.models.policies.target import Target, TargetRules
from tests.models.fakes import (
    Action,
    Answer,
    FakeModel,
    Flat,
    Table,
    cut_stream,
    hangs,
    html_page,
    ignore,
    request_to,
    status,
    timed_out,
)
from tests.models.virtual import run


class Verdict(BaseModel):
    score: int


def targets(
    runtime: Runtime,
    *models: FakeModel,
    rules: TargetRules | None = None,
    prices: Table | None = None,
) -> list[Target]:
    """Targets called a, b, c, …"""
    return [
        Target(name, model, model=name, rules=rules, prices=prices, runtime=runtime)
        for name, model in zip("abcdef", models, strict=False)
    ]


def outcomes(response: Response) -> list[tuple[str, str]]:
    assert response.decision is not None
    return [(attempt.target, attempt.outcome) for attempt in response.decision.attempts]


# ---------------------------------------------------------------- failing over


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
def test_the_next_target_answers_without_a_pause(failure: ModelError, outcome: str) -> None:
    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            targets(runtime, FakeModel(failure), FakeModel(Answer("from b", first=0.1))),
            runtime=runtime,
        )
        response = await policy.complete(request_to())
        assert (response.text, response.attempts) == ("from b", 2)
        assert outcomes(response) == [("a", outcome), ("b", "ok")]
        assert runtime.clock() == pytest.approx(0.11)

    run(main)


def test_an_answer_that_does_not_fit_the_schema_goes_on_to_the_next_and_is_paid_for() -> None:
    async def main(runtime: Runtime) -> None:
        models = (
            FakeModel(Answer('{"score": "high"', usd=0.01, tokens=7)),
            FakeModel(Answer('{"score": 3}', usd=0.02, tokens=5)),
        )
        response = await fallback("p", targets(runtime, *models), runtime=runtime).complete(
            request_to(schema=Verdict)
        )
        assert (response.text, response.attempts, response.usage.output_tokens) == (
            '{"score": 3}',
            2,
            12,
        )
        assert response.usd == pytest.approx(0.03)
        assert outcomes(response) == [("a", "invalid_output"), ("b", "ok")]

    run(main)


def test_when_nobody_fits_the_schema_the_last_answer_is_handed_on_for_repair() -> None:
    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            targets(
                runtime, FakeModel(Answer("first", usd=0.5)), FakeModel(Answer("second", usd=0.25))
            ),
            runtime=runtime,
        )
        response = await policy.complete(request_to(schema=Verdict))
        assert (response.text, response.usd, response.attempts) == ("second", 0.75, 2)
        assert "no target gave an answer that fits" in response.note

    run(main)


def test_a_rejected_answer_goes_on_to_the_next() -> None:
    async def main(runtime: Runtime) -> None:
        async def is_long(request: Request, response: Response) -> bool:
            await runtime.sleep(1)
            return len(response.text) > 10

        rules = PolicyRules(check=is_long)
        policy = fallback(
            "p",
            targets(runtime, FakeModel(Answer("short")), FakeModel(Answer("long enough to pass"))),
            rules=rules,
            runtime=runtime,
        )
        response = await policy.complete(request_to())
        assert outcomes(response) == [("a", "rejected"), ("b", "ok")]

    run(main)


@pytest.mark.parametrize(
    "failure",
    [status(400), status(422), Truncated("cut by max_tokens", model="a", retryable=False)],
)
def test_what_no_other_target_could_avoid_is_raised_as_it_is(failure: ModelError) -> None:
    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        with pytest.raises(type(failure)) as caught:
            await fallback(
                "p", targets(runtime, FakeModel(failure), second), runtime=runtime
            ).complete(request_to())
        assert caught.value is failure
        assert second.requests == []

    run(main)


def test_only_declared_failures_go_on() -> None:
    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        rules = PolicyRules(on=frozenset({"timeout"}))
        with pytest.raises(ModelError, match="answered 500"):
            await fallback(
                "p", targets(runtime, FakeModel(status(500)), second), rules=rules, runtime=runtime
            ).complete(request_to())
        assert second.requests == []

    run(main)


def test_a_misspelt_failure_is_named_with_its_neighbour() -> None:
    with pytest.raises(InputError, match=r"no failure 'time_out'. Did you mean 'timeout'"):
        PolicyRules(on=frozenset({"time_out"}))


def test_a_target_that_hangs_leaves_time_for_the_next() -> None:
    async def main(runtime: Runtime) -> None:
        hanging = FakeModel(hangs())
        policy = fallback(
            "p",
            targets(runtime, hanging, FakeModel()),
            rules=PolicyRules(attempt_timeout=4),
            runtime=runtime,
        )
        response = await policy.complete(request_to(timeout=10))
        assert outcomes(response) == [("a", "timeout"), ("b", "ok")]
        assert (hanging.cancelled, hanging.running) == (1, 0)
        assert policy.candidates[1].latency.pending == 0

    run(main)


def test_the_time_of_the_call_bounds_all_of_it() -> None:
    async def main(runtime: Runtime) -> None:
        models = [FakeModel(hangs()), FakeModel(hangs())]
        with pytest.raises(NotAnswered):
            await fallback("p", targets(runtime, *models), runtime=runtime).complete(
                request_to(timeout=10)
            )
        assert runtime.clock() == pytest.approx(10)
        assert models[1].requests == []

    run(main)


def test_each_attempt_is_told_how_much_time_is_left() -> None:
    async def main(runtime: Runtime) -> None:
        second = FakeModel()
        await fallback(
            "p", targets(runtime, FakeModel(status(500)), second), runtime=runtime
        ).complete(request_to(timeout=10))
        assert second.requests[0].timeout == pytest.approx(9.99)

    run(main)


def test_a_target_that_cannot_begin_in_time_is_passed_over() -> None:
    async def main(runtime: Runtime) -> None:
        slow, quick = FakeModel(Answer(first=5)), FakeModel(Answer(first=0.5))
        policy = fallback("p", targets(runtime, slow, quick), runtime=runtime)
        await policy.complete(request_to(), ignore)
        response = await policy.complete(request_to(timeout=3))
        assert outcomes(response) == [("b", "ok")]
        assert response.decision is not None
        assert (
            response.decision.candidates[0].skipped
            == "its first token takes about 5.0 s, and 3.0 s are left"
        )

    run(main)


def test_a_second_round_waits_a_little_and_asks_only_who_may_have_recovered() -> None:
    async def main(runtime: Runtime) -> None:
        gone, flaky = FakeModel(status(404)), FakeModel(status(500), Answer("back"))
        response = await fallback("p", targets(runtime, gone, flaky), runtime=runtime).complete(
            request_to()
        )
        assert (response.text, response.attempts) == ("back", 3)
        assert len(gone.requests) == 1
        assert 0.25 <= runtime.clock() <= 1

    run(main)


def test_a_second_round_waits_as_long_as_the_target_asks() -> None:
    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            targets(runtime, FakeModel(status(429, retry_after=7), Answer("back"))),
            runtime=runtime,
        )
        assert (await policy.complete(request_to())).text == "back"
        assert runtime.clock() == pytest.approx(7.11, abs=0.02)

    run(main)


def test_a_pause_that_does_not_fit_into_the_time_is_not_waited_for() -> None:
    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p", targets(runtime, FakeModel(status(429, retry_after=7))), runtime=runtime
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


def test_who_asked_to_be_left_alone_is_left_alone_by_other_calls_too() -> None:
    async def main(runtime: Runtime) -> None:
        first = FakeModel(status(429, retry_after=30), Answer("a"))
        policy = fallback("p", targets(runtime, first, FakeModel(Answer("b"))), runtime=runtime)
        for _ in range(10):
            assert (await policy.complete(request_to())).text == "b"
        assert len(first.requests) == 1
        await runtime.sleep(30)
        assert (await policy.complete(request_to())).text == "a"

    run(main)


def test_a_gateway_that_repeats_by_itself_is_asked_once() -> None:
    async def main(runtime: Runtime) -> None:
        model = FakeModel(status(500))
        with pytest.raises(NotAnswered):
            await fallback(
                "p", targets(runtime, model, rules=TargetRules(attempts=1)), runtime=runtime
            ).complete(request_to())
        assert len(model.requests) == 1

    run(main)


# ---------------------------------------------------------------- when everything is down


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("pace", ["at once", "one after the other"])
def test_with_everything_down_the_requests_stay_within_the_retry_budget(
    width: int, pace: str
) -> None:
    async def main(runtime: Runtime) -> None:
        models = [FakeModel(status(500)) for _ in range(width)]
        policy = fallback("p", targets(runtime, *models), runtime=runtime)
        calls = 300

        async def call() -> None:
            with pytest.raises(NotAnswered):
                await policy.complete(request_to())

        if pace == "at once":
            await asyncio.gather(*(call() for _ in range(calls)))
        else:
            for _ in range(calls):
                await call()
        sent = sum(len(model.requests) for model in models)
        assert sent <= calls + 10 + 0.2 * calls + 0.1 * runtime.clock()
        if pace != "at once":
            assert sent < calls / 2, "the breakers should have cut most of it"

    run(main)


def test_when_all_rest_the_one_that_is_due_first_is_probed() -> None:
    async def main(runtime: Runtime) -> None:
        first, second = (
            FakeModel(*[status(500)] * 5, Answer("a is back")),
            FakeModel(*[status(500)] * 5, Answer("b is back")),
        )
        policy = fallback(
            "p",
            targets(runtime, first, second),
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


def test_a_target_that_is_left_out_is_not_probed_either() -> None:
    async def main(runtime: Runtime) -> None:
        off, resting = FakeModel(status(500)), FakeModel(status(500))
        a, b = targets(runtime, off, resting)
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


def test_after_a_recovery_one_call_goes_first_and_the_others_follow() -> None:
    async def main(runtime: Runtime) -> None:
        first, second = (
            FakeModel(*[status(500)] * 5, Answer("a", first=1.0)),
            FakeModel(Answer("b", first=1.0)),
        )
        policy = fallback("p", targets(runtime, first, second), runtime=runtime)
        for _ in range(5):
            await policy.complete(request_to())
        await runtime.sleep(30)
        wave = await asyncio.gather(*(policy.complete(request_to()) for _ in range(50)))
        assert Counter(response.text for response in wave) == {"a": 1, "b": 49}
        wave = await asyncio.gather(*(policy.complete(request_to()) for _ in range(50)))
        assert Counter(response.text for response in wave) == {"a": 50}

    run(main)


# ---------------------------------------------------------------- orders


def test_weights_are_kept_and_a_sticky_key_stays() -> None:
    async def main(runtime: Runtime) -> None:
        a, b, c = targets(runtime, *(FakeModel(Answer(name, first=0)) for name in "abc"))
        policy = weighted("p", [(a, 6), (b, 3), (c, 1)], runtime=runtime)
        seen = Counter([(await policy.complete(request_to())).text for _ in range(3000)])
        assert seen["a"] == pytest.approx(1800, abs=120)
        assert seen["c"] == pytest.approx(300, abs=60)
        by_key = Counter(
            [
                (await policy.complete(request_to(metadata={"sticky_key": f"user {n}"}))).text
                for n in range(3000)
            ]
        )
        assert by_key["a"] == pytest.approx(1800, abs=120)
        same = {
            (await policy.complete(request_to(metadata={"sticky_key": "user 7"}))).text
            for _ in range(50)
        }
        assert len(same) == 1

    run(main)


def test_a_target_without_weight_is_never_asked() -> None:
    async def main(runtime: Runtime) -> None:
        off = FakeModel()
        a, b = targets(runtime, FakeModel(status(500)), off)
        with pytest.raises(NotAnswered):
            await weighted("p", [(a, 1), (b, 0)], runtime=runtime).complete(request_to())
        assert off.requests == []

    run(main)


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), (float("nan"), 1)])
def test_weights_that_sum_to_nothing_are_refused(weights: Sequence[float]) -> None:
    async def main(runtime: Runtime) -> None:
        pair = targets(runtime, FakeModel(), FakeModel())
        with pytest.raises(InputError, match="make no sense"):
            weighted("p", list(zip(pair, weights, strict=True)), runtime=runtime)

    run(main)


def test_the_cheapest_depends_on_the_request_and_keeps_the_quality_floor() -> None:
    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-6, 9e-6), "b": Flat(4e-6, 1e-6), "c": Flat(1e-9)})
        a, b, c, d = targets(runtime, *(FakeModel(Answer(name)) for name in "abcd"), prices=prices)
        policy = cheapest("p", [(d, 9), (a, 7), (b, 7), (c, 3)], floor=5, runtime=runtime)
        long_prompt = await policy.complete(request_to(text="x" * 40_000, max_tokens=20))
        short_prompt = await policy.complete(request_to(text="x", max_tokens=2000))
        assert (long_prompt.text, short_prompt.text) == ("a", "b")
        assert long_prompt.decision is not None
        by_name = {target.name: target for target in long_prompt.decision.candidates}
        assert by_name["c"].skipped == "its quality 3 is below the floor 5"
        assert by_name["d"].score is None  # no price: last

    run(main)


def test_a_cascade_takes_the_cheap_answer_if_it_is_good_and_the_dear_one_without_a_check() -> None:
    async def main(runtime: Runtime) -> None:
        checked: list[str] = []

        def is_good(request: Request, response: Response) -> bool:
            checked.append(response.text)
            return "good" in response.text

        models = (
            FakeModel(Answer("good", usd=0.01), Answer("poor", usd=0.01)),
            FakeModel(Answer("dear", usd=0.50)),
        )
        policy = cascade("p", targets(runtime, *models), is_good, runtime=runtime)
        first, second = await policy.complete(request_to()), await policy.complete(request_to())
        assert (first.text, first.usd, second.text) == ("good", 0.01, "dear")
        assert second.usd == pytest.approx(0.51)
        assert checked == ["good", "poor"]

    run(main)


def test_a_cascade_never_trusts_a_cheap_answer_because_the_dear_target_is_down() -> None:
    async def main(runtime: Runtime) -> None:
        models = FakeModel(status(500), Answer("poor")), FakeModel(status(404))
        policy = cascade(
            "p", targets(runtime, *models), lambda request, response: False, runtime=runtime
        )
        with pytest.raises(NotAnswered, match=r"a: server; b: unknown_model; a: rejected"):
            await policy.complete(request_to())

    run(main)


def speeds(runtime: Runtime, table: dict[str, float]) -> tuple[dict[str, FakeModel], list[Target]]:
    """Models whose speed can be changed while they run: seconds per token, with a first token after ten of them."""

    def answer(name: str) -> Action:
        return lambda request: Answer(
            name, first=table[name] * 10, per_token=table[name], tokens=100
        )

    models = {name: FakeModel(answer(name)) for name in table}
    return models, [
        Target(name, model, model=name, runtime=runtime) for name, model in models.items()
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_the_fastest_is_within_a_tenth_of_an_oracle_after_20_calls_of_learning(
    streamed: bool,
) -> None:
    async def main(runtime: Runtime) -> None:
        table = {"a": 0.01, "b": 0.02, "c": 0.04}
        _, all_targets = speeds(runtime, table)
        policy = fastest("p", all_targets, runtime=runtime)
        for changed in ({}, {"a": 0.05}, {"c": 0.002}, {"c": 0.03, "b": 0.01}, {"a": 0.004}):
            table.update(changed)
            oracle = min(table.values()) * 110
            took = [
                (await policy.complete(request_to(), ignore if streamed else None)).seconds
                for _ in range(120)
            ]
            assert statistics.median(took[20:]) <= oracle * 1.1, changed

    run(main)


@pytest.mark.parametrize("on_text", [None, ignore], ids=["whole", "streamed"])
def test_a_long_answer_is_not_held_against_the_target_that_gave_it(on_text: OnText | None) -> None:
    async def main(runtime: Runtime) -> None:
        quick = FakeModel(
            Answer("quick", first=0.1, per_token=0.01, tokens=5000),
            Answer("quick", first=0.1, per_token=0.01, tokens=100),
        )
        slow = FakeModel(Answer("slow", first=0.2, per_token=0.02, tokens=100))
        policy = fastest("p", targets(runtime, quick, slow), runtime=runtime)
        said = [(await policy.complete(request_to(), on_text)).text for _ in range(7)]
        assert said[2:] == ["quick"] * 5  # by round trip, 50 s against 2 s

    run(main)


def test_200_calls_in_flight_do_not_herd() -> None:
    async def main(runtime: Runtime) -> None:
        models, all_targets = speeds(runtime, {"a": 0.01, "b": 0.015, "c": 0.02})
        policy = fastest("p", all_targets, runtime=runtime)
        shares: list[dict[str, float]] = []
        for _ in range(2):
            before = {name: len(model.requests) for name, model in models.items()}
            await asyncio.gather(*(policy.complete(request_to()) for _ in range(200)))
            shares.append(
                {name: (len(model.requests) - before[name]) / 200 for name, model in models.items()}
            )
        assert max(max(item.values()) for item in shares) < 0.55
        share = shares[-1]
        assert share["c"] < share["b"] < share["a"]

    run(main)


def test_large_inputs_are_judged_by_large_inputs() -> None:
    async def main(runtime: Runtime) -> None:
        def reader(name: str, per_char: float) -> Action:
            return lambda request: Answer(
                name, first=0.2 + per_char * len(request.messages[0].content)
            )

        chatty, patient = (
            FakeModel(reader("chatty", 1e-3)),
            FakeModel(lambda request: Answer("patient", first=5)),
        )
        policy = fastest("p", targets(runtime, chatty, patient), runtime=runtime)
        for text in ("x", "x" * 50_000):
            for _ in range(3):
                await policy.complete(request_to(text=text))
        assert (await policy.complete(request_to(text="x"))).text == "chatty"
        said = [(await policy.complete(request_to(text="x" * 50_000))).text for _ in range(5)]
        assert said.count("patient") >= 4

    run(main)


# ---------------------------------------------------------------- hedging


def hedged(
    runtime: Runtime, *models: FakeModel, share: float = 1.0, prices: Table | None = None
) -> Policy:
    rules = PolicyRules(hedge=Hedge(after=2.0, share=share))
    return fallback("p", targets(runtime, *models, prices=prices), rules=rules, runtime=runtime)


def test_a_slow_call_is_copied_to_the_next_and_the_first_to_begin_wins() -> None:
    async def main(runtime: Runtime) -> None:
        slow, quick = (
            FakeModel(Answer("slow", first=9)),
            FakeModel(Answer("quick", first=1, per_token=0.1)),
        )
        heard: list[str] = []
        response = await hedged(runtime, slow, quick).complete(request_to(), heard.append)
        assert (response.text, heard, runtime.clock()) == ("quick", ["quick"], pytest.approx(4))
        assert (slow.cancelled, slow.running) == (1, 0)
        assert response.decision is not None
        tried = [
            (attempt.target, attempt.outcome, attempt.is_hedge)
            for attempt in response.decision.attempts
        ]
        assert tried == [("b", "ok", True), ("a", "cancelled", False)]
        assert response.decision.answered_by == "b"

    run(main)


def test_no_copy_is_sent_once_the_first_token_is_there() -> None:
    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("long", first=1, per_token=1, tokens=30)), FakeModel()
        assert (await hedged(runtime, first, second).complete(request_to(), ignore)).text == "long"
        assert second.requests == []

    run(main)


def test_a_copy_that_fails_does_not_end_the_call() -> None:
    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("late", first=5)), FakeModel(status(500))
        assert (await hedged(runtime, first, second).complete(request_to())).text == "late"

    run(main)


def test_a_first_that_fails_while_its_copy_runs_leaves_the_copy_to_answer() -> None:
    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("first", first=4)), FakeModel(Answer("copy", first=5))
        rules = PolicyRules(
            hedge=Hedge(after=2.0, share=1.0),
            check=lambda request, response: response.text == "copy",
        )
        rejecting = fallback("p", targets(runtime, first, second), rules=rules, runtime=runtime)
        assert (await rejecting.complete(request_to())).text == "copy"
        assert len(second.requests) == 1

    run(main)


def test_a_copy_that_has_failed_is_not_asked_again_in_the_same_round() -> None:
    async def main(runtime: Runtime) -> None:
        second = FakeModel(status(500))
        rules = PolicyRules(
            hedge=Hedge(after=2.0, share=1.0),
            check=lambda request, response: False,
            retry=RetryRules(rounds=1),
        )
        policy = fallback(
            "p", targets(runtime, FakeModel(Answer(first=5)), second), rules=rules, runtime=runtime
        )
        with pytest.raises(NotAnswered):
            await policy.complete(request_to())
        assert len(second.requests) == 1

    run(main)


def test_copies_are_capped_to_their_share_of_the_calls() -> None:
    async def main(runtime: Runtime) -> None:
        second = FakeModel(Answer(first=1))
        policy = hedged(runtime, FakeModel(Answer(first=4)), second, share=0.05)
        for _ in range(100):
            await policy.complete(request_to())
        assert 5 <= len(second.requests) <= 6

    run(main)


def test_the_copy_that_loses_is_paid_at_its_worst_case() -> None:
    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-6), "b": Flat(1e-6)})
        account = Account("run", Budget(usd=1.0))
        policy = hedged(
            runtime,
            FakeModel(Answer("slow", first=9)),
            FakeModel(Answer("quick", first=1)),
            prices=prices,
        )
        await policy.complete(request_to(payer=account, max_tokens=100))
        report = account.report()
        assert report.spent.calls == 2
        assert report.estimated == pytest.approx(report.spent.usd - 12e-6)
        assert report.reserved.usd == 0

    run(main)


def test_no_copy_is_sent_while_others_wait_for_money() -> None:
    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-3), "b": Flat(1e-3)})
        second = FakeModel()
        policy = hedged(runtime, FakeModel(Answer(first=3)), second, prices=prices)
        account = Account("run", Budget(usd=0.25))
        request = request_to(payer=account, max_tokens=100)
        await asyncio.gather(*(policy.complete(request) for _ in range(2)))
        assert second.requests == []

    run(main)


def test_cancelling_a_hedged_call_ends_both_copies() -> None:
    async def main(runtime: Runtime) -> None:
        models = FakeModel(hangs()), FakeModel(hangs())
        task = asyncio.create_task(hedged(runtime, *models).complete(request_to()))
        await runtime.sleep(5)
        assert [model.running for model in models] == [1, 1]
        task.cancel()
        await asyncio.wait([task])
        assert [model.running for model in models] == [0, 0]

    run(main)


# ---------------------------------------------------------------- nesting, budgets, decisions


def test_policies_nest_and_the_decision_shows_all_of_it() -> None:
    async def main(runtime: Runtime) -> None:
        a, b, c = targets(
            runtime,
            FakeModel(status(500)),
            FakeModel(status(500)),
            FakeModel(Answer("c", usd=0.002)),
        )
        once = PolicyRules(retry=RetryRules(rounds=1))
        inner = fallback("inner", [a, b], rules=once, runtime=runtime)
        response = await fallback("outer", [inner, c], rules=once, runtime=runtime).complete(
            request_to(), ignore
        )
        assert response.decision is not None
        assert response.decision.answered_by == "c"
        assert outcomes(response) == [("inner", "server"), ("c", "ok")]
        told = response.decision.attempts[0].inner
        assert told is not None
        assert [attempt.target for attempt in told.attempts] == ["a", "b"]
        text = response.decision.text()
        assert "outer (fallback): answered by c" in text
        assert "    inner (fallback): no answer" in text
        assert (
            "c: ok after 0.1 s, status 200, first token after 0.1 s, 2 + 10 tokens, $0.002000 (reported)"
            in text
        )

    run(main)


def test_a_nested_policy_whose_targets_all_rest_is_passed_over() -> None:
    async def main(runtime: Runtime) -> None:
        a, b = targets(runtime, FakeModel(status(500)), FakeModel(Answer("b")))
        once = PolicyRules(retry=RetryRules(rounds=1))
        policy = fallback(
            "outer",
            [fallback("inner", [a], rules=once, runtime=runtime), b],
            rules=once,
            runtime=runtime,
        )
        for _ in range(5):
            await policy.complete(request_to())
        assert outcomes(await policy.complete(request_to())) == [("b", "ok")]

    run(main)


def test_the_error_when_nobody_answers_tells_who_said_what() -> None:
    async def main(runtime: Runtime) -> None:
        rules = PolicyRules(retry=RetryRules(rounds=1))
        policy = fallback(
            "p",
            targets(runtime, FakeModel(status(500)), FakeModel(html_page())),
            rules=rules,
            runtime=runtime,
        )
        with pytest.raises(
            NotAnswered, match=r"Policy 'p' got no answer \(a: server; b: malformed\)"
        ) as caught:
            await policy.complete(request_to())
        assert [attempt.target for attempt in caught.value.decision.attempts] == ["a", "b"]
        assert caught.value.__cause__ is caught.value.failures[-1]

    run(main)


def test_a_call_that_fits_nowhere_in_the_budget_is_no_failure_of_a_target() -> None:
    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1.0), "b": Flat(1e-9)})
        models = FakeModel(), FakeModel()
        policy = fallback("p", targets(runtime, *models, prices=prices), runtime=runtime)
        with pytest.raises(CapReached):
            await policy.complete(request_to(payer=Account("run", Budget(usd=1)), max_tokens=10))
        assert [len(model.requests) for model in models] == [0, 0]

    run(main)


@pytest.mark.parametrize("known", ["a", "b"])
def test_an_unknown_price_anywhere_in_a_policy_is_refused_before_any_call_under_a_cap(
    known: str,
) -> None:
    async def main(runtime: Runtime) -> None:
        models = FakeModel(), FakeModel()
        policy = fallback(
            "p", targets(runtime, *models, prices=Table({known: Flat(1e-6)})), runtime=runtime
        )
        with pytest.raises(InputError, match=r"its price is not known. Add it to the prices"):
            await policy.complete(request_to(payer=Account("run", Budget(usd=1))))
        assert [len(model.requests) for model in models] == [0, 0]

    run(main)


def test_a_policy_needs_targets_and_each_once() -> None:
    async def main(runtime: Runtime) -> None:
        (a,) = targets(runtime, FakeModel())
        with pytest.raises(InputError, match="has no targets"):
            fallback("p", [])
        with pytest.raises(InputError, match="has the target 'a' twice"):
            fallback("p", [a, a])

    run(main)


def test_a_call_that_is_cancelled_leaves_nothing_running_and_nothing_reserved() -> None:
    async def main(runtime: Runtime) -> None:
        model = FakeModel(hangs())
        policy = fallback(
            "p", targets(runtime, model, prices=Table({"a": Flat(1e-6)})), runtime=runtime
        )
        account = Account("run", Budget(usd=1))
        task = asyncio.create_task(policy.complete(request_to(payer=account, max_tokens=10)))
        await runtime.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert (model.running, policy.latency.pending, policy.candidates[0].latency.pending) == (
            0,
            0,
            0,
        )
        report = account.report()
        assert report.reserved.usd == 0
        assert report.estimated == report.spent.usd > 0

    run(main)


def test_seconds_of_a_budget_end_a_call_that_is_under_way() -> None:
    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(seconds=3), clock=runtime.clock)
        with pytest.raises(CapReached) as caught:
            await fallback("p", targets(runtime, FakeModel(hangs())), runtime=runtime).complete(
                request_to(payer=account)
            )
        assert (caught.value.limit, runtime.clock()) == ("seconds", 3)

    run(main)


def test_a_timeout_that_only_waiting_used_up_is_not_held_against_the_target() -> None:
    async def main(runtime: Runtime) -> None:
        (target,) = targets(runtime, FakeModel(), prices=Table({"a": Flat(1.0)}))
        account = Account("run", Budget(usd=100))
        held = await account.reserve(Amount(100))
        for _ in range(6):
            with pytest.raises(TimedOut, match="nothing was sent"):
                await target.complete(request_to(payer=account, max_tokens=1, timeout=1))
        assert target.breaker.state == "closed"
        held.release()

    run(main)
