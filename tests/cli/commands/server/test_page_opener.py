"""Opening the page: the token is in a file of the user, not among the arguments of a program."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from graphorch.cli.commands.server.page_opener import open_page
print(open_page(sys.argv[1]))
"""
LINK = 'http://127.0.0.1:8460/#token=abc&"<x>'


def test_browser_gets_file_of_user(tmp_path: Path) -> None:
    """The browser is started with a file that only the user can read, and that leads on."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n')
    browser.chmod(0o700)
    environment = {
        **os.environ,
        "BROWSER": f"{browser} %s",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    command = [sys.executable, "-c", PROGRAM, LINK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    assert (tmp_path / "arguments").read_text().strip() == path.as_uri()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "#token=abc&amp;&quot;&lt;x&gt;" in path.read_text()
