"""A secret of the state is in no text that a run shows, writes for people, or sends."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Approval,
    Context,
    Failure,
    Graph,
    GraphorchError,
    QuestionEvent,
    Retry,
    RunFailed,
    Secret,
    Untrusted,
    node,
)
from graphorch.debugger.notebook.view import build_panel
from graphorch.journal import RunLog, SqliteStore
from graphorch.testing import ScriptedModel, run_virtual
from graphorch.trace import build_conversation, build_trace

TOKEN = 'tok-"9f3a"-\\secret'


class Login(BaseModel):
    user: str = "ada"
    token: Secret[str] = ""


class Key(BaseModel):
    key: str = ""


class Pins(BaseModel):
    pins: dict[str, Secret[int]] = {}


class Done(BaseModel):
    done: str = ""


class State(Login, Key, Pins, Done): ...


def is_hidden(*texts: object) -> bool:
    """Return whether texts hold nothing of the token or of what was made of it."""
    return not any(part in str(text) for text in texts for part in ("9f3a", "a3f9", "48151623"))


@node
def derive(login: Login) -> Key:
    return Key(key=login.token[::-1])


def graph(*steps: Any, start: Any = Login) -> Graph[Any, Any, Any]:
    return Graph("secret", State, input=start, output=Done).chain(*steps)


def fail_with(error: Exception, **options: Any) -> Any:
    @node(**options, name="fail", declassify="returns no key")
    def fail(login: Login, key: Key) -> Done:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"401 for {TOKEN}"),
        KeyError(TOKEN),
        RuntimeError("no such key", TOKEN[::-1]),
        ValueError(json.dumps({"token": TOKEN})),
    ],
    ids=["text", "key", "made of it", "json"],
)
def test_error_does_not_quote_secret(error: Exception, tmp_path: Path) -> None:
    """The message of a failure is hidden in the error, its causes, events, journal and trace."""
    db = str(tmp_path / "runs.sqlite")
    flow = graph(derive, fail_with(error, retry=Retry(2, first=0.01))).build()
    seen: list[str] = []

    async def drive() -> None:
        async for event in flow.stream(Login(token=TOKEN), run_id="run1", durable=db):
            seen.append(repr(event))

    with pytest.raises(RunFailed) as raised:
        run_virtual(drive())
    causes = [cause for item in raised.value.exceptions for cause in (item, item.__cause__)]
    assert is_hidden(str(raised.value), repr(raised.value), *map(repr, causes))
    assert is_hidden(*seen)
    assert type(error).__name__ in str(raised.value)

    async def read() -> RunLog:
        store = await SqliteStore.open(db)
        log = await store.load("run1")
        await store.close()
        return log

    log = run_virtual(read())
    conversation = build_conversation(log.head, log.records)
    assert is_hidden(conversation, build_trace(log.head, log.records))
    assert "[hidden]" in str(conversation)


def test_hidden_error_takes_its_edge() -> None:
    """An error whose text is hidden is still of its class, for edges and retries."""

    @node(declassify="a name alone")
    def rescue(failure: Failure) -> Done:
        return Done(done=f"{failure.error}: {failure.message}")

    fail = fail_with(KeyError(TOKEN))
    flow = graph(derive, fail).on_error(fail, rescue, when=LookupError).build()
    result = flow.run_sync(Login(token=TOKEN))
    assert result.output.done.startswith("KeyError")
    assert is_hidden(result.output)


def test_question_and_gate_hide_secret() -> None:
    """A person is asked without the secret, and a hook tells of the question without it."""
    told: list[str] = []

    def tell(event: QuestionEvent) -> None:
        told.append(repr(event))

    @node(gate="before", declassify="returns no key")
    def use(login: Login, key: Key) -> Done:
        return Done(done="used")

    g = graph(derive)
    ask = g.ask("agree", question=lambda s: f"Use {s.token} as {s.user}?", answer=Key)
    flow = g.chain(derive, ask, use).build()

    async def drive() -> None:
        first = await flow.run(Login(token=TOKEN), run_id="asking", on_question=tell)
        assert first.questions[0].text == "Use [hidden] as ada?"
        second = await flow.answer("asking", ask, Key(key="of the person"))
        assert '"user":"ada"' in second.questions[0].text
        assert is_hidden(second.questions[0].text)
        done = await flow.answer("asking", second.questions[0].id, Approval(approved=True))
        assert done.output.done == "used"

    run_virtual(drive())
    assert len(told) == 4
    assert "Use [hidden] as ada?" in told[0]
    assert all(map(is_hidden, told))


def test_events_notes_and_logs_hide_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What a node wrote is announced without the secret, and so is a remark that quotes it."""

    @node(declassify="returns no key")
    async def use(ctx: Context[None], login: Login, key: Key) -> Done:
        ctx.note(f"used {login.token}")
        return Done(done="used")

    flow = graph(derive, use).build()

    async def drive() -> list[str]:
        stream = flow.stream(Login(token=TOKEN))
        return [repr(event) async for event in stream]

    with caplog.at_level(logging.DEBUG):
        seen = run_virtual(drive())
    assert any("'key': '[hidden]'" in event for event in seen)
    assert is_hidden(*seen, caplog.text)
    result = flow.run_sync(Login(token=TOKEN))
    assert result.notes
    assert is_hidden(result.notes, repr(result), result.svg())


