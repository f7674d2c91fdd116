"""A fan-out: two fixed reviewers side by side, and beside them one reader per page of a list that is known only when it runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from graphorch import Graph, Missing, append, node


class Page(BaseModel):
    number: int
    text: str = ""


class Note(BaseModel):
    note: str


class Book(BaseModel):
    pages: list[Page]


class Remarks(BaseModel):
    remarks: Annotated[list[str], append] = []


class Lost(BaseModel):
    lost: int = 0


class Summary(BaseModel):
    summary: str


class Review(Book, Remarks, Lost, Summary): ...


@node
def check_length(b: Book) -> Remarks:
    return Remarks(remarks=[f"{len(b.pages)} pages"])


@node
def check_title(b: Book) -> Remarks:
    return Remarks(remarks=["no title"] if not b.pages[0].text.istitle() else [])


@node(isolation="inline")
def read_page(p: Page) -> Note:
    if not p.text:
        raise ValueError("an empty page")
    return Note(note=f"p{p.number}")


@node
def conclude(r: Remarks, m: Lost) -> Summary:
    return Summary(summary=f"{', '.join(r.remarks)}; {m.lost} lost")


def pages_of(b: Book) -> list[Page]:
    return b.pages


def noted(found: list[Note], missing: list[Missing]) -> Lost:
    return Lost(lost=len(missing))


review = Graph("review", Review, input=Book, output=Summary)
readers = review.map("readers", read_page, over=pages_of, gather=noted, max_items=50, concurrency=4, on_item_error="collect")
review.chain([check_length, check_title, readers], conclude)
flow = review.build()

# A node may be made in the call that connects it.
inline = Graph("inline", Review, input=Book, output=Lost)
inline.chain(check_length, inline.map("readers", read_page, over=pages_of, gather=noted, max_items=50, on_item_error="collect"))



# A map may end as soon as its results are enough, and a result may add items.
def is_enough(found: list[Note]) -> bool:
    return len(found) == 3


def next_pages(found: Note) -> list[Page]:
    return [Page(number=9, text="one more")] if found.note == "p1" else []


def counted(found: list[Note]) -> Lost:
    return Lost(lost=len(found))


searching = Graph("searching", Review, input=Book, output=Lost)
searching.chain(searching.map("readers", read_page, over=pages_of, gather=counted, max_items=50, until=is_enough, grow=next_pages))
short = Graph("short", Review, input=Book, output=Lost)
short.chain(short.map("readers", read_page, over=pages_of, gather=counted, max_items=50, until=lambda found: found[0].note == "p1", grow=lambda found: [Page(number=len(found.note))]))

ANSWER = "3 pages, no title; 1 lost"


def main() -> str:
    pages = [Page(number=1, text="a beginning"), Page(number=2), Page(number=3, text="an end")]
    return flow.run_sync(Book(pages=pages)).output.summary
