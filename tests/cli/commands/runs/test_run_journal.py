"""`graphorch run` with a journal: where the run is kept, and what follows it."""

from __future__ import annotations

import pytest

from tests.cli.flows import (
    ASKING,
    FLAKY,
    run_json,
)
from tests.cli.shell import Shell


def test_durable_uses_default_journal(shell: Shell) -> None:
    """`--durable` keeps the run in the default journal, which later commands find by themselves."""
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides", "--durable")
    assert (shell.here / "graphorch.sqlite").exists()
    assert "--db" not in ended.err
    run_id = run_json(shell, "runs")["runs"][0]["run_id"]
    assert (
        shell("answer", "ask.py", run_id, "approve", "no", "--reason", "too dull", "-q").out
        == "1 words on tides, no too dull\n"
    )


def test_environment_names_default_journal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRAPHORCH_DB names the default journal."""
    shell.write("essay.py")
    monkeypatch.setenv("GRAPHORCH_DB", "kept.sqlite")
    assert shell("run", "essay.py", "--topic", "x", "--durable").code == 0
    assert len(run_json(shell, "runs")["runs"]) == 1
    assert (shell.here / "kept.sqlite").exists()


def test_memory_run_leaves_no_file(shell: Shell) -> None:
    """A waiting run in memory leaves no file, and says which option would keep it."""
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides")
    assert ended.code == 4
    assert (
        "this run was in memory and ends here. With --durable or --db PATH it is kept" in ended.err
    )
    assert shell.list_files() == ["ask.py"]


def test_failed_memory_run_has_no_resume_hint(shell: Shell) -> None:
    """A failed run in memory cannot be resumed, and does not suggest it."""
    shell.write("flaky.py", FLAKY)
    assert "Resume with" not in shell("run", "flaky.py", "--topic", "tides").err


def test_after_takes_over_memory(shell: Shell) -> None:
    """`--after` takes over what the flow remembers of an earlier run."""
    shell.write(
        "chat.py",
        """
class Talk(BaseModel):
    talk: str = "nothing"
class Chat(Topic, Talk): ...
@node
def reply(topic: Topic, talk: Talk) -> Talk:
    return Talk(talk=f"{topic.topic} after {talk.talk}")
flow = Graph("chat", Chat, input=Topic, output=Talk, remember=[Talk]).chain(reply).build()
""",
    )
    first = run_json(shell, "run", "chat.py", "--topic", "a", "--durable")["run_id"]
    assert (
        shell("run", "chat.py", "--topic", "b", "--after", first, "-q").out
        == "b after a after nothing\n"
    )
    ended = shell("run", "chat.py", "--topic", "b", "--after", "nothing")
    assert ended.code == 2
    assert "The journal has no run 'nothing'" in ended.err
