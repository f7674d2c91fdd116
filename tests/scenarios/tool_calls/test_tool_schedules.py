"""Tool calls of any duration: what a model is asked never depends on timing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from graphorch import Limits, tool
from graphorch.models.messages import Message, Request
from graphorch.testing import run_virtual
from tests.engine.tool_calls.test_loop import Model, Topic, flow_of

ROUNDS: list[Any] = [
    [("look", '{"n": 1}'), ("send", '{"n": 1}'), ("look", '{"n": 2}'), ("post", '{"n": 1}')],
    [("send", '{"n": 2}'), ("send", '{"n": 3}'), ("wrong", "{}"), ("save", '{"n": 1}')],
    [("save", '{"n": 2}'), ("post", '{"n": 2}'), ("look", '{"m": 2}'), ("fail", '{"n": 1}')],
    [("look", '{"n": 1}'), ("look", '{"n": 1}'), ("look", '{"n": 1}'), ("send", '{"n": 9}')],
    "done",
]


def build_flow(chance: random.Random) -> Any:
    """Return an agent with tools of each class, each of whose calls takes a random time."""

    def make(name: str, **options: Any) -> Any:
        async def act(n: int) -> str:
            await asyncio.sleep(chance.choice([0, 0.001, chance.random(), 10 * chance.random()]))
            if name == "fail":
                raise LookupError(f"no {n}")
            return f"{name} {n}"

        return tool(name=name, **options)(act)

    return flow_of(
        make("look", effect="pure"),
        make("send"),
        make("post", concurrent=True),
        make("save", effect="idempotent"),
        make("fail", effect="pure", tells=LookupError),
    )


def run_schedule(seed: int) -> list[Request]:
    """Return what the model was asked in a schedule."""
    chance, model = random.Random(seed), Model(*ROUNDS)
    limits = Limits(concurrency=chance.choice([None, None, 1, 2, 3]))
    result = run_virtual(build_flow(chance).run(Topic(), client=model, limits=limits))
    assert result.output.draft == "done"
    return model.asked


def check_answers(messages: tuple[Message, ...]) -> None:
    """Check that each call has exactly one answer, in the order of the calls, before what follows.

    Endpoints refuse any other conversation.
    """
    waiting: list[str] = []
    seen: Counter[str] = Counter()
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id == waiting.pop(0)
            continue
        assert not waiting
        waiting = [call.id for call in message.tool_calls]
        seen.update(waiting)
    assert not waiting
    assert set(seen.values()) <= {1}


@pytest.mark.parametrize("part", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_prompts_do_not_depend_on_timing(part: int) -> None:
    """In 300 schedules the prompts are equal byte for byte, and each call has one answer.

    A hundred of them are tried each time.
    """
    wanted = [repr(request.messages).encode() for request in run_schedule(-1)]
    for request in run_schedule(-1):
        check_answers(request.messages)
    assert len(wanted) == len(ROUNDS)
    for seed in range(100 * part, 100 * part + 100):
        assert [repr(request.messages).encode() for request in run_schedule(seed)] == wanted
