"""A small state for the tests of graphs as their authors write them."""

from __future__ import annotations

from pydantic import BaseModel


class Item(BaseModel):
    item: str = ""


class Items(BaseModel):
    items: list[Item] = []


class Text(BaseModel):
    text: str = ""


class State(Item, Items, Text): ...
