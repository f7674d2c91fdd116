"""Savings of routing between two models, and their cost in quality; offline, in half a minute.

    python tests/benchmarks/routing_savings.py [--items 600] [--seed 1]

Two models answer the same questions: a frontier model, and a cheap model whose prices are a third
to a fiftieth. The strategies are: always the frontier model, always the cheap model, chance, a
router (a classifier guesses how hard a question is), a cascade (the cheap model answers, a judge
reads the answer, and the frontier model answers again if the judge rejects it), and an oracle that
always knows the cheapest right answer. Everything runs through the targets, policies and accounts
of this package: the bill is the amount that the account settled, and each model keeps a ledger of
its own that has to agree. Calls of the classifier and of the judge are paid, and so are calls that
fail after the model ran.

The models are simulated, and this is the whole simulation:
- a question has a difficulty d, uniform between 0 and 1; the frontier model is right with
  0.97 − 0.24 d, the cheap model with 0.97 − 0.65 d, and half of their luck is shared: both are
  wrong together more often than by chance;
- the classifier sees d with an error of 0.25 (one standard deviation); its threshold is chosen on
  separate questions, as the highest that keeps 95 % of the frontier model's quality there;
- a good judge accepts 95 % of right answers and 10 % of wrong answers, a weak judge 75 % and 50 %,
  both at the cheap model's price; a judge reads question and answer and writes 60 tokens;
- long work has questions of 400 tokens and answers of 400, short work 800 and 8; two of a hundred
  calls fail after they were charged.

A saving alone means little: the cheap model saves most. So the last column compares with chance *at
the same quality*: choosing a model by the toss of a coin reaches any quality between the two, and a
strategy is worth only what it saves beyond that.

The simulation does not show how good your classifier, judge and models are. If you have questions
with known answers, use `graphorch compare`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from zlib import crc32

from graphorch.cli.compare.statistics import compute_quantile
from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account
from graphorch.models.client import OnText
from graphorch.models.errors import Empty
from graphorch.models.messages import Message, Request, Response, Usage
from graphorch.models.policies.policy import Policy, cascade, fallback
from graphorch.models.policies.target import Target, TargetRules
from graphorch.models.pricing.prices import Prices, Tariff
from graphorch.testing.virtual_clock import run_virtual

RATIOS = (3, 5, 10, 20, 50)
FRONTIER = Tariff(input=3, output=15)  # dollars per million tokens
FAILING = 0.02
# the shares of right and of wrong answers that each accepts
JUDGES = {"good": (0.95, 0.10), "weak": (0.75, 0.50)}
BLUR = 0.25  # of the classifier's view of the difficulty
WANTED = 0.95  # of the frontier model's quality, when the classifier's threshold is chosen
RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Shape:
    """Tokens of a question and of an answer."""

    name: str
    question: int
    answer: int


SHAPES = (Shape("long answers", 400, 400), Shape("short answers", 800, 8))


@dataclass(frozen=True, slots=True)
class Item:
    """Question with the models that answer it right, and the difficulty that it seems to have."""

    number: int
    right: Mapping[str, bool]
    looks: float


def make_items(count: int, seed: int) -> list[Item]:
    """Return random questions."""
    rng = random.Random(seed)
    items: list[Item] = []
    for number in range(count):
        hard, shared = rng.random(), rng.random()
        luck = {
            name: shared if rng.random() < 0.5 else rng.random() for name in ("cheap", "frontier")
        }
        right = {
            "cheap": luck["cheap"] < 0.97 - 0.65 * hard,
            "frontier": luck["frontier"] < 0.97 - 0.24 * hard,
        }
        items.append(Item(number, right, hard + rng.gauss(0, BLUR)))
    return items


def choose_threshold(tuning: Sequence[Item]) -> float:
    """Return the highest difficulty for the cheap model, chosen on separate questions."""
    frontier = sum(item.right["frontier"] for item in tuning)
    for step in range(120, -1, -1):
        limit = step / 100
        kept = sum(item.right["frontier" if item.looks > limit else "cheap"] for item in tuning)
        if kept >= WANTED * frontier:
            return limit
    return 0.0


# ---- simulated models ----------------------------------------------------------------------------
@dataclass
class Simulated:
    """Model client that follows its items, fails now and then, and keeps a ledger by item."""

    name: str
    items: Sequence[Item]
    tariff: Tariff
    shape: Shape
    seed: int
    ledger: dict[int, float] = field(default_factory=dict[int, float])
    asked: dict[str, int] = field(default_factory=dict[str, int])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Respond to `answer N`, `judge N right|wrong good|weak` or `classify N`."""
        prompt = request.messages[-1].content
        kind, number, *rest = prompt.split()
        item = self.items[int(number)]
        usage = self._usage(kind)
        usd = (
            usage.input_tokens * self.tariff.input + usage.output_tokens * self.tariff.output
        ) / 1e6
        self.ledger[item.number] = self.ledger.get(item.number, 0.0) + usd
        self.asked[prompt] = self.asked.get(prompt, 0) + 1
        if self._drawn("fails", prompt, self.asked[prompt]) < FAILING:
            raise Empty("made to fail after it ran", model=self.name, retryable=True, usage=usage)
        text = self._text(kind, item, rest)
        return Response(text, request.model, usage, 0.0, "none", "stop", 1, 0.0, None)

    def _usage(self, kind: str) -> Usage:
        question, answer = self.shape.question, self.shape.answer
        return {
            "answer": Usage(question, answer),
            "judge": Usage(question + answer + 100, 60),
            "classify": Usage(question + 100, 5),
        }[kind]

    def _text(self, kind: str, item: Item, rest: Sequence[str]) -> str:
        if kind == "answer":
            return "right" if item.right[self.name] else "wrong"
        if kind == "classify":
            return f"{item.looks:.6f}"
        answer, judge = rest
        return (
            "yes"
            if self._drawn("judge", item.number, answer) < JUDGES[judge][answer == "wrong"]
            else "no"
        )

    def _drawn(self, *what: object) -> float:
        # crc32 alone is no good source of chance
        return random.Random(crc32(repr((self.seed, self.name, what)).encode())).random()


