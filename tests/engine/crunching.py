"""Nodes that run in worker processes: each does a single thing that a process may do.

The tests and the worker processes both import this module.
"""

from __future__ import annotations

import ctypes
import datetime
import enum
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, SecretStr

from graphorch import Failure, ModelError, Retry, node


class Number(BaseModel):
    n: int = 0


class Square(BaseModel):
    square: int = 0


class Who(BaseModel):
    pids: list[int] = []


class Blob(BaseModel):
    blob: bytes = b""
    ratio: float = 0.0
    anything: Any = None


class Report(BaseModel):
    report: str = ""


class Place(BaseModel):
    place: str = ""


class Level(enum.StrEnum):
    LOW = "low"


class Luggage(BaseModel):
    when: datetime.datetime = datetime.datetime(2026, 3, 28, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    clock: datetime.time = datetime.time(12, tzinfo=ZoneInfo("Europe/Berlin"))
    key: SecretStr = SecretStr("key-123")
    recent: deque[int] = deque([1], maxlen=1)
    counts: Counter[str] = Counter("aab")
    level: Level = Level.LOW
    free: dict[str, Any] = {"level": Level.LOW, "pair": (1, {2}), "counts": Counter("a")}
    cents: Annotated[int, BeforeValidator(lambda value: round(value * 100))] = 1999
    masked: Annotated[str, PlainSerializer(lambda value: "***")] = "card"
    user_id: int = Field(default=7, alias="userId", exclude=True)
    beside: list[int] = [1]


class Work(Number, Square, Who, Blob, Report, Place, Luggage): ...


class Flaky(Exception):
    """Error of the user's own, with something to read in it."""

    def __init__(self, code: int, *, why: str) -> None:
        self.code = code
        super().__init__(f"code {code}: {why}")


class TooSmall(ValueError):
    """Special kind of ValueError."""


RAISED: list[Exception] = [
    ValueError("seven"),
    TooSmall("eight"),
    Flaky(9, why="tired"),
    KeyError("ten"),
    ModelError("busy", model="m", retryable=True, status=429),
    FileNotFoundError(2, "No such file", "x"),
    ZeroDivisionError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
]
process: Any = node(isolation="process")


@process
def square(n: Number) -> Square:
    return Square(square=n.n * n.n)


@process
def who(n: Number) -> Who:
    return Who(pids=[os.getpid()])


@process
def talk(n: Number) -> Square:
    print('{"lines": 0}')
    os.write(1, b'{"lines": 0}\n')
    subprocess.run([sys.executable, "-S", "-c", "print('loud')"], check=True)
    return Square(square=len(sys.stdin.read()) + 1)


@process
def echo(b: Blob) -> Blob:
    return Blob(blob=b.blob[::-1], ratio=math.nan if math.isinf(b.ratio) else b.ratio)


@process
def travel(luggage: Luggage) -> Report:
    later = luggage.when + datetime.timedelta(days=1)
    return Report(report=f"{luggage!r} {luggage.key.get_secret_value()} {later.isoformat()}")


@process
def unpack(luggage: Luggage) -> Luggage:
    return Luggage(when=luggage.when, key=luggage.key, recent=luggage.recent, masked="again")


@process
def change(n: Number) -> Number:
    n.n += 1
    return n


@process
def pair(n: Number, s: Square) -> tuple[Number, Square]:
    return Number(n=s.square), Square(square=n.n)


@process
def skip(n: Number) -> Square | None:
    return None


@process
def silent(n: Number) -> None: ...


@process
def maybe(n: Number, t: Report | None) -> Square:
    return Square(square=0 if t is None else len(t.report))


@process
def fail(n: Number) -> Square:
    raise [*RAISED, SystemExit(3), ExceptionGroup("two", [ValueError("a"), ValueError("b")])][n.n]


@process
def die(n: Number) -> Square:
    if n.n == 0:
        os._exit(3)
    if n.n == 1:
        ctypes.string_at(0)
    os.kill(os.getpid(), n.n)
    return Square()


@process
def hang(p: Place) -> Square:
    """Write the ids of this process and of a child, and run forever; leave a file on SIGTERM."""
    child = subprocess.Popen(["sleep", "600"])
    Path(p.place).write_text(f"{os.getpid()} {child.pid}")
    try:
        while True:
            time.sleep(0.01)
    finally:
        Path(p.place).with_suffix(".unwound").touch()


@process
def deaf(p: Place) -> Square:
    """Write the id of this process, and run for long without listening to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(p.place).write_text(f"{os.getpid()}")
    time.sleep(600)
    return Square()


@process
def wrong(n: Number) -> Square:
    return [3, Number(n=1), Square.model_construct(square="many"), Blob(anything=(1, 2))][n.n]  # type: ignore[return-value]


@process
def lossy(n: Number) -> Blob:
    return Blob(anything=Number(n=1))


@process
def handle(f: Failure, n: Number) -> Report:
    return Report(report=f"{f.error}: {f.message}")


@node(isolation="process", retry=Retry(3, on=(Flaky,), first=0.0))
def stubborn(p: Place) -> Square:
    path = Path(p.place)
    tries = len(path.read_text()) if path.exists() else 0
    path.write_text("x" * (tries + 1))
    if tries < 2:
        raise Flaky(tries, why="again")
    return Square(square=tries)


class Tools:
    @staticmethod
    def triple(n: Number) -> Square:
        return Square(square=3 * n.n)


triple: Any = process(Tools.triple)


@node(isolation="process")
def exits(number: Number) -> Number:
    sys.exit(number.n)
