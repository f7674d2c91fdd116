"""Every key of the configuration has an effect, which is seen with and without the key."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from graphorch import Context, Graph, InputError, ModelError, RunFailed, node
from graphorch.agents.mcp.configured import declare_configured
from graphorch.agents.mcp.declaration import ServerDeclaration
from graphorch.models.budgets.budget import Account, Alert, Budget
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router, RouterParts
from graphorch.models.config.schema import list_keys
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.openai.gateways import Connection
from tests.models.fakes import Answer, FakeModel, Flat, Table, request_to, status
from tests.runs.asking import Draft, Essay, Topic

HERE = {"base_url": "http://127.0.0.1:9/v1"}
SECRET = "the key is sk-proj-Zx8vQ2mN7pLr4TkW9sYb3HcJ6dFgA1eU, mail ann@example.com"
NOWHERE: dict[str, Any] = {"mcp": {"files": {}}}
PROGRAM = {"mcp": {"files": {"command": "npx"}}}
ADDRESS = {"mcp": {"files": {"url": "https://h/mcp"}}}
PRICES = Table({"a": Flat(1e-6), "b": Flat(2e-6), "reached": Flat(1e-3)})


@dataclass
class World:
    """A router with a fake model behind each endpoint, and what they were asked."""

    tables: Mapping[str, Any]
    prices: Table | None = PRICES
    models: dict[str, FakeModel] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)
    actions: Mapping[str, list[Any]] = field(default_factory=dict)

    def connect(self, connection: Connection) -> FakeModel:
        self.connections.append(connection)
        actions = self.actions.get(connection.name, [Answer(first=0.0)])
        return self.models.setdefault(connection.name, FakeModel(*actions))

    def router(self) -> Router:
        checks = {"long": lambda request, response: len(response.text) > 5}
        parts = RouterParts(checks=checks, prices=self.prices, connect=self.connect)
        return Router(parse_config(self.tables), environment={"KEY": "secret"}, parts=parts)

    def asked(self) -> list[Request]:
        return [request for model in self.models.values() for request in model.requests]


Observe = Callable[[Mapping[str, Any]], object]


def call(
    model: str = "a",
    actions: Mapping[str, list[Any]] | None = None,
    payer: Account | None = None,
    prices: Table | None = PRICES,
    text: str = "hello",
    calls: int = 1,
    see: Callable[[World, Any], object] = lambda world, response: response,
) -> Observe:
    """Observe calls of a name: what `see` makes of the world, and of the last answer or error."""

    def observe(tables: Mapping[str, Any]) -> object:
        world = World(
            tables, prices, actions={name: list(script) for name, script in (actions or {}).items()}
        )

        async def main() -> Response | str:
            router, outcome = world.router(), ""
            for _ in range(calls):
                try:
                    outcome = await router.complete(request_to(model, text, payer=payer))
                except (InputError, ModelError) as error:
                    outcome = type(error).__name__
            return outcome

        return see(world, asyncio.run(main()))

    return observe


@node
async def ask_twice(ctx: Context, topic: Topic) -> Draft:
    await ctx.complete("first", model="a")
    return Draft(draft=await ctx.complete("second", model="a"))


FLOW = Graph("asks", Essay, input=Topic, output=Draft).chain(ask_twice).build()


def run_flow(*answers: Answer, **options: Any) -> Observe:
    """Observe how a run of a node with two calls ends."""

    def observe(tables: Mapping[str, Any]) -> object:
        world = World(tables, actions={"main": list(answers) or [DEAR]})
        try:
            run = FLOW.run(Topic(), client=world.router(), tags={"blog": "x"}, **options)
            return asyncio.run(run).status
        except RunFailed as error:
            return error.end_reason

    return observe


def hear_alerts(tables: Mapping[str, Any]) -> object:
    heard: list[Alert] = []
    run_flow(on_alert=heard.append)(tables)
    return [alert.share for alert in heard]


def see_kept(tables: Mapping[str, Any]) -> object:
    router = World(tables).router()
    kind = type(router.accounts.store).__name__
    asyncio.run(router.aclose())
    return kind


def see_rules(name: str, part: str, model: str = "policy/p") -> Observe:
    """Observe a rule as the parts that obey it have it; what they do by it is tested there."""

    def observe(tables: Mapping[str, Any]) -> object:
        policy: Any = World(tables).router().resolve(model)
        holders = {
            "breaker": lambda: policy.candidates[0].breaker._rules,
            "retry": lambda: policy._state.retries._rules,
            "latency": lambda: policy.order._rules,
            "limits": lambda: policy.candidates[0].limiter._limits,
        }
        return getattr(holders[part](), name)

    return observe


def see_server(read: Callable[[ServerDeclaration], object]) -> Observe:
    """Observe what a key makes of the declaration of a server of tools."""

    def observe(tables: Mapping[str, Any]) -> object:
        try:
            return read(declare_configured("files", parse_config(tables)))
        except InputError:
            return "InputError"

    return observe


def see_transport(name: str) -> Observe:
    return see_server(lambda server: getattr(server.transport, name))


def see_limit(name: str) -> Observe:
    return see_server(lambda server: getattr(server.limits, name))


def asked_models(world: World, outcome: Response | str) -> object:
    return [request.model for request in world.asked()]


def count_asked(world: World, outcome: Response | str) -> object:
    return len(world.asked())


def first_target(world: World, outcome: Response | str) -> object:
    assert isinstance(outcome, Response)
    assert outcome.decision is not None
    return outcome.decision.answered_by


def prompt(world: World, outcome: Response | str) -> object:
    return world.asked()[0].messages[0].content if world.asked() else outcome


def usd(world: World, outcome: Response | str) -> object:
    assert not isinstance(outcome, str)
    return round(outcome.usd, 9), outcome.usd_source


def see_price(tables: Mapping[str, Any]) -> object:
    """Observe the price of a million tokens each of input, output and cached input."""
    policy: Any = World(tables, prices=None).router().resolve("a")
    target = policy.candidates[0]
    million = 1_000_000
    return target.meter.cost("a", Usage(2 * million, million, cached_tokens=million))


# What a `*` in a key stands for here.
NAMES: dict[str, Any] = {
    "endpoints": "main", "policies": "p", "targets": 0, "limits": "a", "prices": "a",
    "tags": "blog", "mcp": "files",
}  # fmt: skip


def set_key(tables: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    """Return a copy of the tables in which a key has a value."""
    changed: dict[str, Any] = deepcopy(dict(tables))
    steps = key.split(".")
    here: Any = changed
    for last, step in zip(["", *steps], steps[:-1], strict=False):
        name = NAMES[last] if step == "*" else step
        if isinstance(here, list):
            targets, place = cast("list[Any]", here), int(name)
            if isinstance(targets[place], str):
                targets[place] = {"model": targets[place]}
            here = targets[place]
        else:
            here = here.setdefault(name, {})
    here[steps[-1]] = value
    return changed


LEVELS = ("run", "node", "day", "tags.*")
DEAR = Answer(first=0.0, usd=1.0, tokens=4500)
BASE: dict[str, Any] = {"endpoints": {"main": HERE}}
TWO = {"endpoints": {"main": HERE, "other": HERE}}
PAIR = {"kind": "fallback", "targets": ["a", "b"]}
POLICY = {**BASE, "policies": {"p": PAIR}}
QUICK = {"first": 0.001, "longest": 0.001}
ONE = {**BASE, "policies": {"p": {"kind": "fallback", "targets": ["a"], "retry": QUICK}}}
FASTEST = {**BASE, "policies": {"p": {"kind": "fastest", "targets": ["a", "b"]}}}
SPLIT = {"kind": "weighted", "targets": [{"model": "a", "weight": 0.0}, {"model": "b"}]}
RATED = {"kind": "cheapest", "targets": [{"model": "a"}, {"model": "b", "quality": 5}]}
FAILING = {"main": [status(503)]}
SLOW = {"main": [Answer(first=0.4), Answer("second", first=0.0)]}

# The key, its value, the rest of the file, what is observed, and the observation with the key.
Row = tuple[str, Any, Mapping[str, Any], Observe, object]
ROWS: list[Row] = [
    ("default_model", "a", BASE, call("default", see=asked_models), ["a"]),
    (
        "default_endpoint", "other", TWO,
        call(see=lambda world, _: [item.name for item in world.connections]), ["other"],
    ),
    (
        "endpoints.*.base_url", "http://127.0.0.1:7/v1", BASE,
        call(see=lambda world, _: world.connections[0].endpoint.base_url), "http://127.0.0.1:7/v1",
    ),
    (
        "endpoints.*.key_env", "KEY", BASE,
        call(see=lambda world, _: world.connections[0].endpoint.key.get_secret_value()), "secret",
    ),
    (
        "endpoints.*.dialect", "openrouter", BASE,
        call(see=lambda world, _: world.connections[0].gateway.name), "openrouter",
    ),
    (
        "endpoints.*.options", {"auto_cache": True},
        {"endpoints": {"main": {**HERE, "dialect": "requesty"}}},
        call(see=lambda world, _: world.connections[0].gateway.options), {"auto_cache": True},
    ),
    ("endpoints.*.attempts", 1, ONE, call("policy/p", FAILING, see=count_asked), 1),
    (
        "endpoints.*.markup", 0.5, BASE,
        call("openai/gpt-5-mini", prices=None, see=usd), (3.0375e-05, "table"),
    ),
    ("endpoints.*.free", True, BASE, call(see=usd), (0.0, "free")),
    (
        "endpoints.*.caps_output", False, BASE,
        call(
            payer=Account("test", Budget(usd=100)),
            see=lambda _, outcome: outcome if isinstance(outcome, str) else "",
        ),
        "InputError",
    ),
    (
        "endpoints.*.max_output", 7, BASE,
        call(
            payer=Account("test", Budget(usd=100)),
            see=lambda world, _: world.asked()[0].max_tokens,
        ),
        7,
    ),
    (
        "endpoints.*.sends_finish_reason", False, BASE,
        call(see=lambda world, _: world.connections[0].sends_finish_reason), False,
    ),
    (
        "policies.*.kind", "fastest", POLICY,
        call("policy/p", see=lambda _, outcome: outcome.decision.kind), "fastest",
    ),
    ("policies.*.targets.*.model", "b", ONE, call("policy/p", see=first_target), "b"),
    (
        "policies.*.targets.*.endpoint", "other",
        {**TWO, "policies": {"p": {"kind": "fallback", "targets": [{"model": "a"}]}}},
        call("policy/p", see=first_target), "a at other",
    ),
    (
        "policies.*.targets.*.weight", 1e9, {**BASE, "policies": {"p": SPLIT}},
        call("policy/p", see=first_target), "a",
    ),
    (
        "policies.*.targets.*.quality", 9, {**BASE, "policies": {"p": {**RATED, "floor": 1}}},
        call("policy/p", see=first_target), "a",
    ),
    (
        "policies.*.targets.*.reaches", ["reached"],
        {**BASE, "policies": {"p": {"kind": "fallback", "targets": [{"model": "a"}]}}},
        call("policy/p", see=usd), (0.011, "table"),
    ),
    (
        "policies.*.on", ["timeout"], POLICY,
        call("policy/p", {"main": [status(401), Answer()]}, see=asked_models), ["a"],
    ),
    ("policies.*.check", "long", POLICY, call("policy/p", see=asked_models), ["a", "b"]),
    (
        "policies.*.floor", 5, {**BASE, "policies": {"p": RATED}},
        call("policy/p", see=first_target), "b",
    ),
    ("policies.*.attempt_timeout", 0.02, POLICY, call("policy/p", SLOW, see=first_target), "b"),
    ("policies.*.hedge_after", 0.02, POLICY, call("policy/p", SLOW, see=first_target), "b"),
    (
        "policies.*.hedge_share", 1.0,
        {**BASE, "policies": {"p": {**PAIR, "hedge_after": 0.01}}},
        call(
            "policy/p",
            {"main": [Answer(first=0.1), Answer(first=0.0)] * 2},
            calls=2,
            see=count_asked,
        ), 4,
    ),
    ("policies.*.rounds", 1, ONE, call("policy/p", FAILING, see=count_asked), 1),
    *[
        (f"policies.*.retry.{name}", value, POLICY, see_rules(name, "retry"), value)
        for name, value in {
            "share": 0.7, "per_second": 0.3, "reserve": 3, "first": 0.2, "longest": 9.0,
            "patience": 7.0,
        }.items()
    ],
    *[
        (f"policies.*.latency.{name}", value, FASTEST, see_rules(name, "latency"), value)
        for name, value in {
            "aim": "first token", "effort": 0.5, "explore": 3, "near": 0.4,
            "expected_output": 64.0,
        }.items()
    ],
    *[
        (f"breaker.{name}", value, BASE, see_rules(name, "breaker", "a"), value)
        for name, value in {
            "in_a_row": 2, "ratio": 0.9, "volume": 30, "window": 5.0, "rest": 1.0, "longest": 50.0,
        }.items()
    ],
    *[
        (
            f"limits.*.{name}", value, {**BASE, "limits": {"a": {other: 900}}},
            see_rules(name, "limits", "a"), value,
        )
        for name, value, other in (
            ("rpm", 5.0, "tpm"), ("tpm", 50.0, "rpm"), ("concurrency", 3, "rpm"),
        )
    ],
    ("budgets.kept", f"{tempfile.mkdtemp()}/spend.db", BASE, see_kept, "SqliteSpend"),
    ("alerts.shares", [0.25], {**BASE, "budgets": {"run": {"calls": 4}}}, hear_alerts, [0.25]),
    ("guards.secrets.action", "block", BASE, call(text=SECRET, see=prompt), "GuardrailBlocked"),
    (
        "guards.personal_data.action", "block", BASE,
        call(text=SECRET, see=prompt), "GuardrailBlocked",
    ),
    (
        "guards.secrets.where", "output", {**BASE, "guards": {"secrets": {}}},
        call(text=SECRET, see=prompt), SECRET,
    ),
    (
        "guards.personal_data.where", "output", {**BASE, "guards": {"personal_data": {}}},
        call(text=SECRET, see=prompt), SECRET,
    ),
    (
        "guards.secrets.kinds", ["jwt"], {**BASE, "guards": {"secrets": {}}},
        call(text=SECRET, see=prompt), SECRET,
    ),
    (
        "guards.personal_data.kinds", ["iban"], {**BASE, "guards": {"personal_data": {}}},
        call(text=SECRET, see=prompt), SECRET,
    ),
    *[
        (
            f"prices.*.{name}", value, {**BASE, "prices": {"a": {"input": 1.0, "output": 1.0}}},
            see_price, expected,
        )
        for name, value, expected in (
            ("input", 3.0, 3.0 + 1.0 + 3.0), ("output", 3.0, 1.0 + 3.0 + 1.0),
            ("cached_input", 0.5, 1.0 + 1.0 + 0.5),
        )
    ],
    ("mcp.*.command", "npx", NOWHERE, see_transport("command"), "npx"),
    ("mcp.*.url", "https://h/mcp", NOWHERE, see_transport("url"), "https://h/mcp"),
    *[
        (f"mcp.*.{name}", value, PROGRAM, see_transport(name), expected)
        for name, value, expected in (
            ("args", ["-y"], ("-y",)), ("env", {"A": "1"}, {"A": "1"}),
            ("env_from", ["KEY"], ("KEY",)), ("cwd", "/tmp", "/tmp"),
        )
    ],
    *[
        (f"mcp.*.{name}", value, ADDRESS, see_transport(name), value)
        for name, value in (("bearer_env", "TOKEN"), ("headers_env", {"X-Team": "TEAM"}))
    ],
    ("mcp.*.trust", True, PROGRAM, see_server(lambda server: server.trust), True),
    *[
        (f"mcp.*.limits.{name}", value, PROGRAM, see_limit(name), value)
        for name, value in (("seconds", 5.0), ("start_seconds", 6.0), ("bytes", 7), ("tools", 8))
    ],
    *[
        (f"budgets.{level}.{unit}", value, BASE, run_flow(*answers), f"limit:{unit}")
        for level in LEVELS
        for unit, value, answers in (
            ("usd", 1.0, [DEAR]), ("tokens", 5000, [DEAR]), ("calls", 1, [DEAR]),
            ("seconds", 0.2, [Answer(first=0.01), Answer(first=0.6)]),
        )
    ],
    *[
        (
            f"budgets.{level}.at_cap", "route", set_key(BASE, f"budgets.{level}.calls", 1),
            run_flow(), "failed",
        )
        for level in LEVELS
    ],
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "rest", "observe", "expected"), ROWS, ids=[r[0] for r in ROWS]
)
def test_key_has_effect(
    key: str, value: object, rest: Mapping[str, Any], observe: Observe, expected: object
) -> None:
    """The key changes what is observed, to what it says."""
    changed = observe(set_key(rest, key, value))
    assert changed == expected
    assert observe(rest) != changed


def test_every_key_has_such_test() -> None:
    """A key that is added to the schema needs a row above."""
    keys = {key for key, _ in list_keys()}
    values = {key for key in keys if not any(key == other[: len(key)] != other for other in keys)}
    assert {".".join(key) for key in values} == {row[0] for row in ROWS}
