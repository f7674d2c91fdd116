"""A room that only one node may be in, and nodes that visit it, for tests of exclusive regions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import BaseModel

from graphorch import Context, append, node


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Number(BaseModel):
    n: int = 0


class Room:
    """What only one node may be in: it fails the test if a second one enters."""

    def __init__(self) -> None:
        self.inside: str = ""
        self.visits: list[str] = []

    async def visit(self, path: str, seconds: float = 1.0) -> None:
        assert not self.inside, f"{path} entered while {self.inside} was inside"
        self.inside = path
        try:
            await asyncio.sleep(seconds)
            self.visits.append(path)
        finally:
            self.inside = ""


def member(name: str, **options: Any) -> Any:
    @node(name=name, **options)
    async def visit(ctx: Context[Room], number: Number) -> Log:
        await ctx.resources.visit(ctx.path)
        return Log(log=[name])

    return visit
