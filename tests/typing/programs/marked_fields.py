"""Fields that are marked: to a type checker they are what they were, and a graph is proved when it is built."""

from __future__ import annotations

from typing import Annotated, assert_type

from pydantic import BaseModel

from graphorch import Graph, Secret, Untrusted, append, node


class Page(BaseModel):
    text: Untrusted[str] = ""
    links: list[Untrusted[str]] = []
    title: Untrusted[str] | None = None
    notes: Annotated[Untrusted[list[str]], append] = []


class Login(BaseModel):
    token: Secret[str] = ""
    pin: Secret[int] | None = None


class Count(BaseModel):
    words: int = 0


class State(Page, Login, Count): ...


@node
def fetch(login: Login) -> Page:
    assert_type(login.token, str)
    assert_type(login.pin, int | None)
    return Page(text=f"{len(login.token)} words", links=["a"], title=None, notes=["n"])


@node(declassify="a number of words is no text and no token")
def count(page: Page) -> Count:
    assert_type(page.text, str)
    assert_type(page.links, list[str])
    assert_type(page.title, str | None)
    assert_type(page.notes, list[str])
    return Count(words=len(page.text.split()))


@node(effect="once")
def charge(count: Count) -> Count:
    return Count(words=count.words + 1)


flow = Graph("pages", State, input=Login, output=Count).chain(fetch, count, charge).build()
ANSWER = 3


def main() -> int:
    return flow.run_sync(Login(token="abc")).output.words