@dataclass
class World:
    """Both models at a ratio of prices, with an account that pays for all calls."""

    items: Sequence[Item]
    shape: Shape
    ratio: float
    seed: int
    threshold: float

    def __post_init__(self) -> None:
        cheap = Tariff(input=FRONTIER.input / self.ratio, output=FRONTIER.output / self.ratio)
        tariffs = {"cheap": cheap, "frontier": FRONTIER}
        self.models = {
            name: Simulated(name, self.items, tariff, self.shape, self.seed)
            for name, tariff in tariffs.items()
        }
        self.account = Account("benchmark")
        self.prices = Prices(dict(tariffs), list_prices=False)
        self.runtime = Runtime(
            clock=lambda: asyncio.get_running_loop().time(), random=random.Random(self.seed).random
        )
        targets = {name: self._target(name) for name in self.models}
        self.direct: dict[str, Policy] = {
            name: fallback(name, [self._target(name)], runtime=self.runtime) for name in targets
        }
        both = [targets["cheap"], targets["frontier"]]
        self.cascades = {
            judge: cascade("cascade", both, partial(self._judged, judge), runtime=self.runtime)
            for judge in JUDGES
        }

    def _target(self, name: str) -> Target:
        return Target(
            name,
            self.models[name],
            model=name,
            rules=TargetRules(attempts=3),
            prices=self.prices,
            runtime=self.runtime,
        )

    async def ask(self, policy: Policy, prompt: str) -> str:
        """Return the text of an answer, or "" if all attempts fail."""
        try:
            request = Request(policy.name, (Message(content=prompt),), payer=self.account)
            return (await policy.complete(request)).text
        except ModelError:
            return ""

    async def _judged(self, judge: str, request: Request, response: Response) -> bool:
        number = request.messages[-1].content.split()[1]
        return (
            await self.ask(self.direct["cheap"], f"judge {number} {response.text} {judge}") == "yes"
        )

    async def always(self, name: str, item: Item) -> str:
        """Ask the same model for everything."""
        return await self.ask(self.direct[name], f"answer {item.number}")

    async def by_chance(self, item: Item) -> str:
        """Ask the frontier model as often as the router does, but by chance."""
        share = sum(entry.looks > self.threshold for entry in self.items) / len(self.items)
        return await self.always(
            "frontier" if random.Random(f"{self.seed} {item.number}").random() < share else "cheap",
            item,
        )

    async def routed(self, item: Item) -> str:
        """Ask the frontier model if the classifier finds the question hard, or does not answer."""
        guess = await self.ask(self.direct["cheap"], f"classify {item.number}")
        is_easy = guess and float(guess) <= self.threshold
        return await self.always("cheap" if is_easy else "frontier", item)

    async def checked(self, judge: str, item: Item) -> str:
        """Ask the cheap model first, and the frontier model if the judge rejects the answer."""
        return await self.ask(self.cascades[judge], f"answer {item.number}")

    async def ideal(self, item: Item) -> str:
        """Ask the cheapest model that is right, or the cheap model if none is."""
        return await self.always(
            "frontier" if item.right["frontier"] and not item.right["cheap"] else "cheap", item
        )


