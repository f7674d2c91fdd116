"""A day's order book, three levels deep: house, departments, teams; each level reports upwards.

    graphorch run graphs/order_fulfilment.py
    graphorch run graphs/order_fulfilment.py --input @book.json --usd 0.50

    order_fulfilment    allocate → orders, purchasing → close_day
    orders              accept → fulfilment, billing, care → close_order    once for each order,
                                                                            eight at a time
    orders/fulfilment   release → stock, carrier → dispatch

A failure names its whole path, such as `orders[3]/fulfilment/release`, and so do the trace and the
metadata of model calls. An order that fails is reported, and the others continue. Only `care` calls
a model: what can be computed is computed. Offline its messages are sentences of our terms.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from graphorch import Graph, Missing, agent, node

Lines = dict[str, int]  # pieces of each article
SAMPLES = Path(__file__).with_name("samples")
TERMS = SAMPLES.joinpath("shop_terms.md").read_text("utf-8")


class Article(BaseModel):
    price: float = Field(ge=0)
    kg: float = Field(gt=0)
    reorder_below: int = 0


class Order(BaseModel):
    number: int
    customer: str
    country: str
    lines: Lines = Field(min_length=1)
    note: str = ""


class Book(BaseModel):
    stock: Lines
    articles: dict[str, Article]
    orders: list[Order] = Field(min_length=1, max_length=200)


class Case(Order):
    """Order with the pieces that were set aside for it."""

    reserved: Lines = {}
    articles: dict[str, Article] = {}


class Allocated(BaseModel):
    cases: list[Case] = []
    left: Lines = {}


class Picked(BaseModel):
    picked: str = ""


class Booked(BaseModel):
    booked: str = ""


class Dispatch(BaseModel):
    dispatch: str = ""


class Invoice(BaseModel):
    invoice: str = ""


class Message(BaseModel):
    message: str = ""


class Closed(BaseModel):
    closed: str = ""


class Closings(BaseModel):
    closings: list[str] = []


class Purchases(BaseModel):
    purchases: list[str] = []


class Day(BaseModel):
    day: str


class Shipping(Case, Picked, Booked, Dispatch): ...


class Handling(Case, Dispatch, Invoice, Message, Closed): ...


class House(Book, Allocated, Closings, Purchases, Day): ...


@node
def release(case: Case) -> None:
    if unknown := sorted(case.lines.keys() - case.articles.keys()):
        raise ValueError(f"order {case.number} has unknown articles: {', '.join(unknown)}")


@node
def stock(case: Case) -> Picked:
    later = [
        f"{count - case.reserved[article]} × {article}"
        for article, count in case.lines.items()
        if count > case.reserved[article]
    ]
    now = (
        ", ".join(f"{count} × {article}" for article, count in case.reserved.items() if count)
        or "nothing"
    )
    return Picked(picked=f"{now}; later {', '.join(later)}" if later else now)


@node
def carrier(case: Case) -> Booked:
    kg = sum(
        case.articles[article].kg * count
        for article, count in case.reserved.items()
        if article in case.articles
    )
    if not kg:
        parcel = "no parcel"
    elif kg > 30:
        parcel = "pallet"
    elif kg > 2:
        parcel = "parcel"
    else:
        parcel = "letter box"
    return Booked(booked=f"{parcel} to {case.country}, {kg:.1f} kg")


@node
def dispatch(picked: Picked, booked: Booked) -> Dispatch:
    return Dispatch(dispatch=f"{picked.picked} ({booked.booked})")


@node
def accept(case: Case) -> Closed:
    return Closed(closed=f"{case.number} {case.customer}")


@node
def billing(case: Case) -> Invoice:
    amount = sum(
        item.price * case.reserved.get(article, 0) for article, item in case.articles.items()
    )
    return Invoice(invoice=f"EUR {amount:,.2f}")


@agent(
    output=Message,
    instructions="You answer notes in two sentences, and promise only what the terms say.",
    max_tokens=300,
    timeout=60,
)
def care(case: Case) -> str:
    task = case.note or "Say in two sentences what leaves today, and what is late."
    return f"Terms:\n{TERMS}\n\nTask: {task}"


@node
def close_order(closed: Closed, dispatch: Dispatch, invoice: Invoice, message: Message) -> Closed:
    done = f"{dispatch.dispatch}; invoice {invoice.invoice}"
    answer = " ".join(message.message.split())
    return Closed(closed=f"{closed.closed}: {done}\n  {answer}")


@node
def allocate(book: Book) -> Allocated:
    """Set pieces aside, first come, first served.

    It happens before anything runs side by side, so that no piece is promised twice.
    """
    left, cases = dict(book.stock), list[Case]()
    for order in book.orders:
        reserved = {
            article: min(count, left.get(article, 0)) for article, count in order.lines.items()
        }
        left = {article: count - reserved.get(article, 0) for article, count in left.items()}
        cases.append(Case(**order.model_dump(), reserved=reserved, articles=book.articles))
    return Allocated(cases=cases, left=left)


@node
def purchasing(book: Book, allocated: Allocated) -> Purchases:
    low = {
        article: count
        for article, count in allocated.left.items()
        if article in book.articles and count < book.articles[article].reorder_below
    }
    return Purchases(purchases=[f"{article}: {count} left" for article, count in low.items()])


@node
def close_day(closings: Closings, purchases: Purchases) -> Day:
    orders = [f"- {closing}" for closing in closings.closings]
    to_order = [f"- {purchase}" for purchase in purchases.purchases]
    return Day(day="\n".join(["Orders", *orders, "", "To be ordered", *to_order]))


def same_case(state: Handling) -> Case:
    return Case(**state.model_dump(include=set(Case.model_fields)))


def dispatched(dispatch: Dispatch) -> Dispatch:
    return dispatch


def cases_of(allocated: Allocated) -> list[Case]:
    return allocated.cases


def closings_of(items: list[Closed], missing: list[Missing]) -> Closings:
    done = [item.closed for item in items]
    failed = [f"order {item.index + 1} of the book FAILED: {item.reason}" for item in missing]
    return Closings(closings=[*done, *failed])


fulfilment = (
    Graph("fulfilment", Shipping, input=Case, output=Dispatch)
    .hierarchy(release, [stock, carrier], dispatch)
    .build()
)
order = Graph("order", Handling, input=Case, output=Closed)
order.hierarchy(
    accept,
    [order.sub("fulfilment", fulfilment, enter=same_case, leave=dispatched), billing, care],
    close_order,
    shares={care: 0.5},
)
graph = Graph("order_fulfilment", House, input=Book, output=Day)
orders = graph.map(
    "orders",
    order.build(),
    over=cases_of,
    gather=closings_of,
    max_items=200,
    on_item_error="collect",
)
flow = graph.hierarchy(allocate, [orders, purchasing], close_day).build()
sample = Book.model_validate_json(SAMPLES.joinpath("order_book.json").read_text("utf-8"))


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")
