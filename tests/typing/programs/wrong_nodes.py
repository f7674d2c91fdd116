"""Nodes and agents that are wrong. A tag says who refuses the block, the comment `# wrong` on which line."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Cache, Context, Graph, Node, Retry, agent, node


class City(BaseModel):
    city: str


class Guide(BaseModel):
    guide: str


class Stars(BaseModel):
    stars: int = 0


class Small(City, Guide): ...


class Full(City, Guide, Stars): ...


class A(BaseModel):
    a: int = 0


class B(BaseModel):
    b: int = 0


class C(BaseModel):
    c: int = 0


class Engine:
    def start(self) -> str:
        return "on"


@node
def describe(c: City) -> Guide:
    return Guide(guide=c.city)


@node
def rate(c: City, g: Guide) -> Stars:
    return Stars(stars=len(g.guide))


def graph() -> Graph[Small, City, Guide]:
    return Graph("small", Small, input=City, output=Guide)


# N01: [pyright mypy build:SLICE_MISSING] a node reads a slice that the state lacks
def n01() -> object:
    @node
    def by_stars(s: Stars) -> Guide:
        return Guide(guide="*" * s.stars)

    return graph().chain(by_stars).build()  # wrong


# N02: [pyright mypy build:SLICE_MISSING] a node writes a slice that the state lacks
def n02() -> object:
    @node
    def count(c: City) -> Stars:
        return Stars()

    return graph().chain(describe, count).build()  # wrong


# N03: [pyright mypy build:SLICE_MISSING] the second slice of a pair is not in the state
def n03() -> object:
    @node
    async def both(c: City) -> tuple[Guide, Stars]:
        return Guide(guide=""), Stars()

    return graph().chain(both).build()  # wrong


# N04: [pyright mypy build:SLICE_MISSING] a node reads the whole state of another graph
def n04() -> object:
    @node
    def audit(everything: Full) -> Guide:
        return Guide(guide=everything.guide)

    return graph().chain(describe, audit).build()  # wrong


# N05: [pyright mypy build:SLICE_MISSING] what an agent writes is not in the state
def n05() -> object:
    @agent(output=Stars)
    def judge(c: City) -> str:
        return c.city

    return graph().chain(describe, judge).build()  # wrong


# N06: [pyright mypy build:SLICE_MISSING] an optional slice has to be in the state too
def n06() -> object:
    @node
    def maybe(c: City, s: Stars | None) -> Guide:
        return Guide(guide=c.city if s is None else "*" * s.stars)

    return graph().chain(maybe).build()  # wrong


# N07: [pyright mypy build:NODE_SIGNATURE] a prompt that is a number
def n07() -> object:
    @agent(output=Guide)  # wrong
    def count(c: City) -> int:
        return len(c.city)

    return count


# N08: [pyright mypy build:NODE_SIGNATURE] the output of an agent is no model
def n08() -> object:
    @agent(output=str)  # wrong
    def text(c: City) -> str:
        return c.city

    return text


# N09: [pyright mypy build:NODE_SIGNATURE] a node of five slices
def n09() -> object:
    @node  # wrong
    def five(c: City, g: Guide, a: A, b: B, d: C) -> Guide:
        return g

    return five


# N10: [pyright mypy build:NODE_SIGNATURE] a parameter that is no slice
def n10() -> object:
    @node  # wrong
    def of_text(city: str) -> Guide:
        return Guide(guide=city)

    return of_text


# N11: [pyright mypy build:NODE_SIGNATURE] a return that is no slice
def n11() -> object:
    @node  # wrong
    def to_dict(c: City) -> dict[str, str]:
        return {"guide": c.city}

    return to_dict


# N12: [pyright mypy build:NODE_SIGNATURE] three slices in a return
def n12() -> object:
    @node  # wrong
    def three(c: City) -> tuple[A, B, C]:
        return A(), B(), C()

    return three


# N13: [build:NODE_SIGNATURE] one slice or another: both checkers see a base class of the two
def n13() -> object:
    @node
    def either(c: City) -> Guide | Stars:
        return Stars()

    return either


# N14: [pyright mypy build:NODE_OPTION] an option that does not exist
def n14() -> object:
    @node(retries=3)  # wrong
    def option(c: City) -> Guide:
        return Guide(guide="")

    return option


# N15: [pyright mypy build:NODE_OPTION] a word that an option does not know
def n15() -> object:
    @node(effect="twice")  # wrong
    def effect(c: City) -> Guide:
        return Guide(guide="")

    return effect


# N16: [pyright mypy build:NODE_OPTION] options of the wrong type
def n16() -> object:
    @node(retry=3, cache=60)  # wrong
    def types(c: City) -> Guide:
        return Guide(guide="")

    return types


# N17: [pyright mypy raises:InputError] a number of attempts that is a text
def n17() -> object:
    return Retry("3")  # wrong


# N18: [pyright mypy raises:TypeError] a cache without end
def n18() -> object:
    return Cache()  # wrong


# N19: [pyright mypy build:NODE_SIGNATURE] the context comes after a slice
def n19() -> object:
    @node  # wrong
    def late(c: City, ctx: Context) -> Guide:
        return Guide(guide=ctx.path)

    return late


# N20: [pyright mypy] a context without resources gives none
async def n20(ctx: Context) -> str:
    return ctx.resources.start()  # wrong


# N21: [pyright mypy] resources have the type that the context names
async def n21(ctx: Context[Engine]) -> str:
    return ctx.resources.stop()  # wrong


# N22: [pyright mypy] an answer of a model has the type that was asked for
async def n22(ctx: Context) -> Guide:
    return await ctx.complete("describe", output=Stars)  # wrong


# N23: [pyright mypy] without an output the answer is text
async def n23(ctx: Context) -> Guide:
    return await ctx.complete("describe")  # wrong


# N24: [pyright mypy] an event of one's own is a model
async def n24(ctx: Context) -> None:
    ctx.emit("half way")  # wrong


# N25: [pyright mypy] a prompt is text or messages
async def n25(ctx: Context) -> str:
    return await ctx.complete({"role": "user", "content": "describe"})  # wrong


# N26: [pyright mypy] a node needs what its function reads and writes, no less
def n26() -> Node[object]:
    narrow: Node[City] = rate  # wrong
    return narrow


# N27: [build:NODE_SIGNATURE] a pair of one and the same slice
def n27() -> object:
    @node
    def twins(c: City) -> tuple[Guide, Guide]:
        return Guide(guide="1"), Guide(guide="2")

    return twins


# N28: [build:NODE_OPTION] only agents have a model
def n28() -> object:
    return describe.with_model("vendor/large")


# N29: [pyright mypy build:NODE_SIGNATURE] a node without a slice
def n29() -> object:
    @node  # wrong
    def nothing() -> Guide:
        return Guide(guide="")

    return nothing


# N30: [pyright mypy build:NODE_OPTION] an agent has an option that does not exist
def n30() -> object:
    @agent(output=Guide, temprature=0.5)  # wrong
    def warm(c: City) -> str:
        return c.city

    return warm


# N31: [pyright mypy build:TOOL] a tool is a function, not the name of one
def n31() -> object:
    @agent(output=Guide, tools=["search"])  # wrong
    def searching(c: City) -> str:
        return c.city

    return searching
