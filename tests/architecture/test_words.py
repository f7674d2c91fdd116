"""Words that the repository never holds: paths of one machine, hosts of package indexes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.~*}-])/(?:root|work|Users/\w+|home/\w+)/"),
    "a folder outside the repository": re.compile(r"\.\./shared\b"),
    "the host of a package index": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.org|deb\.debian\.org|anaconda\.org)\b"
    ),
    "a trailer of who wrote it": re.compile(
        r"^\s*(?:co-authored-by|generated with)\b", re.IGNORECASE | re.MULTILINE
    ),
}


def forbidden_lines(text: str) -> list[str]:
    """Return each forbidden thing of a text: its line, its kind, and the match."""
    return [
        f"{text.count(chr(10), 0, match.start()) + 1}: {kind}: {match.group().strip()}"
        for kind, pattern in FORBIDDEN.items()
        for match in pattern.finditer(text)
    ]


def test_repository_holds_no_forbidden_word() -> None:
    """Check every file that git tracks or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git cannot say which files belong to the project")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files = [ROOT / name for name in listed if name and (ROOT / name).is_file()]
    assert files
    assert [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in forbidden_lines(file.read_text("utf-8", "replace"))
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "work/notes",
        "open('/" + "root/.config')",
        "cat .." + "/shared/x",
        "from https://files.pythonhosted" + ".org/x",
        "Co-authored" + "-by: x",
    ],
)
def test_forbidden_word_is_found(text: str) -> None:
    """A check that cannot fail guards nothing."""
    assert forbidden_lines(f"first line\n{text}\n")[0].startswith("2: ")


@pytest.mark.parametrize("text", ["team/work/done", "~/work/notes", "the root/branch", "shared/x"])
def test_harmless_word_is_left_alone(text: str) -> None:
    """Words that only look alike are allowed."""
    assert forbidden_lines(text) == []
