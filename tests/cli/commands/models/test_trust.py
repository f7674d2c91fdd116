"""`graphorch trust`, and what a run does about a file that is not trusted."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable

import pytest

from graphorch.models.config.trust import TrustStore
from tests.cli.flows import start_waiting_run
from tests.cli.shell import Ended, Shell, run_program
from tests.models.servers import Server, pieces_of, serve, streams

AGENT = """
@agent(output=Draft, model="m")
def ask_one(topic: Topic) -> str:
    return topic.topic
flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
"""
KEY = "key-of-the-person"


def write_endpoint(shell: Shell, url: str, extra: str = "") -> None:
    text = f'[endpoints.main]\nbase_url = "{url}"\nkey_env = "OPENAI_API_KEY"\n{extra}'
    (shell.here / "graphorch.toml").write_text(text)


def run_against_servers(
    shell: Shell,
    *arguments: str,
    prepare: Callable[[str], None],
    has_variable: bool = False,
) -> tuple[Ended, Server, Server]:
    """Run the agent with a server that the file names, and one that the variable may name."""

    async def run() -> tuple[Ended, Server, Server]:
        answer = streams(pieces_of("An answer."))
        async with serve(answer) as of_file, serve(answer) as of_variable:
            prepare(of_file.url)
            settings = {"OPENAI_API_KEY": KEY}
            if has_variable:
                settings["OPENAI_BASE_URL"] = of_variable.url
            ended = await run_program(
                "run", "asks.py", "--topic", "x", *arguments, here=shell.here, environment=settings
            )
            return ended, of_file, of_variable

    shell.write("asks.py", AGENT)
    return asyncio.run(run())


def trust_file(shell: Shell) -> None:
    path = shell.here / "graphorch.toml"
    TrustStore().grant(path, path.read_bytes())


def test_untrusted_endpoint_gets_nothing(shell: Shell) -> None:
    """A file of a strange directory ends the run with code 2 before anything is sent."""
    ended, server, _ = run_against_servers(
        shell, prepare=lambda url: write_endpoint(shell, url), has_variable=True
    )
    assert (ended.code, ended.out) == (2, "")
    assert "graphorch.toml is not trusted" in ended.err
    assert "Traceback" not in ended.err
    assert server.asked == []


def test_trusted_endpoint_gets_its_key(shell: Shell) -> None:
    """After `graphorch trust` the endpoint is asked, and named in the first line."""

    def prepare(url: str) -> None:
        write_endpoint(shell, url)
        trust_file(shell)

    ended, server, _ = run_against_servers(shell, prepare=prepare)
    assert (ended.code, ended.out) == (0, "An answer.\n")
    first_line = f"endpoint: main {server.url} (key in OPENAI_API_KEY)"
    assert ended.err.splitlines()[0] == first_line
    assert [asked.headers["authorization"] for asked in server.asked] == [f"Bearer {KEY}"]


def test_named_file_needs_no_trust(shell: Shell) -> None:
    """A file that is given by hand with --config is used as it is."""
    ended, server, _ = run_against_servers(
        shell,
        "--config",
        "graphorch.toml",
        prepare=lambda url: write_endpoint(shell, url),
    )
    assert (ended.code, len(server.asked)) == (0, 1)


def test_variable_beats_trusted_file(shell: Shell) -> None:
    """OPENAI_BASE_URL goes before the endpoints of a file."""

    def prepare(url: str) -> None:
        write_endpoint(shell, url)
        trust_file(shell)

    ended, of_file, of_variable = run_against_servers(shell, prepare=prepare, has_variable=True)
    assert (ended.code, len(of_file.asked), len(of_variable.asked)) == (0, 0, 1)
    assert of_variable.url in ended.err.splitlines()[0]


def test_trust_shows_before_it_grants(shell: Shell) -> None:
    """`graphorch trust` lists addresses, variables and files; list and revoke go with it."""
    write_endpoint(
        shell,
        "https://router.example/v1",
        '[endpoints.here]\nbase_url = "http://127.0.0.1:8/v1"\n'
        '[budgets]\nkept = "spend.db"\n[budgets.day]\nusd = 1\n',
    )
    granted = shell("trust")
    assert granted.code == 0
    assert granted.out.splitlines()[1:] == [
        "  - send prompts to https://router.example/v1 (endpoint 'main'), with the key in "
        "OPENAI_API_KEY",
        "  - send prompts to http://127.0.0.1:8/v1 (endpoint 'here'), without a key",
        f"  - write the file {shell.here / 'spend.db'} (budgets.kept)",
    ]
    path = shell.here / "graphorch.toml"
    assert TrustStore().is_trusted(path, path.read_bytes())
    listed = json.loads(shell("trust", "list", "--json").out)["trusted"]
    assert tuple(entry["state"] for entry in listed if entry["path"] == str(path)) == ("unchanged",)
    assert str(path) in shell("trust", "list").out
    path.write_text("# changed")
    assert f"{path}" in shell("trust", "list").out
    assert shell("trust", "revoke").code == 0
    assert not TrustStore().is_trusted(path, path.read_bytes())
    again = shell("trust", "revoke")
    assert (again.code, "nothing to revoke" in again.err) == (2, True)


class Terminal(io.StringIO):
    """Standard input that a person types into."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("\n", 1), ("no\n", 1), ("", 1)])
