"""Rounds of measurements: every workload by every system, each in a fresh process of its own.

The order of the systems changes from round to round. So a busy minute of the machine hits all
systems alike, and a ratio compares figures of the same minute.
"""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.systems import ROOT, System
from tests.benchmarks.workloads import Workload

TIMEOUT = 240.0


def measure(
    system: System, workload: Workload, cache: Path, seconds: float
) -> list[dict[str, Any]]:
    """Return the rows of a process: a figure or an error for each size."""
    command = [
        str(system.python(cache)),
        "-W",
        "ignore",
        "-m",
        "tests.benchmarks.worker",
        system.name,
        workload.name,
        "--seconds",
        str(seconds),
    ]
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    if workload.kind == "import":
        # writes the bytecode
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        errors = f"took longer than {TIMEOUT:.0f} s"
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    missing = [size for size in workload.sizes if size not in [row["size"] for row in rows]]
    return rows + [
        {"size": size, "error": errors.strip()[-500:] or "no figure"} for size in missing
    ]


def measure_rounds(
    systems: Sequence[System],
    workloads: Sequence[Workload],
    cache: Path,
    count: int,
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """Yield every row of every round, as it comes."""
    for number in range(count):
        rng = random.Random(number)
        for workload in workloads:
            turn = [system for system in systems if system.takes_part(workload.name)]
            rng.shuffle(turn)
            for system in turn:
                for row in measure(system, workload, cache, seconds):
                    yield {
                        "round": number,
                        "workload": workload.name,
                        "system": system.name,
                        "load": os.getloadavg()[0],
                        **row,
                    }


def read_versions(systems: Sequence[System], cache: Path) -> dict[str, str]:
    """Return the interpreter, the machine and the version of each system."""
    about = {
        "python": platform.python_version(),
        "platform": platform.system(),
        "processors": str(os.cpu_count()),
        "date": time.strftime("%Y-%m-%d"),
    }
    program = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    for system in systems:
        if system.packages:
            package = system.packages[0].partition("==")[0]
            done = subprocess.run(
                [str(system.python(cache)), "-c", program, package], capture_output=True, text=True
            )
            about[system.name] = done.stdout.strip()
    return about


def save(file: Path, about: dict[str, str], rows: Sequence[dict[str, Any]]) -> None:
    """Write the results in a single step, so that earlier rows are never lost."""
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    temporary.replace(file)


def describe(row: dict[str, Any], workload: Workload) -> str:
    """Return a row as a line for a terminal."""
    head = f"{row['round']} {workload.name:4} {row['system']:15} {row['size']!s:>10}"
    if "value" not in row:
        return f"{head}  {row.get('cannot') or row.get('error')}"
    space = ""
    if "bytes" in row:
        space = f"  {row['bytes'] / 1024:,.0f} KiB"
    elif "kib" in row:
        space = f"  {row['kib']:.1f} KiB a run"
    return f"{head}  {row['value']:12,.3f} {workload.unit}, processor {row['cpu']:,.3f}{space}"
