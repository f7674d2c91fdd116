"""Workloads with their sizes and units, and the targets that graphorch is held to.

No system is known here. The programs of a system (`by_asyncio.py` and its neighbours) have a method
for each workload, named by `program`, which takes the size and returns a `Job`. A missing method
means that the system cannot express the workload, and `CANNOT` gives the reason.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

Size: TypeAlias = int | str
Kind: TypeAlias = Literal["repeat", "concurrent", "error", "durable", "build", "import"]


@dataclass(frozen=True, slots=True)
class Job:
    """Run of a workload, which can be repeated.

    `check` holds for a right answer; a wrong answer is an error, never a figure. `before` and
    `after` surround each run and are not timed; `after` gets the result of the run.
    """

    run: Callable[[], Awaitable[Any]]
    check: Callable[[Any], bool]
    before: Callable[[], Awaitable[None]] | None = None
    after: Callable[[Any], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """Workload with its sizes and its targets, which are for the last size.

    A figure is the time of a run divided by `count(size)`, in `unit`. `units` is that count if it
    is not the size: 1 for the whole run. `clock` is the time that is compared: that of the
    processor, which other work on the machine disturbs least, or that on the wall if a run sleeps
    or waits for a disk.

    Targets:
    - `hand`: at most so many times the hand-written program;
    - `peer`: at least so many times faster than the best of the others;
    - `most`: at most so much in the unit;
    - `hand_bytes`: at most so many times the bytes of a bare log;
    - `kib`: at most so many KiB a run.
    """

    name: str
    title: str
    program: str
    sizes: tuple[Size, ...]
    unit: str
    kind: Kind = "repeat"
    units: int | None = None
    hand: float | None = None
    peer: float | None = None
    most: float | None = None
    hand_bytes: float | None = None
    kib: float | None = None
    clock: Literal["cpu", "wall"] = "cpu"

    def count(self, size: Size) -> int:
        """Return the number of nodes, branches, rounds or items of a run of this size."""
        return parse_number(size) if self.units is None else self.units

    @property
    def scale(self) -> float:
        """Factor from seconds to the unit."""
        return 1e3 if self.unit.startswith("ms") else 1e6

    def titled(self, size: Size) -> str:
        """Return the title with a size in it."""
        return self.title.format(size=f"{size:,}" if isinstance(size, int) else size)


def parse_number(size: Size) -> int:
    """Return the number in a size such as 1000 or "full/200"."""
    return size if isinstance(size, int) else int(size.rpartition("/")[2])


# rounds of a run of W13, and nodes of one of W14: the size is what lies around them
IDLE_ROUNDS = 500
FIELD_NODES = 100

WORKLOADS = (
    Workload(
        "W1",
        "chain of {size} nodes",
        "chain",
        (10, 100, 1000),
        "µs a node",
        hand=8,
        peer=25,
        most=3,
    ),
    Workload(
        "W2",
        "fan-out to {size} branches",
        "fan_out",
        (10, 100, 1000),
        "µs a branch",
        hand=2.5,
        peer=12,
    ),
    Workload(
        "W3", "loop of two nodes, {size} rounds", "loop", (100, 1000), "µs a round", hand=6, peer=30
    ),
    Workload(
        "W4",
        "two lanes of unequal nodes ({size})",
        "dag",
        ("lanes",),
        "ms",
        units=1,
        hand=1.03,
        peer=1,
        clock="wall",
    ),
    Workload(
        "W4b",
        "graph of 64 sleeping nodes ({size})",
        "dag",
        ("layered",),
        "ms",
        units=1,
        hand=1.03,
        peer=1,
        clock="wall",
    ),
    Workload(
        "W5",
        "{size} concurrent runs of five sleeping nodes",
        "sleepers",
        (1000,),
        "µs a run",
        "concurrent",
        hand=1.4,
        peer=6,
        kib=6,
        clock="wall",
    ),
    Workload(
        "W5b",
        "{size} concurrent runs of five sleeping nodes",
        "sleepers",
        (5000,),
        "µs a run",
        "concurrent",
        hand=1.4,
        peer=6,
        kib=6,
        clock="wall",
    ),
    Workload(
        "W6", "router to one of {size}", "router", (10,), "µs a run", units=1, hand=6, peer=15
    ),
    Workload(
        "W7",
        "chain of {size} on a state of 300 fields, 1 MB",
        "wide",
        (20,),
        "µs a node",
        hand=2.5,
        peer=15,
    ),
    Workload(
        "W8",
        "durable history of 1 KB a step, WAL, sync={size} steps",
        "durable",
        ("normal/20", "normal/200"),
        "µs a step",
        "durable",
        peer=20,
        hand_bytes=1.3,
        clock="wall",
    ),
    Workload(
        "W8b",
        "durable history of 1 KB a step, WAL, sync={size} steps",
        "durable",
        ("full/20", "full/200"),
        "µs a step",
        "durable",
        peer=5,
        hand_bytes=1.3,
        clock="wall",
    ),
    Workload("W9", "map over {size} items", "map_items", (10, 1000), "µs an item", hand=3, peer=10),
    Workload(
        "W10", "building a chain of {size} nodes", "chain", (100,), "ms", "build", units=1, most=10
    ),
    Workload(
        "W10b", "importing it, pydantic being there", "", (1,), "ms", "import", units=1, most=60
    ),
    Workload(
        "W11",
        "an error among {size} sleeping branches reaches the caller",
        "error",
        (100,),
        "ms",
        "error",
        units=1,
        hand=2,
        peer=1,
        clock="wall",
    ),
    Workload(
        "W12",
        "three levels of ten, {size} leaves",
        "nested",
        (1000,),
        "µs a leaf",
        hand=2.5,
        peer=10,
    ),
    Workload(
        "W13",
        "a round of one node among {size} idle nodes",
        "idle",
        (0, 100, 800),
        "µs a round",
        units=IDLE_ROUNDS,
    ),
    Workload(
        "W14",
        "chain of 100 nodes on a state of {size} fields",
        "fields",
        (1, 100, 500),
        "µs a node",
        units=FIELD_NODES,
    ),
    Workload(
        "W15",
        "a lane of {size} nodes beside a lane of one, and a join",
        "unbalanced",
        (100, 1000),
        "µs a node",
    ),
    Workload(
        "W16", "loop that appends to a history, {size} rounds", "history", (500, 5000), "µs a round"
    ),
    Workload(
        "W17",
        "first event of a chain of {size} nodes",
        "first_event",
        (100,),
        "µs",
        units=1,
        clock="wall",
    ),
    Workload(
        "W18",
        "resuming a run after {size} journaled steps",
        "resume",
        (10, 100, 1000),
        "ms",
        "durable",
        units=1,
        clock="wall",
    ),
)


def select_workloads(names: str) -> tuple[Workload, ...]:
    """Return the workloads with these names, separated by commas; all for an empty text.

    Raises `SystemExit` for an unknown name.
    """
    known = {workload.name: workload for workload in WORKLOADS}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no workload {', '.join(unknown)}. Workloads: {', '.join(known)}")
    return tuple(known[name] for name in wanted) if wanted else WORKLOADS


# ---- what programs of every system share ---------------------------------------------------------
def build_message(index: int) -> str:
    """Return an entry of a history: 1 KB, and unlike every other."""
    return f"{index:06d}" + "m" * 994


WIDE_FIELDS = 300
WIDE_VALUE = "v" * 3495  # 300 of them are 1 MB


@dataclass(frozen=True, slots=True)
class Dag:
    """Graph of sleeping nodes in topological order, with their parents and seconds."""

    parents: dict[str, tuple[str, ...]]
    seconds: dict[str, float]
    layers: tuple[tuple[str, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all nodes."""
        return tuple(self.parents)

    def children(self) -> dict[str, list[str]]:
        """Return the children of each node, which wait for it."""
        children: dict[str, list[str]] = {name: [] for name in self.parents}
        for name, parents in self.parents.items():
            for parent in parents:
                children[parent].append(name)
        return children

    def critical_path(self) -> float:
        """Return the seconds that no order of execution can beat."""
        ends: dict[str, float] = {}
        for name, parents in self.parents.items():
            ends[name] = self.seconds[name] + max((ends[parent] for parent in parents), default=0.0)
        return max(ends.values())


def build_dag(size: str) -> Dag:
    """Return the graph of a size.

    `lanes`: ten nodes of 5 ms in a row beside a node of 50 ms. `layered`: eight layers of eight
    nodes with two parents each, of which about an eighth take 50 ms.
    """
    if size == "lanes":
        parents: dict[str, tuple[str, ...]] = {
            f"a{index}": (f"a{index - 1}",) if index else () for index in range(10)
        } | {"b0": ()}
        seconds = {name: 0.05 if name == "b0" else 0.005 for name in parents}
        return Dag(parents, seconds, (("a0", "b0"), *((f"a{index}",) for index in range(1, 10))))
    rng = random.Random(11)
    layers = tuple(tuple(f"n{layer}_{index}" for index in range(8)) for layer in range(8))
    parents = dict.fromkeys(layers[0], ())
    for above, layer in pairwise(layers):
        parents |= {name: tuple(sorted(rng.sample(above, 2))) for name in layer}
    return Dag(parents, {name: 0.05 if rng.random() < 0.125 else 0.005 for name in parents}, layers)


class Broken(Exception):
    """Error of the failing branch of W11, and of the last node of W18."""