def test_trust_asks_on_terminal(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """On a terminal it asks after it has shown the grants; only yes grants them."""
    write_endpoint(shell, "https://router.example/v1")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    ended = shell("trust")
    assert (ended.code, "router.example" in ended.out) == (code, True)
    path = shell.here / "graphorch.toml"
    assert TrustStore().is_trusted(path, path.read_bytes()) == (code == 0)


def test_revoked_file_may_be_gone(shell: Shell) -> None:
    """Trust can be revoked for a file that does not exist any more."""
    write_endpoint(shell, "https://router.example/v1")
    assert shell("trust").code == 0
    (shell.here / "graphorch.toml").unlink()
    assert shell("trust", "revoke", "--config", "graphorch.toml").code == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "There is no graphorch.toml here"), ("[endpoint.x]", "Did you mean 'endpoints'")],
)
def test_nothing_to_trust_is_explained(shell: Shell, text: str | None, message: str) -> None:
    """A missing or wrong file is one message, and grants nothing."""
    if text is not None:
        (shell.here / "graphorch.toml").write_text(text)
    ended = shell("trust")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_escapes_in_file_are_shown(shell: Shell) -> None:
    """A name cannot repaint the terminal on which a person decides."""
    (shell.here / "graphorch.toml").write_text(
        '[endpoints."a\\u001b[2K"]\nbase_url = "https://router.example/v1"\n'
    )
    ended = shell("trust")
    assert "\x1b" not in ended.out + ended.err
    assert "\\x1b[2K" in ended.out


@pytest.mark.parametrize(
    "command",
    [
        "fork ask.py RUN --from write",
        "check ask.py",
        "show ask.py",
        "render ask.py -o ask.svg",
        "heat ask.py",
        "why ask.py RUN write",
        "critical ask.py RUN",
        "timeline RUN",
        "conversation RUN",
        "stats",
        "runs",
        "runs show RUN",
        "runs erase RUN",
        "runs prune --older-than 1d",
        "trust list",
    ],
)
def test_command_that_asks_nothing_needs_no_trust(command: str, shell: Shell) -> None:
    """Whoever asks no model and pays for nothing is not kept from it by a file."""
    run_id = start_waiting_run(shell)
    write_endpoint(shell, "https://router.example/v1", extra="[prices.m]\ninput=0\noutput=0\n")
    has_journal = not command.startswith(("check", "show", "render", "trust"))
    journal = ("--db", "r.sqlite") if has_journal else ()
    ended = shell(*command.replace("RUN", run_id).split(), *journal)
    assert ended.code == 0, ended.err


def test_prices_are_shown_before_they_are_trusted(shell: Shell) -> None:
    """A price that could fool a budget is named by the question."""
    (shell.here / "graphorch.toml").write_text('[prices."openai/gpt-5"]\ninput=0\noutput=0.5\n')
    ended = shell("trust", "--yes")
    assert "let budgets count $0 / $0.5 per million tokens for 'openai/gpt-5'" in ended.out


def test_cancel_needs_no_trust(shell: Shell) -> None:
    """A run can be cancelled beside a file that is not trusted, since nothing is asked."""
    run_id = start_waiting_run(shell)
    write_endpoint(shell, "https://router.example/v1")
    command = ("runs", "cancel", run_id, "--flow", "ask.py", "--db", "r.sqlite")
    assert shell(*command).code == 0


def test_odd_file_is_warned_about(shell: Shell) -> None:
    """A run shows what is odd about its file, with line and field, and alerts of its budget."""
    shell.write("asks.py", AGENT.replace(', model="m"', ""))
    (shell.here / "graphorch.toml").write_text(
        '[limits."openai/gtp-5"]\nrpm = 5\n[budgets.run]\ncalls = 2\n[alerts]\nshares = [0.5]\n'
    )
    ended = shell("run", "asks.py", "--topic", "The tide rises. The moon pulls.")
    assert ended.code == 0
    assert "graphorch.toml:1: limits.openai/gtp-5: no policy, default_model or price" in ended.err
    assert "alert: The budget of 'asking' has spent 50%: 1 of 2 calls." in ended.err
