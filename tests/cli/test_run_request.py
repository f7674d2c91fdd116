"""Requests to run a flow."""

from __future__ import annotations

import pytest

from graphorch import Budget, Limits
from graphorch.cli.run_request import JournalFile, OutputFormat, RunRequest, choose_output_format


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
    request = RunRequest(flow="my flow.py", journal=JournalFile("/x/r.sqlite", "my runs.sqlite"))
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
