"""Requests to run a flow."""

from __future__ import annotations

import pytest

from graphorch import Budget, Limits
from graphorch.cli.run_request import JournalPlace, OutputFormat, RunRequest, choose_output_format
from graphorch.journal.address import parse_address


def name_journal(db: str) -> JournalPlace:
    return JournalPlace(parse_address(db), db)


def test_limits_become_run_options() -> None:
    """Limits and model become options of the run."""
    options = RunRequest(usd=0.5, seconds=3, activations=7, model="house/large").build_run_options()
    assert options == {
        "budget": Budget(usd=0.5),
        "limits": Limits(seconds=3, activations=7),
        "model": "house/large",
    }
    assert RunRequest().build_run_options() == {"limits": Limits(), "model": ""}


def test_command_is_quoted_for_shell() -> None:
    """A command for the flow and journal of a request can be pasted into a shell."""
    request = RunRequest(flow="my flow.py", journal=name_journal("my runs.sqlite"))
    assert (
        request.format_command("answer", "id", "a b", value="'{}'")
        == "graphorch answer 'my flow.py' id 'a b' '{}' --db 'my runs.sqlite'"
    )
    assert RunRequest(flow="a.py").format_command("resume", "id") == "graphorch resume a.py id"
    request = RunRequest(flow="a.py", model="house/large", config="my models.toml")
    assert (
        request.format_command("resume", "id")
        == "graphorch resume a.py id --model house/large --config 'my models.toml'"
    )


@pytest.mark.parametrize(
    ("db", "option"),
    [
        ("postgresql://u:secret@h/d", " --db postgresql://u@h/d"),
        ("postgresql://u@h/d?a=1&b=2", " --db 'postgresql://u@h/d?a=1&b=2'"),
    ],
)
def test_command_leaves_password_out(db: str, option: str) -> None:
    """A command that is shown names a database without its password."""
    journal = name_journal(db)
    request = RunRequest(flow="a.py", journal=journal)
    assert request.format_command("resume", "id") == f"graphorch resume a.py id{option}"
    assert request.build_run_options().get("durable") == db
    assert "secret" not in repr(request)


@pytest.mark.parametrize(
    "as_json, as_events, output_format",
    [
        (False, False, "text"),
        (True, False, "json"),
        (False, True, "events"),
        (True, True, "events"),
    ],
)
def test_events_win_over_json(as_json: bool, as_events: bool, output_format: OutputFormat) -> None:
    """`--events` also ends with the result, so it wins over `--json`."""
    assert choose_output_format(as_json=as_json, as_events=as_events) == output_format
