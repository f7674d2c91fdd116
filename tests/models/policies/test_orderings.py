"""Order of the candidates: weights, prices, quality, checks, speed."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest

from graphorch.clock import Runtime
from graphorch.errors import InputError
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import cascade, cheapest, fastest, weighted
from graphorch.models.policies.target import Target
from tests.models.fakes import (
    Action,
    Answer,
    FakeModel,
    Flat,
    Table,
    ignore,
    request_to,
    status,
)
from tests.models.policies.targets import make_targets
from tests.models.virtual import run


def test_weighted_keeps_shares_and_keys() -> None:
    """Shares follow the weights, and calls with one sticky key stay together."""

    async def main(runtime: Runtime) -> None:
        a, b, c = make_targets(runtime, *(FakeModel(Answer(name, first=0)) for name in "abc"))
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


def test_weight_of_zero_excludes() -> None:
    """A target of weight 0 is never asked."""

    async def main(runtime: Runtime) -> None:
        off = FakeModel()
        a, b = make_targets(runtime, FakeModel(status(500)), off)
        with pytest.raises(NotAnswered):
            await weighted("p", [(a, 1), (b, 0)], runtime=runtime).complete(request_to())
        assert off.requests == []

    run(main)


@pytest.mark.parametrize("weights", [(0, 0), (-1, 2), (float("nan"), 1)])
def test_weights_out_of_range(weights: Sequence[float]) -> None:
    """Negative weights, and weights that sum to 0, are refused."""

    async def main(runtime: Runtime) -> None:
        pair = make_targets(runtime, FakeModel(), FakeModel())
        with pytest.raises(InputError, match="make no sense"):
            weighted("p", list(zip(pair, weights, strict=True)), runtime=runtime)

    run(main)


def test_cheapest_depends_on_request() -> None:
    """The cheapest target depends on the request, and the quality floor holds."""

    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-6, 9e-6), "b": Flat(4e-6, 1e-6), "c": Flat(1e-9)})
        a, b, c, d = make_targets(
            runtime, *(FakeModel(Answer(name)) for name in "abcd"), prices=prices
        )
        policy = cheapest("p", [(d, 9), (a, 7), (b, 7), (c, 3)], floor=5, runtime=runtime)
        long_prompt = await policy.complete(request_to(text="x" * 40_000, max_tokens=20))
        short_prompt = await policy.complete(request_to(text="x", max_tokens=2000))
        assert (long_prompt.text, short_prompt.text) == ("a", "b")
        assert long_prompt.decision is not None
        by_name = {target.name: target for target in long_prompt.decision.candidates}
        assert by_name["c"].skipped == "its quality 3 is below the floor 5"
        assert by_name["d"].score is None  # no price: last

    run(main)


def test_cascade_checks_all_but_last() -> None:
    """A good cheap answer is taken; the answer of the last target is taken without a check."""

    async def main(runtime: Runtime) -> None:
        checked: list[str] = []

        def is_good(request: Request, response: Response) -> bool:
            checked.append(response.text)
            return "good" in response.text

        models = (
            FakeModel(Answer("good", usd=0.01), Answer("poor", usd=0.01)),
            FakeModel(Answer("dear", usd=0.50)),
        )
        policy = cascade("p", make_targets(runtime, *models), is_good, runtime=runtime)
        first, second = await policy.complete(request_to()), await policy.complete(request_to())
        assert (first.text, first.usd, second.text) == ("good", 0.01, "dear")
        assert second.usd == pytest.approx(0.51)
        assert checked == ["good", "poor"]

    run(main)


def test_cascade_rejects_while_last_is_down() -> None:
    """A poor cheap answer is not taken because the dear target is down."""

    async def main(runtime: Runtime) -> None:
        models = FakeModel(status(500), Answer("poor")), FakeModel(status(404))
        policy = cascade(
            "p", make_targets(runtime, *models), lambda request, response: False, runtime=runtime
        )
        with pytest.raises(NotAnswered, match=r"a: server; b: unknown_model; a: rejected"):
            await policy.complete(request_to())

    run(main)


def make_changing_targets(
    runtime: Runtime, table: dict[str, float]
) -> tuple[dict[str, FakeModel], list[Target]]:
    """Return models and their targets, with a speed that the caller may change while they run.

    `table` holds seconds per token; the first token comes after ten times as long.
    """

    def answer(name: str) -> Action:
        return lambda request: Answer(
            name, first=table[name] * 10, per_token=table[name], tokens=100
        )

    models = {name: FakeModel(answer(name)) for name in table}
    return models, [
        Target(name, model, model=name, runtime=runtime) for name, model in models.items()
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_fastest_follows_changing_speeds(
    streamed: bool,
) -> None:
    """After 20 calls of learning the median is within a tenth of an oracle."""

    async def main(runtime: Runtime) -> None:
        table = {"a": 0.01, "b": 0.02, "c": 0.04}
        _, all_targets = make_changing_targets(runtime, table)
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
def test_fastest_forgives_long_answer(on_text: OnText | None) -> None:
    """A long answer is not held against the target that gave it."""

    async def main(runtime: Runtime) -> None:
        quick = FakeModel(
            Answer("quick", first=0.1, per_token=0.01, tokens=5000),
            Answer("quick", first=0.1, per_token=0.01, tokens=100),
        )
        slow = FakeModel(Answer("slow", first=0.2, per_token=0.02, tokens=100))
        policy = fastest("p", make_targets(runtime, quick, slow), runtime=runtime)
        texts = [(await policy.complete(request_to(), on_text)).text for _ in range(7)]
        assert texts[2:] == ["quick"] * 5  # by round trip, 50 s against 2 s

    run(main)


def test_fastest_spreads_unknown_targets() -> None:
    """Calls that come before anything is known do not all go to one target."""

    async def main(runtime: Runtime) -> None:
        models, all_targets = make_changing_targets(runtime, {"a": 0.01, "b": 0.015, "c": 0.02})
        policy = fastest("p", all_targets, runtime=runtime)
        await asyncio.gather(*(policy.complete(request_to()) for _ in range(200)))
        shares = [len(model.requests) / 200 for model in models.values()]
        assert max(shares) < 0.4

    run(main)


@pytest.mark.parametrize("width", [1, 20])
def test_fastest_learns_what_load_adds(width: int) -> None:
    """A target that answers many calls as fast as one gets all; one that does not gets its part."""

    async def main(runtime: Runtime) -> None:
        def answer(request: Request) -> Answer:
            slowdown = 1 if width == 1 else max(1, quick.running / width)
            return Answer("quick", first=slowdown, tokens=100)

        quick, slow = FakeModel(answer), FakeModel(Answer("slow", first=2, tokens=100))
        policy = fastest("p", make_targets(runtime, quick, slow), runtime=runtime)
        seen: Counter[str] = Counter()

        async def work() -> None:
            for _ in range(40):
                response = await policy.complete(request_to())
                seen[response.text] += runtime.clock() > 10

        await asyncio.gather(*(work() for _ in range(100)))
        share = seen["quick"] / seen.total()
        assert share > 0.9 if width == 1 else 0.4 < share < 0.7

    run(main)


def test_fastest_separates_input_sizes() -> None:
    """Large inputs are predicted from large inputs."""

    async def main(runtime: Runtime) -> None:
        def reader(name: str, per_char: float) -> Action:
            return lambda request: Answer(
                name, first=0.2 + per_char * len(request.messages[0].content)
            )

        chatty, patient = (
            FakeModel(reader("chatty", 1e-3)),
            FakeModel(lambda request: Answer("patient", first=5)),
        )
        policy = fastest("p", make_targets(runtime, chatty, patient), runtime=runtime)
        for text in ("x", "x" * 50_000):
            for _ in range(3):
                await policy.complete(request_to(text=text))
        assert (await policy.complete(request_to(text="x"))).text == "chatty"
        texts = [(await policy.complete(request_to(text="x" * 50_000))).text for _ in range(5)]
        assert texts.count("patient") >= 4

    run(main)