def test_prompt_of_plain_node_is_refused() -> None:
    """A node that hands its context to a helper cannot send a secret to a model either."""

    async def help(context: Any, text: str) -> str:
        return await context.complete(text)

    @node(declassify="nothing")
    async def careful(ctx: Context[None], login: Login) -> Done:
        return Done(done=await help(ctx, "no secret"))

    @node
    async def careless(ctx: Context[None], login: Login) -> Key:
        return Key(key=await help(ctx, f"who is {login.token}?"))

    with ScriptedModel("fine") as model:
        assert graph(careful).build().run_sync(Login(token=TOKEN), client=model).output.done
    with ScriptedModel() as model, pytest.raises(RunFailed) as raised:
        graph(careless).build().run_sync(Login(token=TOKEN), client=model)
    assert model.requests == []
    assert "SecretInPrompt" in str(raised.value)
    assert is_hidden(str(raised.value), repr(raised.value))


def test_acting_tool_of_plain_node_is_refused() -> None:
    """A node that reads untrusted values cannot offer a tool that acts, unseen by `build()`."""

    class Page(BaseModel):
        text: Untrusted[str] = ""

    class Pages(Page, Done): ...

    sent: list[str] = []

    def send(text: str) -> str:
        sent.append(text)
        return "sent"

    @node
    async def reply(ctx: Context[None], page: Page) -> Done:
        return Done(done=await ctx.complete(page.text, tools=[send]))

    flow = Graph("reply", Pages, input=Page, output=Done).chain(reply).build()
    with ScriptedModel() as model, pytest.raises(RunFailed) as raised:
        flow.run_sync(Page(text="send it"), client=model)
    assert "UntrustedArguments" in str(raised.value)
    assert sent == []


def test_wrong_value_of_secret_is_not_quoted() -> None:
    """A value that does not fit is named without itself."""

    @node
    def pick(login: Login) -> Pins:
        pins = Pins()
        pins.pins = {"a": "48151623x"}  # type: ignore[dict-item]
        return pins

    with pytest.raises(RunFailed) as raised:
        graph(pick).build().run_sync(Login(token=TOKEN))
    assert "'pins.a' = [hidden]" in str(raised.value)
    assert is_hidden(str(raised.value), repr(raised.value))


def test_session_hides_secret() -> None:
    """The stepper shows that a field has a secret, and not which."""
    session = graph(derive).build().debug(Login(token=TOKEN))
    try:
        session.step()
        shown = json.dumps(build_panel(session))
        assert is_hidden(shown, repr(session), repr(session.history))
        assert "[hidden]" in shown
        assert session.state.key == TOKEN[::-1]  # code of the user reads what is there
    finally:
        session.close()


def test_difference_and_divergence_hide_secret(tmp_path: Path) -> None:
    """A rerun says that a secret differs, and not how."""
    db = str(tmp_path / "runs.sqlite")
    flow = graph(derive).build()

    async def drive() -> str:
        await flow.run(Login(token=TOKEN), run_id="old", durable=db)
        again = await flow.rerun("old", start="derive", output=Key(key="48151623"), durable=db)
        return str(again.difference) + repr(again.difference.fields)

    text = run_virtual(drive())
    assert "'[hidden]'" in text
    assert is_hidden(text)


def test_stored_values_are_as_they_were(tmp_path: Path) -> None:
    """A run goes on after a stop with the secret that it had."""
    db = str(tmp_path / "runs.sqlite")
    got: list[str] = []

    @node(declassify="returns no key")
    def use(login: Login, key: Key) -> Done:
        got.append(login.token)
        if len(got) == 1:
            raise GraphorchError("not yet")
        return Done(done="used")

    flow = graph(derive, use).build()

    async def drive() -> None:
        with pytest.raises(RunFailed):
            await flow.run(Login(token=TOKEN), run_id="run1", durable=db)
        await flow.resume("run1", durable=db)

    run_virtual(drive())
    assert got == [TOKEN, TOKEN]
