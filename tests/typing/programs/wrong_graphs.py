"""Graphs that do not fit together. A tag says who refuses the block, the comment `# wrong` on which line."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import BaseModel

from graphorch import END, START, Failure, Flow, Graph, Missing, node


class Order(BaseModel):
    order: str


class Bill(BaseModel):
    bill: str = ""


class Kind(BaseModel):
    kind: Literal["new", "old"] = "new"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(Enum):
    BIG = "big"


class Paint(BaseModel):
    paint: Colour = Colour.RED


class Item(BaseModel):
    name: str


class Priced(BaseModel):
    price: int


class Items(BaseModel):
    items: list[Item] = []


class Total(BaseModel):
    total: int = 0


class Shop(Order, Bill, Kind, Paint, Items, Total): ...


class Foreign(BaseModel):
    foreign: int = 0


@node
def take(o: Order) -> Kind:
    return Kind()


@node
def write(o: Order) -> Bill:
    return Bill(bill=o.order)


@node
def check(b: Bill) -> Total:
    return Total(total=len(b.bill))


@node
def price(i: Item) -> Priced:
    return Priced(price=len(i.name))


@node
def roam(f: Foreign) -> Foreign:
    return f


def kind_of(k: Kind) -> Literal["new", "old"]:
    return k.kind


def paint_of(p: Paint) -> Colour:
    return p.paint


def kinds_of(k: Kind) -> set[Literal["new", "old"]]:
    return {k.kind}


def is_low(t: Total) -> bool:
    return t.total < 3


def items_of(i: Items) -> list[Item]:
    return i.items


def sum_of(found: list[Priced]) -> Total:
    return Total(total=sum(one.price for one in found))


def shop() -> Graph[Shop, Order, Bill]:
    return Graph("shop", Shop, input=Order, output=Bill)


def pricing() -> Flow[Item, Priced]:
    class Pricing(Item, Priced): ...

    return Graph("pricing", Pricing, input=Item, output=Priced).chain(price).build()


# ---- chain, join, names ----------------------------------------------------------------------


# G01: [pyright mypy build:SLICE_MISSING] a foreign node among several side by side
def g01() -> object:
    return shop().chain(take, [write, roam], check).build()  # wrong


# G02: [pyright mypy build:NOT_A_NODE] a function that is no node
def g02() -> object:
    return shop().chain(write, is_low).build()  # wrong


# G03: [pyright mypy build:NOT_A_NODE] the name of a node instead of the node
def g03() -> object:
    return shop().chain(START, write, "check").build()  # wrong


# G04: [pyright mypy build:JOIN_OPTION] a word that a join does not know
def g04() -> object:
    return shop().chain([take, write], check).join(check, need="most").build()  # wrong


# G05: [pyright mypy build:JOIN_OPTION] what a join does when too few arrive
def g05() -> object:
    return shop().chain([take, write], check).join(check, need=1, short="skip").build()  # wrong


# G98: [pyright mypy build:JOIN_OPTION] what becomes of the losers of a join
def g98() -> object:
    return shop().chain([take, write], check).join(check, need=1, rest="stop").build()  # wrong


# G99: [build:MAP_OPTION] losers of a map that needs all of its items
def g99() -> object:
    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, rest="finish")
    return graph.chain(prices, write).build()


# G06: [pyright build:SLICE_MISSING] the input is no slice of the state
def g06() -> object:
    return Graph("shop", Shop, input=Foreign, output=Bill).chain(check).build()  # wrong


# G07: [pyright build:SLICE_MISSING] the output is no slice of the state
def g07() -> object:
    return Graph("shop", Shop, input=Order, output=Foreign).chain(write, check).build()  # wrong


# G08: [pyright mypy] the flow of a graph has the graph's types
def g08() -> Flow[Order, Total]:
    return shop().chain(write).build()  # wrong


# G09: [pyright mypy build:NOT_A_MODEL] an input that is no model: an instance, where the class is meant
def g09() -> object:
    return Graph("shop", Shop, input=Order(order=""), output=Bill).chain(write).build()  # wrong


# ---- routes ----------------------------------------------------------------------------------


# G10: [pyright build:ROUTE_INCOMPLETE] a label of a `Literal` without a target
def g10() -> object:
    graph = shop()
    graph.route(take, kind_of).when("new", write).exhaustive()  # wrong
    return graph.build()


# G11: [pyright build:ROUTE_LABEL] a label that the selector never returns
def g11() -> object:
    graph = shop()
    graph.route(take, kind_of).when("newer", write).otherwise(END)  # wrong
    return graph.build()


# G12: [pyright mypy build:ROUTE_LABEL] a member of another enum
def g12() -> object:
    graph = shop()
    graph.route(take, paint_of).when(Size.BIG, write).otherwise(END)  # wrong
    return graph.build()


# G13: [build:ROUTE_INCOMPLETE] a member of an enum without a target
def g13() -> object:
    graph = shop()
    graph.route(take, paint_of).when(Colour.RED, write).exhaustive()
    return graph.build()


# G14: [pyright build:ROUTE_INCOMPLETE] a label of several at once without a target
def g14() -> object:
    graph = shop()
    graph.route(take, kinds_of).when("new", write).exhaustive()  # wrong
    return graph.build()


# G15: [pyright mypy build:SLICE_MISSING] a selector that reads a slice that the state lacks
def g15() -> object:
    def foreign(f: Foreign) -> Literal["a"]:
        return "a"

    graph = shop()
    graph.route(take, foreign).when("a", write).exhaustive()  # wrong
    return graph.build()


# G16: [pyright build:ROUTE_SELECTOR] a selector that returns any text
def g16() -> object:
    def free(k: Kind) -> str:
        return k.kind

    graph = shop()
    graph.route(take, free).when("new", write).otherwise(END)  # wrong
    return graph.build()


# G17: [pyright mypy build:SLICE_MISSING] a route to a node that does not fit
def g17() -> object:
    graph = shop()
    graph.route(take, kind_of).when("new", roam).otherwise(write)  # wrong
    return graph.build()


# G18: [build:ROUTE_OPEN] a route that is not closed
def g18() -> object:
    graph = shop()
    graph.route(take, kind_of).when("new", write).when("old", write)
    return graph.build()


# G19: [pyright mypy build:PURE_SIGNATURE] a selector that waits
def g19() -> object:
    async def slow(k: Kind) -> Literal["new", "old"]:
        return k.kind

    graph = shop()
    graph.route(take, slow).when("new", write).otherwise(END)  # wrong
    return graph.build()


# G20: [build:ROUTE_LABEL_TWICE] a label with two targets, one after the other
def g20() -> object:
    graph = shop()
    graph.route(take, kind_of).when("new", write).when("old", write).when("new", END).exhaustive()
    return graph.build()


# G21: [build:PURE_SIGNATURE] a selector that would have to think about what is not there
def g21() -> object:
    def of_perhaps(k: Kind | None) -> Literal["new", "old"]:
        return "new" if k is None else k.kind

    graph = shop()
    graph.route(take, of_perhaps).when("new", write).otherwise(END)
    return graph.build()


# ---- loops -----------------------------------------------------------------------------------


# G30: [pyright mypy build:SLICE_MISSING] a predicate over a slice that the state lacks
def g30() -> object:
    def strange(f: Foreign) -> bool:
        return f.foreign > 0

    return shop().chain(write, check, END).loop(check, back_to=write, while_=strange, max_iterations=3).build()  # wrong


# G31: [pyright mypy] a predicate that returns text
def g31() -> object:
    def text(b: Bill) -> str:
        return b.bill

    return shop().chain(write, check, END).loop(check, back_to=write, while_=text, max_iterations=3).build()  # wrong


# G32: [pyright raises:RunFailed] a lambda that misspells a field of the state
def g32() -> object:
    flow = shop().chain(write, check, END).loop(check, back_to=write, while_=lambda s: s.totl < 8, max_iterations=3).build()  # wrong
    return flow.run_sync(Order(order="x"))


# G33: [pyright mypy raises:WrongCall] a loop without a bound
def g33() -> object:
    return shop().chain(write, check, END).loop(check, back_to=write, while_=is_low).build()  # wrong


# G34: [pyright mypy build:LOOP_OPTION] a word for an exhausted loop that does not exist
def g34() -> object:
    return shop().chain(write, check, END).loop(check, back_to=write, while_=is_low, max_iterations=3, exhausted="stop").build()  # wrong


# G35: [pyright mypy build:ONE_NODE] a loop goes back to one node
def g35() -> object:
    return shop().chain(write, check, END).loop(check, back_to=[write, take], while_=is_low, max_iterations=3).build()  # wrong


# G36: [build:UNDECLARED_CYCLE] a way back that is no loop
def g36() -> object:
    return shop().chain(take, write, check, write).chain(check, END).build()


# G37: [build:LOOP_BOUND] a bound that is none
def g37() -> object:
    return shop().chain(write, check, END).loop(check, back_to=write, while_=is_low, max_iterations=0).build()


# ---- maps and sub-flows ----------------------------------------------------------------------


# G40: [pyright mypy build:MAP_RESULTS] a gather function of other results
def g40() -> object:
    def gather(found: list[Bill]) -> Total:
        return Total(total=len(found))

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=gather, max_items=9)  # wrong
    return graph.chain(prices, write).build()


# G41: [pyright mypy build:MAP_ITEMS] items that the worker does not take
def g41() -> object:
    def orders_of(o: Order) -> list[Order]:
        return [o]

    graph = shop()
    prices = graph.map("prices", price, over=orders_of, gather=sum_of, max_items=9)  # wrong
    return graph.chain(prices, write).build()


# G42: [pyright mypy build:MAP_WORKER] a worker of two slices
def g42() -> object:
    @node
    def of_two(i: Item, o: Order) -> Priced:
        return Priced(price=0)

    graph = shop()
    prices = graph.map("prices", of_two, over=items_of, gather=sum_of, max_items=9)  # wrong
    return graph.chain(prices, write).build()


# G43: [pyright mypy build:SLICE_MISSING] what the gather function makes is not in the state
def g43() -> object:
    def gather(found: list[Priced], missing: list[Missing]) -> Foreign:
        return Foreign(foreign=len(found))

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=gather, max_items=9, on_item_error="collect")
    return graph.chain(prices, write).build()  # wrong


# G44: [pyright mypy raises:WrongCall] a map without a bound
def g44() -> object:
    return shop().map("prices", price, over=items_of, gather=sum_of)  # wrong


# G45: [pyright mypy build:MAP_OPTION] a word for a failing item that does not exist
def g45() -> object:
    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, on_item_error="ignore")  # wrong
    return graph.chain(prices, write).build()


# G90: [pyright mypy build:MAP_UNTIL] an agreement about other results
def g90() -> object:
    def enough(found: list[Bill]) -> bool:
        return bool(found)

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, until=enough)  # wrong
    return graph.chain(prices, write).build()


# G91: [pyright mypy build:MAP_UNTIL] an agreement that returns a number
def g91() -> object:
    def count(found: list[Priced]) -> str:
        return str(len(found))

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, until=count)  # wrong
    return graph.chain(prices, write).build()


# G92: [pyright mypy build:MAP_GROW] results that add what the worker does not take
def g92() -> object:
    def more(found: Priced) -> list[Priced]:
        return [found]

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, grow=more)  # wrong
    return graph.chain(prices, write).build()


# G93: [pyright mypy build:MAP_GROW] a growth by all results instead of one
def g93() -> object:
    def more(found: list[Priced]) -> list[Item]:
        return []

    graph = shop()
    prices = graph.map("prices", price, over=items_of, gather=sum_of, max_items=9, grow=more)  # wrong
    return graph.chain(prices, write).build()


# G46: [pyright mypy build:SUB_ENTER] a sub-flow is entered with something else than its input
def g46() -> object:
    def enter(o: Order) -> Order:
        return o

    def leave(p: Priced) -> Total:
        return Total(total=p.price)

    graph = shop()
    sub = graph.sub("pricing", pricing(), enter=enter, leave=leave)  # wrong
    return graph.chain(sub, write).build()


# G47: [pyright mypy build:SUB_LEAVE] a sub-flow is left with something else than its output
def g47() -> object:
    def enter(o: Order) -> Item:
        return Item(name=o.order)

    def leave(b: Bill) -> Total:
        return Total(total=len(b.bill))

    graph = shop()
    sub = graph.sub("pricing", pricing(), enter=enter, leave=leave)  # wrong
    return graph.chain(sub, write).build()


# G48: [pyright mypy] a lambda that misspells a field of the inner output
def g48() -> object:
    graph = shop()
    sub = graph.sub("pricing", pricing(), enter=lambda s: Item(name=s.order), leave=lambda p: Total(total=p.prise))  # wrong
    return graph.chain(sub, write).build()


# G49: [pyright mypy build:NOT_A_FLOW] a sub-flow is a flow, not the graph of one
def g49() -> object:
    graph = shop()
    return graph.sub("shop", shop(), enter=lambda s: Order(order=s.order), leave=lambda b: Bill(bill=b.bill))  # wrong


# G50: [pyright mypy build:NOT_A_NODE] a worker that is no node
def g50() -> object:
    def work(i: Item) -> Priced:
        return Priced(price=0)

    return shop().map("prices", work, over=items_of, gather=sum_of, max_items=9)  # wrong


# ---- people and failures ---------------------------------------------------------------------


# G60: [pyright mypy build:ASK_QUESTION] a question is text
def g60() -> object:
    def number(b: Bill) -> int:
        return len(b.bill)

    graph = shop()
    ask = graph.ask("ask", question=number, answer=Total)  # wrong
    return graph.chain(write, ask).build()


# G61: [pyright mypy build:SLICE_MISSING] an answer that is not in the state
def g61() -> object:
    graph = shop()
    ask = graph.ask("ask", question=lambda s: s.bill, answer=Foreign)
    return graph.chain(write, ask).build()  # wrong


# G62: [pyright mypy build:NOT_A_MODEL] an answer is a model
def g62() -> object:
    return shop().ask("ask", question=lambda s: s.bill, answer=bool)  # wrong


# G63: [pyright mypy build:SLICE_MISSING] a handler that reads a slice that the state lacks
def g63() -> object:
    @node
    def handle(f: Failure, x: Foreign) -> Bill:
        return Bill(bill=f.message)

    return shop().chain(write, END).on_error(write, handle).build()  # wrong


# G64: [pyright mypy build:ERROR_TYPE] a handler for something that is no exception
def g64() -> object:
    return shop().chain(write, END).on_error(write, check, when=Failure).build()  # wrong


# G65: [build:FAILURE_READ] a failure is read by a handler only
def g65() -> object:
    @node
    def explain(f: Failure) -> Bill:
        return Bill(bill=f.message)

    return shop().chain(write, explain).build()


# G66: [pyright mypy build:NOT_A_NODE] a handler that is no node
def g66() -> object:
    def handle(f: Failure) -> Bill:
        return Bill(bill=f.message)

    return shop().chain(write, END).on_error(write, handle).build()  # wrong


# ---- what only `build()` can see -------------------------------------------------------------


# G80: [build:UNASSIGNED] a slice that is not written on every path to its reader
def g80() -> object:
    class Late(BaseModel):
        late: str

    class State(Order, Bill, Late): ...

    @node
    def read(late: Late) -> Bill:
        return Bill(bill=late.late)

    return Graph("late", State, input=Order, output=Bill).chain(read).build()


# G81: [build:UNORDERED_WRITES] two nodes side by side write one field
def g81() -> object:
    return shop().chain([write, write.named("again")], check).build()


# G82: [build:DUPLICATE_NAME] two nodes of one name
def g82() -> object:
    return shop().chain(take, [write, check.named("write")]).build()


# G83: [build:NOT_CONNECTED] a node that was made and forgotten
def g83() -> object:
    graph = shop()
    graph.ask("forgotten", question=lambda s: s.bill, answer=Kind)
    return graph.chain(write, check).build()


# G84: [build:JOIN_ALL] a join of all edges, of which one may not deliver
def g84() -> object:
    graph = shop()
    graph.route(take, kind_of).when("new", write).otherwise(check)
    return graph.chain(write, check).join(check, need="all").build()


# G85: [build:OPTION_EFFECT] what must not happen twice is not repeated
def g85() -> object:
    from graphorch import Retry

    @node(effect="once", retry=Retry(3))
    def pay(o: Order) -> Bill:
        return Bill(bill=o.order)

    return shop().chain(pay).build()


# G86: [pyright build:REMEMBER_SLICE] what is remembered is no slice of the state
def g86() -> object:
    return Graph("shop", Shop, remember=[Foreign]).chain(write).build()  # wrong


# G87: [build:REMEMBER_DEFAULT] what is remembered has no value before the first turn
def g87() -> object:
    return Graph("shop", Shop, remember=[Order]).chain(write).build()


# G88: [pyright mypy] a migration that returns something else
def g88() -> object:
    def change(record: dict[str, object]) -> str:
        return str(record)

    return shop().chain(write, check).migration(from_="0" * 32, change=change)  # wrong


# G89: [pyright mypy build:SLICE_MISSING] a map that is made where it is connected makes what the state lacks
def g89() -> object:
    def gather(found: list[Priced], missing: list[Missing]) -> Foreign:
        return Foreign(foreign=len(found))

    graph = shop()
    graph.chain(graph.map("prices", price, over=items_of, gather=gather, max_items=9, on_item_error="collect"), write)  # wrong
    return graph.build()


# G94: [pyright mypy build:NOT_A_NODE] the name of a node as a member of an exclusive region
def g94() -> object:
    return shop().chain([take, write], check).exclusive("till", ["take"]).build()  # wrong


# G95: [pyright mypy build:EXCLUSIVE_ACROSS] an exclusive region that reaches as far as nothing does
def g95() -> object:
    return shop().chain(take, check).exclusive("till", take, across="runs").build()  # wrong


# G96: [pyright mypy build:MAP_ITEMS] a graph inside itself gets items that are not its input
def g96() -> object:
    def bills(order: Order) -> list[Bill]:
        return []

    def gather(bills: list[Bill]) -> Kind:
        return Kind()

    graph = Graph("shop", Shop, input=Order, output=Bill)
    graph.chain(graph.map("again", graph.itself(max_depth=2), over=bills, gather=gather, max_items=2), write)  # wrong
    return graph.build()


# H01: [pyright mypy build:SUB_KEEP] what is kept of a sub-flow is read from a slice that its flow does not have
def h01() -> object:
    def keep(foreign: Foreign) -> Bill:
        return Bill(bill=str(foreign.foreign))

    graph = shop()
    inner = Graph("inner", Shop, input=Order, output=Bill).chain(write).build()
    end = graph.signal("end", Bill)
    graph.chain(graph.sub("team", inner, enter=lambda s: Order(order=s.order), leave=lambda b: b, cancel_on=end, keep=keep))  # wrong
    return graph.build()


# H02: [pyright mypy build:CANCEL_ON] a sub-flow that is ended by a node which is no signal
def h02() -> object:
    graph = shop()
    inner = Graph("inner", Shop, input=Order, output=Bill).chain(write).build()
    graph.chain(graph.sub("team", inner, enter=lambda s: Order(order=s.order), leave=lambda b: b, cancel_on=write))  # wrong
    return graph.build()
