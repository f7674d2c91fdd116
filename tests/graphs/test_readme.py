"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphorch import GraphError
from graphorch.cli.exit_codes import format_error

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def programs() -> list[tuple[str, str]]:
    """Each program with what it prints."""
    return re.findall(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize("program, output", programs(), ids=["graph", "tools", "durable"])
def test_program_prints_what_is_shown(
    program: str,
    output: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each program of the README prints what the README shows."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == output


def test_every_program_is_checked() -> None:
    """Every program of the README is among the checked programs."""
    assert [program for program, _ in programs()] == blocks("python")


def test_first_graph_is_short() -> None:
    """The graph of the README has about twenty lines of code."""
    assert sum(bool(line.strip()) for line in blocks("python")[0].splitlines()) <= 26


def test_mistakes_read_as_shown() -> None:
    """The problems of the wrong graph read as the README shows them."""
    program = blocks("python")[0].replace(
        "State(Text, Summary, Figures, Report)", "State(Text, Summary, Report)"
    )
    added = re.search(r"`(graph\.loop\(.*\))` added", README)
    assert added is not None
    with pytest.raises(GraphError) as caught:
        exec(
            compile(
                program.replace("flow = graph.build()", f"{added.group(1)}\nflow = graph.build()"),
                "README.md",
                "exec",
            ),
            {"__name__": "readme"},
        )
    assert format_error(caught.value) + "\n" in blocks("text")


@pytest.mark.parametrize("name", ["run", "test"])
def test_commands_follow_their_mark(name: str) -> None:
    """Each of the two commands follows its mark."""
    commands = re.findall(rf"^<!-- command:{name} -->\n```sh\n(.*)\n```$", README, re.MULTILINE)
    assert len(commands) == 1
    assert commands[0].startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_links_and_pictures_lead_to_files() -> None:
    """Every link and picture leads to a file."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [
        link for link in links if not link.startswith("http") and not (ROOT / link).exists()
    ] == []


def test_readme_is_short() -> None:
    """A newcomer reads it in ten minutes: at most 270 lines."""
    assert len(README.splitlines()) <= 270
