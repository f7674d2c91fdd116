"""Tools that run in worker processes: the tests and these processes both import this module."""

from __future__ import annotations

import os
import time

from graphorch import tool


class NoSuchPlace(LookupError):
    """What a tool tells its model."""


def measure(place: str, hour: int = 12) -> str:
    """Measure the water at a place."""
    if place == "nowhere":
        raise NoSuchPlace(f"no {place}")
    return f"{place} at {hour}"


@tool(effect="pure", isolation="process", tells=NoSuchPlace)
def measure_apart(place: str, hour: int = 12) -> str:
    """Measure the water at a place, in a process of its own."""
    return measure(place, hour)


@tool(effect="pure", isolation="process")
def find_process() -> int:
    """Return the number of the process."""
    return os.getpid()


@tool(effect="once", isolation="process", timeout=0.3)
def hang() -> str:
    """Do not return in time."""
    time.sleep(60)
    return ""


@tool(effect="once", isolation="process")
def die() -> str:
    """End the process."""
    os._exit(3)