Strategy = Callable[[World, Item], Awaitable[str]]
STRATEGIES: Mapping[str, Strategy] = {
    "always frontier": lambda world, item: world.always("frontier", item),
    "always cheap": lambda world, item: world.always("cheap", item),
    "chance": World.by_chance,
    "router": World.routed,
    "cascade, good judge": lambda world, item: world.checked("good", item),
    "cascade, weak judge": lambda world, item: world.checked("weak", item),
    "oracle": World.ideal,
}


Interval = tuple[float, float, float]  # the figure, and the bounds of 95 % of the resamples


# ---- measuring -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Outcome:
    """Dollars and right answers of a strategy by item, and the two totals that have to agree."""

    usd: Sequence[float]
    right: Sequence[bool]
    settled: float
    charged: float


@dataclass(frozen=True, slots=True)
class Line:
    """Row of the table, with a 95 % interval for each figure.

    `saving` and `quality` are relative to always asking the frontier model; `edge` is the saving
    beyond that of chance at the same quality.
    """

    shape: str
    ratio: float
    strategy: str
    saving: Interval
    quality: Interval
    edge: Interval


def run_strategy(strategy: Strategy, make: Callable[[], World]) -> Outcome:
    """Run all items through a strategy, in a world of its own and in virtual time."""

    async def all_items() -> tuple[World, list[str]]:
        world = make()  # its policies read the clock of the loop
        return world, [await strategy(world, item) for item in world.items]

    world, answers = run_virtual(all_items())
    usd = [
        sum(model.ledger.get(item.number, 0.0) for model in world.models.values())
        for item in world.items
    ]
    right = [text == "right" for text in answers]
    return Outcome(usd, right, world.account.spent.usd, math.fsum(usd))


def measure(
    count: int, seed: int, ratios: Sequence[float] = RATIOS, shapes: Sequence[Shape] = SHAPES
) -> list[Line]:
    """Measure every strategy at every ratio and shape.

    Raises `AssertionError` if account and ledgers do not agree.
    """
    items, threshold = (
        make_items(count, seed),
        choose_threshold(make_items(2 * count, seed + 1_000_003)),
    )
    lines: list[Line] = []
    for shape in shapes:
        for ratio in ratios:
            make = partial(World, items, shape, ratio, seed, threshold)
            outcomes = {name: run_strategy(strategy, make) for name, strategy in STRATEGIES.items()}
            for name, outcome in outcomes.items():
                assert math.isclose(outcome.settled, outcome.charged, rel_tol=1e-6), (
                    name,
                    outcome.settled,
                    outcome.charged,
                )
                figures = _figures(
                    outcome, outcomes["always frontier"], outcomes["always cheap"], seed
                )
                lines.append(Line(shape.name, ratio, name, *figures))
    return lines


def _figures(
    outcome: Outcome, base: Outcome, cheap: Outcome, seed: int
) -> tuple[Interval, Interval, Interval]:
    rng, count = random.Random(seed), len(outcome.usd)
    savings: list[float] = []
    qualities: list[float] = []
    edges: list[float] = []
    for draw in range(RESAMPLES + 1):
        chosen = range(count) if draw == 0 else rng.choices(range(count), k=count)
        cost, right = sum(base.usd[at] for at in chosen), sum(base.right[at] for at in chosen)
        savings.append(1 - sum(outcome.usd[at] for at in chosen) / cost)
        qualities.append(sum(outcome.right[at] for at in chosen) / right)
        least = sum(cheap.right[at] for at in chosen) / right
        most = 1 - sum(cheap.usd[at] for at in chosen) / cost
        # by a coin of that quality
        asked_cheap = 1.0 if least >= 1 else min(1.0, max(0.0, (1 - qualities[-1]) / (1 - least)))
        edges.append(savings[-1] - most * asked_cheap)
    return _interval(savings), _interval(qualities), _interval(edges)


def _interval(values: Sequence[float]) -> Interval:
    """Return the first value, and the interval that holds 95 % of the others."""
    return values[0], compute_quantile(values[1:], 0.025), compute_quantile(values[1:], 0.975)


def format_table(lines: Sequence[Line]) -> str:
    """Return the lines as a table in Markdown."""
    rows = [
        "| work | price ratio | strategy | saving | quality | beyond chance |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        cells = [
            f"{value:.0%} [{low:.0%}, {high:.0%}]"
            for value, low, high in (line.saving, line.quality, line.edge)
        ]
        rows.append(f"| {line.shape} | {line.ratio:g} | {line.strategy} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="Measure what routing saves, and what it costs in quality."
    )
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(
        f"{given.items} questions, seed {given.seed}; saving and quality against always frontier, "
        "95 % intervals in brackets\n"
    )
    print(format_table(measure(given.items, given.seed)))


if __name__ == "__main__":
    main()
