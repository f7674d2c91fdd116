"""`graphorch run` with an endpoint or a document that misbehaves, through a real process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.shell import Ended, Shell, run_program
from tests.models.servers import Handler, never_answers, pieces_of, replies, serve, streams

GRAPH = Path(__file__).parents[4] / "graphs" / "content_production.py"
AGENT = """
@agent(output=Draft)
def ask_one(topic: Topic) -> str:
    return f"Summarise:\\n\\n{topic.topic}"

flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
"""


def asked(shell: Shell, *arguments: str, handler: Handler) -> tuple[Ended, list[object]]:
    """Run the agent against a server, and return what the server was asked too."""

    async def run() -> tuple[Ended, list[object]]:
        async with serve(handler) as server:
            settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "key-of-the-test"}
            ended = await run_program(
                "run",
                "asks.py",
                "--topic",
                "tides",
                *arguments,
                here=shell.here,
                environment=settings,
            )
            return ended, server.bodies

    shell.write("asks.py", AGENT)
    return asyncio.run(run())


def test_endpoint_gets_named_model(shell: Shell) -> None:
    """The endpoint is asked for the model that `--model` names."""
    ended, bodies = asked(
        shell, "--model", "house/large", handler=streams(pieces_of("An ", "answer."))
    )
    assert (ended.code, ended.out) == (0, "An answer.\n")
    assert [body["model"] for body in bodies if isinstance(body, dict)] == ["house/large"]
    assert "offline/extractive" not in ended.err


def test_wrong_key_is_not_shown(shell: Shell) -> None:
    """A refused key is one message, without the key."""
    refusal = {
        "error": {
            "message": "Incorrect API key provided: key-of-the-test",
            "code": "invalid_api_key",
        }
    }
    ended, bodies = asked(shell, "--model", "m", handler=replies(refusal, 401))
    assert (ended.code, ended.out, len(bodies)) == (1, "", 1)
    assert "answered 401: the key was refused" in ended.err
    assert "key-of-the-test" not in ended.err
    assert "Traceback" not in ended.err


def test_unreachable_endpoint_is_explained(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that cannot be reached is one message."""
    shell.write("asks.py", AGENT)
    for name, value in (
        ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        ("OPENAI_API_KEY", "x"),
        ("GRAPHORCH_MODEL", "m"),
    ):
        monkeypatch.setenv(name, value)
    ended = shell("run", "asks.py", "--topic", "x", "-q")
    assert ended.code == 1
    assert "127.0.0.1:9 could not be reached" in ended.err
    assert "Traceback" not in ended.err


def test_seconds_limit_leaves_silent_endpoint(shell: Shell) -> None:
    """`--seconds` leaves an endpoint that never answers."""
    ended, _ = asked(shell, "--model", "m", "--seconds", "0.5", "-q", handler=never_answers)
    assert ended.code == 1
    assert "limit" in ended.err


def test_address_without_key_exits_with_2(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address without a key is wrong usage."""
    shell.write("asks.py", AGENT)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ended = shell("run", "asks.py", "--topic", "x")
    assert ended.code == 2
    assert (
        ended.err == "error: OPENAI_BASE_URL is set, but OPENAI_API_KEY is not. Set the endpoint's "
        "key; for a server that takes any, set it to 'none'.\n"
    )


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_empty_document_names_option(shell: Shell, text: str) -> None:
    """An empty document is refused with the option that brought it."""
    (shell.here / "empty.txt").write_text(text)
    ended = shell("run", str(GRAPH), "--document", "@empty.txt")
    assert (ended.code, ended.out) == (2, "")
    assert "document: String should have at least 1 character" in ended.err
    assert "from --document @empty.txt)" in ended.err


def test_huge_document_finishes_in_time(shell: Shell) -> None:
    """It says what it left out, and the article is made of sentences of the document."""
    sentence = "The gauge in harbour {} showed {} centimetres above the table on that day."
    text = " ".join(
        sentence.format(number, number % 300) for number in range(10_000_000 // len(sentence))
    )
    (shell.here / "big.txt").write_text(text)
    ended = shell("run", str(GRAPH), "--document", "@big.txt", "--topic", "Gauges above the table")
    assert ended.code == 0
    body = ended.out.split("\n\n")[1]
    assert body.split(". ")[0] in text
    assert "were left out" in ended.err


def test_document_is_sanitized(shell: Shell) -> None:
    """Control characters in a document reach no terminal."""
    (shell.here / "evil.txt").write_text(
        "The \x1b[2Jtide <script>alert(1)</script> rises twice a day. The Moon \x07 pulls "
        "the water. Boats wait for it."
    )
    ended = shell("run", str(GRAPH), "--document", "@evil.txt", "--topic", "\x1b]0;title\x07 tides")
    assert ended.code == 0
    assert not {"\x1b", "\x07"} & set(ended.out + ended.err)
    assert "\\x1b]0;title\\x07 tides" in ended.out
