"""Redaction: rules for texts and data, and a canary that reaches no sink."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from graphorch import Graph, agent, node
from graphorch.errors import ModelError, RunFailed
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.wrappers import MaskedStore
from graphorch.trace.analysis import statistics
from graphorch.trace.conversation.builder import build_conversation
from graphorch.trace.conversation.html import format_page
from graphorch.trace.conversation.text import format_turns
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.redaction import HIDDEN, Redaction, find_secret_values
from tests.trace.collector import collecting
from tests.trace.flows import Log, Model, Order, Reply, Shop

CANARY = "sk-proj-canary0123456789ABCDEFGHIJ"


@pytest.mark.parametrize(
    "text, shown",
    [
        (f"key {CANARY}.", "key [api_key]."),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwx0123456789", None),
        ("my-very-own-secret here", f"{HIDDEN} here"),
        ("nothing to see", "nothing to see"),
        ("", ""),
    ],
)
def test_secrets_found_by_form_and_value(text: str, shown: str | None) -> None:
    """Secrets are found by their form and by their value."""
    cleaned = Redaction(values=("my-very-own-secret",)).text(text)
    assert cleaned == shown if shown is not None else "abcdefghijklmnopqrstuvwx" not in cleaned


def test_values_of_secret_variables() -> None:
    """Values are those of variables whose names mark them as secret."""
    known = {
        "OPENAI_API_KEY": "0123456789",
        "DB_PASSWORD": "hunter22hunter",
        "PATH": "/usr/bin:/bin",
        "MY_TOKEN": "short",
    }
    assert set(find_secret_values(known)) == {"0123456789", "hunter22hunter"}


def test_data_is_cleaned_in_a_copy() -> None:
    """Data is cleaned to any depth, in a copy."""
    data = {"a": [{"b": f"x {CANARY}"}], "password": ["p"], "n": 3, "none": None}
    cleaned = Redaction(values=(), fields=frozenset({"password"})).data(data)
    assert cleaned == {"a": [{"b": "x [api_key]"}], "password": HIDDEN, "n": 3, "none": None}
    assert data["password"] == ["p"]


def test_content_can_be_hidden() -> None:
    """Content can be left out whole."""
    assert Redaction(content=False).data({"a": "text", "n": 1}) == {"a": HIDDEN, "n": 1}


def test_ids_are_not_secrets() -> None:
    assert (
        Redaction(values=()).text("run 3f2a9c0d4b5e6f708192a3b4c5d6e7f8")
        == "run 3f2a9c0d4b5e6f708192a3b4c5d6e7f8"
    )


class Leaky(Model):
    """Repeats the canary, and fails with it now and then."""

    async def complete(self, request: Any, on_text: Any = None) -> Any:
        if "fail" in request.messages[-1].content:
            raise ModelError(
                f"the endpoint refused the key {CANARY}", model=request.model, status=401
            )
        return await super().complete(request)


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}: {CANARY}"


@agent(output=Reply, model="m", tools=[look_up], instructions=f"Your key is {CANARY}.")
def ask(order: Order) -> str:
    return f"{order.order} with {CANARY}"


@node
def fail(order: Order) -> Log:
    if order.amount > 1:
        raise ValueError(f"no connection with {CANARY}")
    return Log(log=[CANARY])


def test_canary_reaches_no_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A secret reaches neither the journal nor any sink.

    It is in the environment, header, state, prompt, instructions, answer, tool, tag and errors.
    """
    monkeypatch.setenv("ANY_API_KEY", CANARY)
    flow = Graph("leaky", Shop, input=Order).chain(fail, ask).build()
    sinks: list[str] = []

    async def main(url: str) -> None:
        rules = Redaction()
        file = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        recorder = Recorder(
            MaskedStore(file, rules.data),
            Otlp(
                url, environment={}, interval=0.0, content=True, headers={"authorization": CANARY}
            ),
        )
        for number, order in enumerate(
            (Order(order=CANARY), Order(order=f"fail {CANARY}"), Order(order=CANARY, amount=2))
        ):
            with pytest.raises(RunFailed) if number else NoError():
                await flow.run(
                    order,
                    run_id=f"r{number}",
                    durable=recorder,
                    client=Leaky(tool="look_up"),
                    tags={"note": CANARY},
                )
        recorder.stop()
        for number in range(3):
            log = await file.load(f"r{number}")
            talk = build_conversation(log.head, log.records)
            sinks.extend(
                [
                    format_turns(talk.trace, talk.turns, full=True),
                    format_page(talk.trace, talk.turns),
                    json.dumps(talk.as_data()),
                    repr(log),
                ]
            )
        with SpanIndex.open(file) as index:
            await index.catch_up(file)
            sinks.append(
                repr(
                    [
                        table(index).records()
                        for table in (
                            statistics.calls,
                            statistics.errors,
                            statistics.runs,
                            statistics.steps,
                        )
                    ]
                )
            )
        await file.close()

    with collecting() as collector, caplog.at_level(logging.DEBUG):
        asyncio.run(main(collector.url))
        assert collector.spans()
        sinks.append(b"".join(collector.raw).decode("utf-8", "replace"))
        sinks.append(caplog.text)
    sinks.extend(path.read_bytes().decode("utf-8", "replace") for path in tmp_path.iterdir())
    assert len(sinks) > 14
    assert [
        text[max(0, text.find(CANARY) - 80) : text.find(CANARY) + 40]
        for text in sinks
        if CANARY in text
    ] == []
    assert any("[api_key]" in text or HIDDEN in text for text in sinks)


class NoError:
    """A context in which nothing is expected."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
