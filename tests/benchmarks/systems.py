"""Systems that are compared: the module of their programs, and the packages to install."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIABLE = "GRAPHORCH_BENCH"


@dataclass(frozen=True, slots=True)
class System:
    """System with its programs.

    Without packages it runs in the interpreter that graphorch is installed in; otherwise it gets an
    environment of its own.
    """

    name: str
    title: str
    module: str
    imports: str
    packages: tuple[str, ...] = ()
    is_watched: bool = False
    workloads: str = ""  # the only ones that it takes part in, separated by spaces

    def python(self, cache: Path) -> Path:
        """Return the path of the system's interpreter."""
        return cache / self.name / "bin" / "python" if self.packages else Path(sys.executable)

    def takes_part(self, workload: str) -> bool:
        """Return whether the system is measured on a workload."""
        return not self.workloads or workload in self.workloads.split()


SYSTEMS = (
    System("asyncio", "asyncio by hand", "by_asyncio", "asyncio:run"),
    System("graphorch", "graphorch", "by_graphorch", "graphorch:Graph node"),
    System(
        "watched",
        "graphorch, one observer",
        "by_graphorch",
        "graphorch:Graph node",
        is_watched=True,
        workloads="W1 W2 W3 W5 W6 W7 W9 W12",
    ),
    System(
        "langgraph",
        "LangGraph",
        "by_langgraph",
        "langgraph.graph:StateGraph",
        ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2", "aiosqlite==0.22.1"),
    ),
    System(
        "pydantic-graph",
        "pydantic-graph",
        "by_pydantic_graph",
        "pydantic_graph:GraphBuilder",
        ("pydantic-graph==2.68.0",),
    ),
    System(
        "burr",
        "Burr",
        "by_burr",
        "burr.core:ApplicationBuilder action",
        ("apache-burr==0.43.0", "pydantic==2.14.4", "aiosqlite==0.22.1"),
    ),
)
HAND, OURS = SYSTEMS[0], SYSTEMS[1]
PEERS = tuple(system for system in SYSTEMS if system.packages)


def default_cache() -> Path:
    """Return the folder with the environments of the other systems."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "graphorch-bench")


def select_systems(names: str) -> tuple[System, ...]:
    """Return the systems with these names, separated by commas; all for an empty text.

    Raises `SystemExit` for an unknown name.
    """
    known = {system.name: system for system in SYSTEMS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no system {', '.join(unknown)}. Systems: {', '.join(known)}")
    return tuple(known[name] for name in wanted) if wanted else SYSTEMS


def find_installed(systems: tuple[System, ...], cache: Path) -> tuple[System, ...]:
    """Return the systems that are installed, and print how to install the others."""
    available: list[System] = []
    for system in systems:
        if system.python(cache).exists():
            available.append(system)
        else:
            print(
                f"skipped: {system.title} is not installed in {cache}. "
                "Run `python -m tests.benchmarks install`."
            )
    return tuple(available)


def install(cache: Path) -> None:
    """Make an environment for each of the others, and install it there."""
    for system in PEERS:
        home = cache / system.name
        print(f"{system.title}: {', '.join(system.packages)} in {home}")
        if not system.python(cache).exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run(
            [
                str(system.python(cache)),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *system.packages,
            ],
            check=True,
        )
