"""Prices of the request at hand: what is cached, and how many tokens a script makes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from graphorch.clock import Runtime
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.policy import cheapest
from graphorch.models.policies.target import Target
from graphorch.models.pricing.prices import Prices
from tests.models.fakes import request_to
from tests.models.virtual import run


@dataclass
class Provider:
    """Model that counts tokens in its own way and caches the beginnings of prompts, or not."""

    tokens_per_character: float = 0.25
    caches: bool = True
    output: int = 50
    sent: set[str] = field(default_factory=set[str])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        usage = self.count(request)
        text = request.messages[0].content
        self.sent.update(text[:end] for end in range(512, len(text) + 1, 512))
        return Response("fine", request.model, usage, 0.0, "none", "stop", 1, 0.1, None)

    def count(self, request: Request) -> Usage:
        text = request.messages[0].content
        known = [end for end in range(512, len(text) + 1, 512) if text[:end] in self.sent]
        cached = max(known, default=0) if self.caches else 0
        scale = self.tokens_per_character
        return Usage(round(len(text) * scale), self.output, round(cached * scale))


def test_cached_input_is_priced() -> None:
    """A target whose cache makes a repeated prompt cheap is found, and not one that has none."""

    async def main(runtime: Runtime) -> None:
        prices = Prices(
            {
                "plain": {"input": 1.0, "output": 2.0},
                "caching": {"input": 1.25, "output": 2.0, "cached_input": 0.125},
                "claims": {"input": 1.25, "output": 2.0, "cached_input": 0.05},
            },
            list_prices=False,
        )
        providers = {"plain": Provider(), "caching": Provider(), "claims": Provider(caches=False)}
        rated = [
            (Target(name, provider, model=name, prices=prices, runtime=runtime), 1.0)
            for name, provider in providers.items()
        ]
        policy = cheapest("p", rated, runtime=runtime)
        manual = "The manual of the harbour. " * 2000
        chosen: list[str] = []
        for number in range(60):
            await runtime.sleep(5)
            response = await policy.complete(request_to(text=f"{manual} Question {number}?"))
            chosen.append(response.model)
        assert set(chosen[10:]) == {"caching"}
        # what does not repeat anything is priced without the cache
        chance = random.Random(1)
        for _ in range(10):
            text = "".join(chance.choices("abcdefgh ", k=20_000))
            assert (await policy.complete(request_to(text=text))).model == "plain"

    run(main)


@pytest.mark.parametrize(
    ("letter", "tokens_per_character", "best"),
    [("月", 1.0, "cheap input"), ("x", 0.25, "cheap output")],
)
def test_scripts_are_counted_from_first_call(
    letter: str, tokens_per_character: float, best: str
) -> None:
    """A prompt of 200 Japanese characters has four times the tokens of as many English ones."""

    async def main(runtime: Runtime) -> None:
        prices = Prices(
            {
                "cheap input": {"input": 1.0, "output": 8.0},
                "cheap output": {"input": 4.0, "output": 2.0},
            },
            list_prices=False,
        )
        provider = Provider(tokens_per_character, output=50)
        rated = [
            (Target(name, provider, model=name, prices=prices, runtime=runtime), 1.0)
            for name in ("cheap input", "cheap output")
        ]
        policy = cheapest("p", rated, runtime=runtime)
        seen: Counter[str] = Counter()
        for _ in range(20):
            request = request_to(text=letter * 200, max_tokens=50)
            seen[(await policy.complete(request)).model] += 1
        assert seen == {best: 20}

    run(main)


def test_tokenizer_of_target_is_learnt() -> None:
    """A target that makes three times as many tokens of a text is as dear as that makes it."""

    async def main(runtime: Runtime) -> None:
        prices = Prices(
            {"a": {"input": 1.0, "output": 1.0}, "b": {"input": 1.5, "output": 1.0}},
            list_prices=False,
        )
        models = {"a": Provider(tokens_per_character=0.75), "b": Provider()}
        rated = [
            (Target(name, model, model=name, prices=prices, runtime=runtime), 1.0)
            for name, model in models.items()
        ]
        policy = cheapest("p", rated, runtime=runtime)
        chosen = [
            (await policy.complete(request_to(text=f"{number}" + "word " * 800))).model
            for number in range(10)
        ]
        assert chosen[0] == "a"
        assert set(chosen[1:]) == {"b"}

    run(main)
