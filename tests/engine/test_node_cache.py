"""Results that are kept: returned for equal inputs until they expire, and never changed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from graphorch import Cache, Context, Graph, RunFailed, agent, node
from graphorch.core.events import RunStarted
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.node_cache import NodeCache, compute_key
from graphorch.testing import ScriptedModel, when


class Topic(BaseModel):
    topic: str = ""
    words: int = 0


class Other(BaseModel):
    topic: str = ""


class State(Topic): ...


def activation(graph: str = "g", name: str = "look") -> Any:
    @node(name=name)
    async def look(t: Topic) -> Topic:
        return t

    plan = Graph(graph, State).chain(look).build().plan
    (command,) = Run(plan, "r").handle(RunStarted({}))
    assert isinstance(command, Activation)
    return command


STEP = activation()


# ---- keeping -------------------------------------------------------------------------------------
def test_entry_is_found_until_it_expires() -> None:
    cache = NodeCache()
    cache.put("k", {0: "a"}, expires=10.0)
    assert cache.get("k", 9.9) == {0: "a"}
    assert cache.get("k", 10.0) is None
    assert cache.get("other", 0.0) is None


def test_newer_entry_replaces_older() -> None:
    """Replacing an entry also replaces its time of expiry."""
    cache = NodeCache()
    cache.put("k", {0: "a"}, expires=10.0)
    cache.put("k", {0: "b"}, expires=20.0)
    assert cache.get("k", 15.0) == {0: "b"}


def test_entry_is_copied_in_and_out() -> None:
    """Neither writer nor reader can change it."""
    cache, update = NodeCache(), {0: "a"}
    cache.put("k", update, expires=10.0)
    update[1] = "later"
    entry = cache.get("k", 0.0)
    assert entry == {0: "a"}
    entry[2] = "later"  # type: ignore[index]
    assert cache.get("k", 0.0) == {0: "a"}


def test_empty_update_is_an_entry() -> None:
    cache = NodeCache()
    cache.put("k", {}, expires=10.0)
    assert cache.get("k", 0.0) == {}


def test_least_recently_used_entry_is_dropped() -> None:
    cache = NodeCache()
    for number in range(1024):
        cache.put(str(number), {0: number}, expires=10.0)
    cache.get("0", 0.0)
    cache.put("new", {0: "new"}, expires=10.0)
    assert cache.get("0", 0.0) == {0: 0}
    assert cache.get("1", 0.0) is None
    assert cache.get("2", 0.0) == {0: 2}


# ---- keys ----------------------------------------------------------------------------------------
def test_equal_inputs_have_equal_keys() -> None:
    one, other = Topic(topic="a", words=0), Topic(topic="a", words=0)
    assert compute_key(STEP, [one], "") == compute_key(STEP, [other], "")
    assert hash(compute_key(STEP, [one], "")) == hash(compute_key(STEP, [other], ""))


@pytest.mark.parametrize(
    "other",
    [
        (STEP, [Topic(topic="b")], ""),
        (STEP, [Topic(topic="a", words=1)], ""),
        (STEP, [Other(topic="a")], ""),
        (STEP, [Topic(topic="a"), None], ""),
        (STEP, [], ""),
        (STEP, [Topic(topic="a")], "model"),
        (activation(), [Topic(topic="a")], ""),
    ],
    ids=["value", "default", "type", "more", "less", "model", "step"],
)
def test_key_depends_on_all_parts(other: tuple[Any, list[Any], str]) -> None:
    assert compute_key(*other) != compute_key(STEP, [Topic(topic="a")], "")


# ---- in runs -------------------------------------------------------------------------------------
class Sealed:
    """Object that can be copied, and not described."""

    def __deepcopy__(self, memo: Any) -> Sealed:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("sealed")


class Tenant(BaseModel):
    token: SecretStr = SecretStr("")
    hidden: str = Field(default="", exclude=True)
    extra: Any = None


class Answer(BaseModel):
    answer: str = ""


class TenantState(Tenant, Answer): ...


def test_cache_tells_tenants_apart() -> None:
    """A cached node computes anew for each secret, hidden field and type, and only for these."""
    calls: list[Tenant] = []

    @node(cache=Cache(60))
    def greet(tenant: Tenant) -> Answer:
        calls.append(tenant)
        return Answer(answer=f"{tenant.token.get_secret_value()} {tenant.hidden} {tenant.extra!r}")

    flow = Graph("greeting", TenantState, input=Tenant, output=Answer).chain(greet).build()

    def greet_as(**given: Any) -> str:
        return flow.run_sync(Tenant(**given)).output.answer

    given: list[dict[str, Any]] = [
        {"token": SecretStr("alice")}, {"token": SecretStr("bob")},
        {"hidden": "alice"}, {"hidden": "b"},
        {"extra": (1,)}, {"extra": [1]}, {"extra": {1: 2}}, {"extra": {"1": 2}}, {"extra": True},
        {"extra": 1}, {"extra": float("nan")}, {"extra": 0.0}, {"extra": -0.0}, {"extra": "\ud83d"},
        {"extra": "x" * 1000}, {"extra": "x" * 1001}, {"extra": b"x" * 1000}, {"extra": {1, 2}},
    ]  # fmt: skip
    answers = [greet_as(**item) for item in given]
    assert len(set(answers)) == len(calls) == len(given)
    assert [greet_as(**item) for item in given] == answers
    assert len(calls) == len(given)
    with pytest.raises(RunFailed) as caught:
        greet_as(extra=Sealed())
    assert "Uncacheable: Node 'greet' has a cache, and an input of it cannot be compared: " in str(
        caught.value
    )


def test_cached_answer_belongs_to_client() -> None:
    """A cached agent asks the client of each run, which may be of another tenant, once."""

    @agent(output=Answer, cache=Cache(60))
    def ask(tenant: Tenant) -> str:
        return "Who are you?"

    flow = Graph("asking", TenantState, input=Tenant, output=Answer).chain(ask).build()
    one, two = ScriptedModel(when("Who", "one")), ScriptedModel(when("Who", "two"))
    answers = [flow.run_sync(Tenant(), client=client).output.answer for client in (one, two, one)]
    assert answers == ["one", "two", "one"]
    assert (len(one.requests), len(two.requests)) == (1, 1)


def test_inner_flows_of_one_factory_share_nothing() -> None:
    """Nodes of one name in two inner flows have results of their own."""

    def team(greeting: str) -> Any:
        @node(name="greet", cache=Cache(60))
        def greet(t: Tenant) -> Answer:
            return Answer(answer=greeting)

        return Graph("team", TenantState, input=Tenant, output=Answer).chain(greet).build()

    class One(BaseModel):
        one: str = ""

    class Two(BaseModel):
        two: str = ""

    class Both(Tenant, One, Two): ...

    def enter(t: Tenant) -> Tenant:
        return t

    graph = Graph("outer", Both, input=Tenant)
    one = graph.sub("one", team("1"), enter=enter, leave=lambda a: One(one=a.answer))
    two = graph.sub("two", team("2"), enter=enter, leave=lambda a: Two(two=a.answer))
    state = graph.chain(one, two).build().run_sync(Tenant()).state
    assert (state.one, state.two) == ("1", "2")


def test_cached_node_cannot_read_resources() -> None:
    """A context without a type is caught when the node reads the resources."""

    @node(cache=Cache(60))
    def look(ctx: Context, t: Tenant) -> Answer:
        return Answer(answer=str(ctx.resources))

    flow = Graph("needy", TenantState, input=Tenant, output=Answer).chain(look).build()
    with pytest.raises(RunFailed) as caught:
        flow.run_sync(Tenant(), resources="tenant A")
    assert "Uncacheable: 'look' has a cache, and reads the resources of the run" in str(
        caught.value
    )
