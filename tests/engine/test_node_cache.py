"""Results that are kept: returned for equal inputs until they expire, and never changed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, node
from graphorch.core.events import RunStarted
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.node_cache import NodeCache, compute_key


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
