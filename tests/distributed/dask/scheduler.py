"""A scheduler of Dask for tests."""

from __future__ import annotations

import subprocess
import sys

import pytest


class Scheduler:
    """A scheduler of Dask in a process of its own."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        self.process = subprocess.Popen(
            [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Scheduler at:" in line:
                self.port = int(line.rstrip().rpartition(":")[2])
                return
        pytest.fail("The scheduler of Dask did not start.")

    @property
    def url(self) -> str:
        return f"dask://127.0.0.1:{self.port}"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
