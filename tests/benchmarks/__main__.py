"""`python -m tests.benchmarks`: graphorch, plain asyncio and three other systems, side by side.

install             make an environment for each of the others, and install it there
run                 measure in rounds, everything by default; the default command
table               show the results, in full or with --targets against the targets
profile W1          show where the time of graphorch goes
growth              measure time from 10 to 10,000 nodes, branches, rounds and items, and memory
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import rounds, systems, table
from tests.benchmarks.workloads import select_workloads


def run(given: argparse.Namespace) -> None:
    """Measure, and write each row down as it comes."""
    workloads = {workload.name: workload for workload in select_workloads(given.only)}
    chosen = systems.find_installed(systems.select_systems(given.systems), given.cache)
    about = rounds.read_versions(chosen, given.cache)
    rows: list[dict[str, Any]] = []
    for row in rounds.measure_rounds(
        chosen, tuple(workloads.values()), given.cache, given.rounds, given.seconds
    ):
        rows.append(row)
        print(rounds.describe(row, workloads[row["workload"]]), flush=True)
        rounds.save(given.json, about, rows)
    print(f"\n{table.compare_with_targets(table.Results(about, rows))}\n\nwritten to {given.json}")


def show(given: argparse.Namespace) -> None:
    """Show results, in full or against the targets."""
    results = table.Results.load(given.json)
    print(table.compare_with_targets(results) if given.targets else table.format_results(results))


def profile(given: argparse.Namespace) -> None:
    """Show profiles."""
    from tests.benchmarks import profiles

    for workload in select_workloads(given.workloads):
        size = next((item for item in workload.sizes if str(item) == given.size), None)
        print(profiles.profile(workload, size, top=given.top, is_watched=given.watched), end="\n\n")


def grow(_: argparse.Namespace) -> None:
    """Show how cost grows, and what runs hold in memory."""
    from tests.benchmarks import growth

    print(f"{growth.measure_growth()}\n\n{growth.measure_memory()}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        "python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True)
    install = commands.add_parser("install")
    install.set_defaults(do=lambda given: systems.install(given.cache))
    argument_parser = commands.add_parser("run")
    argument_parser.set_defaults(do=run)
    argument_parser.add_argument("--only", default="", help="workloads, separated by commas")
    argument_parser.add_argument("--systems", default="", help="systems, separated by commas")
    argument_parser.add_argument("--rounds", type=int, default=3)
    argument_parser.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="how long each process repeats a run (%(default)s)",
    )
    for item in (install, argument_parser):
        help = f"where the others are installed (or ${systems.VARIABLE}; %(default)s)"
        item.add_argument("--cache", type=Path, default=systems.default_cache(), help=help)
    other = commands.add_parser("table")
    other.set_defaults(do=show)
    other.add_argument("--targets", action="store_true", help="compare with the targets")
    for item in (argument_parser, other):
        item.add_argument(
            "--json",
            type=Path,
            default=Path("benchmarks.json"),
            help="the file of results (%(default)s)",
        )
    shown = commands.add_parser("profile")
    shown.set_defaults(do=profile)
    shown.add_argument("workloads", help="such as W1, or W1,W3")
    shown.add_argument("--size", default="")
    shown.add_argument("--top", type=int, default=25)
    shown.add_argument("--watched", action="store_true", help="with an observer of all events")
    commands.add_parser("growth").set_defaults(do=grow)
    return made


if __name__ == "__main__":
    arguments = build_parser().parse_args(sys.argv[1:] or ["run"])
    arguments.do(arguments)
