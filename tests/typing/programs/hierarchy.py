"""A hierarchy: a house that has teams that have desks; each level is a flow of its own with its own state."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Order(BaseModel):
    order: str


class Slip(BaseModel):
    slip: str


class Bench(Order, Slip): ...


class Wish(BaseModel):
    wish: str


class Parts(BaseModel):
    parts: list[Order] = []


class Kit(BaseModel):
    kit: list[str] = []


class Team(Wish, Parts, Kit): ...


class Customer(BaseModel):
    customer: str


class Letter(BaseModel):
    letter: str = ""


class House(Customer, Letter): ...


@node
def pick(o: Order) -> Slip:
    return Slip(slip=o.order.upper())


bench = Graph("bench", Bench, input=Order, output=Slip).chain(pick).build()


@node
def list_parts(w: Wish) -> Parts:
    return Parts(parts=[Order(order=part) for part in w.wish.split("+")])


def parts_of(p: Parts) -> list[Order]:
    return p.parts


def kit_of(slips: list[Slip]) -> Kit:
    return Kit(kit=[slip.slip for slip in slips])


team = Graph("team", Team, input=Wish, output=Kit)
benches = team.map("benches", bench, over=parts_of, gather=kit_of, max_items=8)
team_flow = team.chain(list_parts, benches).build()


@node
def sign(letter: Letter, c: Customer) -> Letter:
    return Letter(letter=f"{letter.letter} for {c.customer}")


house = Graph("house", House, input=Customer, output=Letter)
call = house.sub("team", team_flow, enter=lambda s: Wish(wish=f"{s.customer}+lamp"), leave=lambda k: Letter(letter="/".join(k.kit)))
flow = house.chain(call, sign).build()


def letter_of(kit: Kit) -> Letter:
    return Letter(letter="/".join(kit.kit))


# A sub-flow may be made in the call that connects it.
inline = Graph("inline", House, input=Customer, output=Letter)
inline.chain(inline.sub("team", team_flow, enter=lambda s: Wish(wish=s.customer), leave=letter_of), sign)

ANSWER = ("ADA/LAMP for ada", ["team/benches[0]/pick", "team/benches[1]/pick"])


def main() -> tuple[str, list[str]]:
    result = flow.run_sync(Customer(customer="ada"))
    return result.output.letter, sorted(step.path for step in result.steps if step.node == "pick")
