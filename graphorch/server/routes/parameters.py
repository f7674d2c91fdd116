"""Parameters that several queries have: times, tags and runs, and how a wrong one is refused."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from graphorch.server.problems import Problem
from graphorch.text import is_name, is_run_id

Seconds: TypeAlias = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
"""A time in seconds since 1970."""


def parse_tag(tag: str) -> tuple[str, str]:
    """Return name and value of a tag that is written as `name=value`. Raises `Problem`."""
    name, separator, value = tag.partition("=")
    if not separator or not is_name(name) or not is_name(value):
        raise refuse_parameter("tag", f"'{tag[:80]}' is not a tag. Write name=value.")
    return name, value


def refuse_parameter(name: str, detail: str) -> Problem:
    """Return the problem of a parameter that does not fit, with its name."""
    mistake = {"where": f"/{name}", "what": detail}
    return Problem(422, "input", f"{name}: {detail}", extra={"mistakes": [mistake]})


def require_run_id(name: str, run_id: str) -> str:
    """Return a parameter that is the id of a run. Raises `Problem` for what is none."""
    if not is_run_id(run_id):
        raise refuse_parameter(name, f"{run_id!r:.80} is not the id of a run.")
    return run_id
