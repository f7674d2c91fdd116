"""Fresh process that measures a workload of a system, and prints a line of JSON for each size.

Started by `rounds`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import sys
import time
import traceback
import warnings
from typing import Any

import pydantic

from tests.benchmarks.measuring import Figures, measure_workload
from tests.benchmarks.systems import System, select_systems
from tests.benchmarks.workloads import Size, Workload, select_workloads

QUIET = {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OTEL_SDK_DISABLED": "true",
    "DO_NOT_TRACK": "1",
    "LOGFIRE_IGNORE_NO_CONFIG": "1",
}


def measure_import(system: System) -> Figures:
    """Return the seconds of importing the names to build a graph, after pydantic is imported."""
    assert pydantic.BaseModel
    name, _, wanted = system.imports.partition(":")
    cpu, wall = time.process_time(), time.perf_counter()
    module = importlib.import_module(name)
    for part in wanted.split():
        getattr(module, part)
    return Figures(
        [time.perf_counter() - wall], [time.process_time() - cpu], {"modules": len(sys.modules)}
    )


def load_programs(system: System) -> Any:
    """Return the programs of a system."""
    module = importlib.import_module(f"tests.benchmarks.{system.module}")
    return module.Programs(is_watched=True) if system.is_watched else module.Programs()


def measure_row(system: System, workload: Workload, size: Size, seconds: float) -> dict[str, Any]:
    """Return a measurement, or the reason why there is none."""
    if workload.kind == "import":
        return measure_import(system).as_row(workload.scale)
    module = importlib.import_module(f"tests.benchmarks.{system.module}")
    why = module.CANNOT.get(workload.program) or module.CANNOT.get(f"{workload.program}:{size}")
    if why is not None:
        return {"cannot": why}
    try:
        figures = asyncio.run(measure_workload(load_programs(system), workload, size, seconds))
    except Exception as error:
        return {
            "error": f"{type(error).__name__}: {error}"[:500],
            "trace": traceback.format_exc()[-2000:],
        }
    return figures.as_row(workload.scale / workload.count(size))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("workload")
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    (system,), (workload,) = select_systems(given.system), select_workloads(given.workload)
    os.environ.update(QUIET)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for size in workload.sizes:
        print(
            json.dumps({"size": size, **measure_row(system, workload, size, given.seconds)}),
            flush=True,
        )
    sys.stdout.flush()
    os._exit(0)  # threads that a system leaves behind do not hold the round


if __name__ == "__main__":
    main()
