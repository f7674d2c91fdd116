"""Maps that end early or grow, where they meet journals, crashes, forks and other flows."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from pydantic import BaseModel, Field

from graphorch import (
    Context,
    Flow,
    Graph,
    InputError,
    Limits,
    Missing,
    ReplayDiverged,
    Retry,
    RunFailed,
    TooManyItems,
    WrongOutput,
    agent,
    node,
)
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import Record
from graphorch.testing import ScriptedModel, run_virtual
from tests.scenarios.crashed_copies import copy_run


class Page(BaseModel):
    url: str


class Marked(BaseModel):
    url: str
    mark: str = Field(default_factory=lambda: uuid.uuid4().hex)


class Found(BaseModel):
    url: str
    links: list[str] = []


class Start(BaseModel):
    start: list[str] = []


class Pages(BaseModel):
    pages: list[str] = []
    missing: list[int] = []


class State(Start, Pages): ...


SITE = {"a": ["b", "c"], "b": ["d"], "e": ["f", "g"], "f": ["h"]}
ORDER = ["a", "b", "d", "c", "e", "f", "h", "g"]
SECONDS = {"a": 3, "b": 1, "c": 5, "d": 1, "e": 1, "f": 2, "g": 4, "h": 1}

AnyFlow = Flow[Any, Any, Any]


def list_starts(start: Start) -> list[Page]:
    return [Page(url=url) for url in start.start]


def follow(found: Found) -> list[Page]:
    return [Page(url=link) for link in found.links]


def collect(found: list[Found], missing: list[Missing]) -> Pages:
    return Pages(pages=[page.url for page in found], missing=[item.index for item in missing])


def fetcher(ran: list[str], **options: Any) -> Any:
    @node(name="fetch", **options)
    async def fetch(ctx: Context, page: Page) -> Found:
        ran.append(ctx.path)
        await asyncio.sleep(SECONDS[page.url])
        return Found(url=page.url, links=SITE.get(page.url, []))

    return fetch


def crawler(ran: list[str], work: Any = None, **options: Any) -> AnyFlow:
    graph = Graph("crawler", State, input=Start, output=Pages)
    settings: dict[str, Any] = {"over": list_starts, "gather": collect, "max_items": 20, **options}
    graph.chain(graph.map("crawl", work or fetcher(ran), **settings))
    return graph.build()


def growing(ran: list[str]) -> AnyFlow:
    return crawler(ran, grow=follow, concurrency=3)


def ending(ran: list[str]) -> AnyFlow:
    return crawler(ran, until=lambda found: len(found) == 2, concurrency=2)


def both(ran: list[str]) -> AnyFlow:
    return crawler(ran, grow=follow, until=lambda found: len(found) == 5, concurrency=2)


def unique(ran: list[str]) -> AnyFlow:
    return crawler(ran, grow=lambda found: [*follow(found), Page(url="e")], unique=True)


FLOWS: dict[str, Callable[[list[str]], AnyFlow]] = {
    "growing": growing,
    "ending": ending,
    "both": both,
    "unique": unique,
}
INPUT = Start(start=["a", "e", "b"])


async def record(flow: AnyFlow, store: MemoryStore, **options: Any) -> Any:
    return await flow.run(INPUT, durable=store, run_id="r", **options)


async def read(store: MemoryStore, run_id: str = "r") -> list[Record]:
    return list((await store.load(run_id)).records)


def paths(records: Sequence[Record], kind: str = "commit") -> list[str]:
    return [record.body["path"] for record in records if record.kind == kind]


# ---- journals ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FLOWS)
def test_reviews_are_replayed(name: str) -> None:
    """A replay calls the functions again, gets what was recorded, and runs nothing."""
    ran: list[str] = []

    async def main() -> None:
        store = MemoryStore()
        flow = FLOWS[name](ran)
        was = await record(flow, store)
        ran.clear()
        again = await flow.replay("r", durable=store)
        assert (again.state, ran) == (was.state, [])
        assert [step.path for step in again.steps] == [step.path for step in was.steps]

    run_virtual(main())


@pytest.mark.parametrize("name", FLOWS)
def test_kill_at_every_record_repeats_nothing(name: str) -> None:
    """Killed after each record and resumed, a map repeats no item that has a commit."""
    ran: list[str] = []

    async def main() -> None:
        flow, store = FLOWS[name](ran), MemoryStore()
        was = await record(flow, store)
        head = (await store.load("r")).head
        records = await read(store)
        decided = [r.seq for r in records if r.kind == "reviewed" and r.body["enough"]]
        for count in range(1, len(records)):
            copy = MemoryStore()
            await copy_run(head, records[:count], copy)
            ran.clear()
            result = await flow.resume("r", durable=copy)
            done = paths(records[:count])
            assert not {*ran} & {*done}, f"after record {count}"
            commits = paths(await read(copy))
            assert len(commits) == len({*commits})
            if name in ("growing", "unique") or any(seq <= count for seq in decided):
                assert result.output == was.output
            await flow.replay("r", durable=copy)

    run_virtual(main())


def test_grown_items_ignore_timing() -> None:
    """Whatever ends first, a grown map has the same paths, ids and results."""
    seen: set[tuple[Any, ...]] = set()

    async def main(seconds: dict[str, int], concurrency: int) -> None:
        flow, store = crawler([], grow=follow, concurrency=concurrency), MemoryStore()
        SECONDS.update(seconds)
        result = await record(flow, store)
        commits = [item for item in await read(store) if item.kind == "commit"]
        ids = sorted((item.body["path"], item.body["id"]) for item in commits)
        seen.add((tuple(result.output.pages), *ids))

    was = dict(SECONDS)
    for shift in range(4):
        names = list(was)
        seconds = {name: was[names[(at * 3 + shift) % 8]] for at, name in enumerate(names)}
        for concurrency in (1, 2, 8):
            run_virtual(main(seconds, concurrency))
    SECONDS.update(was)
    assert len(seen) == 1
    assert list(next(iter(seen))[0]) == [*ORDER, "b", "d"]


def test_defaults_of_grown_items_are_kept() -> None:
    """A default that is made for a grown item is recorded with it, and no resume makes another."""
    marks: dict[str, set[str]] = {}

    healed: list[bool] = []

    @node(name="fetch")
    async def fetch(ctx: Context, page: Marked) -> Found:
        marks.setdefault(ctx.path, set()).add(page.mark)
        if ctx.path == "crawl[0.0]/fetch" and not healed:
            raise OSError("down")
        return Found(url=page.url, links=SITE.get(page.url, []))

    async def main() -> None:
        store = MemoryStore()
        flow = crawler(
            [],
            fetch,
            over=lambda s: [Marked(url=url) for url in s.start],
            grow=lambda found: [Marked(url=link) for link in found.links],
        )
        with pytest.raises(RunFailed):
            await flow.run(Start(start=["a"]), durable=store, run_id="r")
        healed.append(True)
        await flow.resume("r", durable=store)

    run_virtual(main())
    assert {path: len(made) for path, made in marks.items()} == dict.fromkeys(
        ["crawl[0]/fetch", "crawl[0.0]/fetch", "crawl[0.1]/fetch", "crawl[0.0.0]/fetch"], 1
    )


def test_changed_function_diverges() -> None:
    """A replay with another `until`, or another `grow`, names the item whose review differs."""

    async def main() -> None:
        store = MemoryStore()
        await record(ending([]), store)
        other = crawler([], until=lambda found: len(found) == 3, concurrency=2)
        with pytest.raises(ReplayDiverged, match="were enough after item 2, and are not enough"):
            await other.replay("r", durable=store)
        store = MemoryStore()
        await record(growing([]), store)
        with pytest.raises(ReplayDiverged, match="what goes into it"):
            await crawler([], grow=lambda found: [], concurrency=3).replay("r", durable=store)

    run_virtual(main())


def test_altered_review_is_refused() -> None:
    """A record about another item than the one that was done diverges."""

    async def main() -> None:
        store, copy = MemoryStore(), MemoryStore()
        await record(growing([]), store)
        records = await read(store)
        at = next(index for index, item in enumerate(records) if item.kind == "reviewed")
        body = {**records[at].body, "item": "7"}
        records[at] = Record(records[at].seq, "reviewed", body)
        await copy_run((await store.load("r")).head, records[:-1], copy)
        with pytest.raises(ReplayDiverged, match="decides about item 2 here"):
            await growing([]).replay("r", durable=copy)

    run_virtual(main())


def test_stored_run_needs_its_functions() -> None:
    """A run of a map that grows is not resumed by a flow whose map does not."""

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await record(growing([]), store, limits=Limits(activations=3))
        with pytest.raises(Exception, match="inner flows changed"):
            await crawler([], concurrency=3).resume("r", durable=store)

    run_virtual(main())


# ---- failures ------------------------------------------------------------------------------------
def failure_of(flow: AnyFlow, **options: Any) -> Exception:
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(INPUT, **options))
    (cause,) = caught.value.exceptions
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert isinstance(cause, Exception)
    return cause


def test_growth_beyond_bound_is_named() -> None:
    """A map that would grow beyond its bound fails as one that is given too many items."""
    error = failure_of(crawler([], grow=follow, max_items=5))
    assert isinstance(error, TooManyItems)
    assert "more than 5 items" in str(error)


def endless(found: Found) -> Iterator[Page]:
    while True:
        yield Page(url="h")


@pytest.mark.parametrize(
    ("grow", "kind", "words"),
    [
        (lambda found: "abc", WrongOutput, "which is not a list of items"),
        (lambda found: None, WrongOutput, "returned None"),
        (lambda found: [found], Exception, "Found"),
        (lambda found: endless(found), TooManyItems, "more than 20 items"),
    ],
    ids=["text", "none", "wrong type", "endless"],
)
def test_wrong_growth_is_explained(grow: Any, kind: type[Exception], words: str) -> None:
    """What `grow` returns instead of a list of items fails the map, and says what is wrong."""
    error = failure_of(crawler([], grow=grow))
    assert isinstance(error, kind)
    assert words in str(error)


def test_generator_grows() -> None:
    """`grow` may return any iterable of items."""
    flow = crawler([], grow=lambda found: (Page(url=link) for link in found.links))
    result = run_virtual(flow.run(Start(start=["a"])))
    assert result.output.pages == ["a", "b", "d", "c"]


def test_unclear_agreement_is_refused() -> None:
    """What is neither True nor False is no agreement."""
    error = failure_of(crawler([], until=cast("Any", lambda found: found)))
    assert isinstance(error, WrongOutput)
    assert "neither True nor False" in str(error)


def test_failing_function_is_named() -> None:
    """What `until` raises says in which map it was raised."""

    def until(found: list[Found]) -> bool:
        raise KeyError("votes")

    with pytest.raises(RunFailed) as caught:
        run_virtual(crawler([], until=until).run(INPUT))
    assert "KeyError: in until of map 'crawl'" in str(caught.value.exceptions[0])


def test_failed_review_survives_resume() -> None:
    """The failure of a review is in the journal: after a crash the run fails as before."""
    broken = [True]

    def until(found: list[Found]) -> bool:
        if broken:
            raise KeyError("votes")
        return len(found) == 2

    async def main() -> None:
        ran: list[str] = []
        store, copy = MemoryStore(), MemoryStore()
        flow = crawler(ran, until=until, concurrency=2)
        with pytest.raises(RunFailed):
            await record(flow, store)
        records = await read(store)
        count = 1 + paths(records, "reviewed").index("crawl") + records[2].seq
        await copy_run((await store.load("r")).head, records[:count], copy)
        for used in (store, copy):
            with pytest.raises(RunFailed):
                await flow.resume("r", durable=used)
        broken.clear()
        ran.clear()
        result = await flow.resume("r", durable=store)
        assert (result.output.pages, ran) == (["a", "e"], [])

    run_virtual(main())


def test_error_edge_takes_failed_review() -> None:
    """An error edge takes what a review raised, with its class."""
    graph = Graph("crawler", State, input=Start, output=Pages)

    @node
    def recover(start: Start) -> Pages:
        return Pages(pages=["none"])

    crawl = graph.map(
        "crawl",
        fetcher([]),
        over=list_starts,
        gather=collect,
        max_items=3,
        grow=follow,
    )
    graph.chain(crawl).on_error(crawl, recover, when=TooManyItems)
    assert run_virtual(graph.build().run(INPUT)).output.pages == ["none"]


# ---- other features ------------------------------------------------------------------------------
def test_sub_flow_grows_map() -> None:
    """A worker may be a flow; what it grows is inside the same map, at every depth."""
    inner = Graph("inner", Found)

    @node
    def look(found: Found) -> Found:
        return Found(url=found.url, links=SITE.get(found.url, []))

    @node
    def sort(found: Found) -> Found:
        return Found(url=found.url.upper(), links=sorted(found.links))

    flow = inner.chain(look, sort).build()
    graph = Graph("outer", State, input=Start, output=Pages)
    crawl = graph.map(
        "crawl",
        flow,
        over=lambda s: [Found(url=url) for url in s.start],
        gather=lambda found: Pages(pages=[page.url for page in found]),
        max_items=10,
        grow=lambda found: [Found(url=link) for link in found.links],
    )
    result = run_virtual(graph.chain(crawl).build().run(INPUT))
    assert result.output.pages == [url.upper() for url in [*ORDER, "b", "d"]]
    assert "crawl[0.0.0]/sort" in [step.path for step in result.steps]


def test_maps_grow_inside_each_other() -> None:
    """A map that grows runs inside the items of another one that grows."""
    ran: list[str] = []
    inner = growing(ran)
    graph = Graph("outer", State, input=Start, output=Pages)
    sites = graph.map(
        "sites",
        inner,
        over=lambda s: [Start(start=[url]) for url in s.start],
        gather=lambda sites: Pages(pages=["".join(site.pages) for site in sites]),
        max_items=9,
        grow=lambda site: [Start(start=["e"])] if site.pages[0] == "a" else [],
    )
    flow = graph.chain(sites).build()

    async def main() -> None:
        store = MemoryStore()
        result = await flow.run(Start(start=["a"]), durable=store, run_id="r")
        assert result.output.pages == ["abdc", "efhg"]
        assert "sites[0.0]/crawl[0.0.0]/fetch" in ran
        await flow.replay("r", durable=store)

    run_virtual(main())


def test_agents_vote_until_agreed() -> None:
    """A vote of agents ends as soon as two agree; no other model call is made."""

    class Ballot(BaseModel):
        number: int

    class Vote(BaseModel):
        vote: str

    class Verdict(BaseModel):
        verdict: str = ""

    @agent(output=Vote)
    def judge(ballot: Ballot) -> str:
        return f"Vote {ballot.number}"

    def agree(votes: list[Vote]) -> bool:
        return any([vote.vote for vote in votes].count(vote.vote) == 2 for vote in votes)

    graph = Graph("vote", Verdict)
    vote = graph.map(
        "vote",
        judge,
        over=lambda s: [Ballot(number=number) for number in range(5)],
        gather=lambda votes: Verdict(verdict=max(votes, key=votes.count).vote),
        max_items=5,
        concurrency=1,
        until=agree,
    )
    model = ScriptedModel("a", "b", "b")
    result = run_virtual(graph.chain(vote).build().run(Verdict(), client=model))
    assert (result.output.verdict, len(result.record.paid_calls)) == ("b", 3)


def test_growth_within_limit_on_activations() -> None:
    """A limit stops a map that grows, and a resume with a larger one goes on where it was."""

    async def main() -> None:
        ran: list[str] = []
        store, flow = MemoryStore(), growing(ran)
        with pytest.raises(RunFailed):
            await record(flow, store, limits=Limits(activations=4))
        result = await flow.resume("r", durable=store, limits=Limits(activations=50))
        assert result.output.pages == [*ORDER, "b", "d"]
        assert len(ran) == len({*ran})

    run_virtual(main())


def test_retries_inside_growing_map() -> None:
    """An item that is retried grows once."""
    failed: list[str] = []

    @node(name="fetch", retry=Retry(attempts=2, on=(OSError,), first=1))
    def fetch(ctx: Context, page: Page) -> Found:
        if ctx.path not in failed:
            failed.append(ctx.path)
            raise OSError("busy")
        return Found(url=page.url, links=SITE.get(page.url, []))

    result = run_virtual(crawler([], fetch, grow=follow).run(Start(start=["a"])))
    assert result.output.pages == ["a", "b", "d", "c"]


@node(name="fetch", isolation="process")
def fetch_elsewhere(page: Page) -> Found:
    return Found(url=page.url, links=SITE.get(page.url, []))


def test_map_grows_by_other_processes() -> None:
    """Items that run in worker processes grow a map like others."""
    flow = crawler([], fetch_elsewhere, grow=follow, concurrency=2)
    assert asyncio.run(flow.run(Start(start=["a"]))).output.pages == ["a", "b", "d", "c"]


def test_cancelled_map_runs_nothing_more() -> None:
    """A run that is cancelled while a map grows is over: what it had grown never runs."""

    async def main() -> None:
        ran: list[str] = []
        store, flow = MemoryStore(), growing(ran)
        with pytest.raises(RunFailed):
            await record(flow, store, limits=Limits(activations=5))
        count = len(ran)
        await flow.cancel("r", durable=store)
        with pytest.raises(InputError, match="cancelled for good"):
            await flow.resume("r", durable=store)
        assert len(ran) == count

    run_virtual(main())


def test_undone_with_agreement() -> None:
    """With `compensate`, what was committed for an item that an agreement cancels is undone."""
    undone: list[str] = []

    def forget(found: Found) -> None:
        undone.append(found.url)

    @node(effect="idempotent", undo=forget)
    async def reserve(found: Found) -> Found:
        return found

    @node
    async def confirm(found: Found) -> Found:
        await asyncio.sleep(SECONDS[found.url])
        return found

    inner = Graph("inner", Found).chain(reserve, confirm).build()
    graph = Graph("outer", State, input=Start, output=Pages)
    pages = graph.map(
        "pages",
        inner,
        over=lambda s: [Found(url=url) for url in s.start],
        gather=lambda found: Pages(pages=[page.url for page in found]),
        max_items=9,
        until=lambda found: len(found) == 1,
        compensate=True,
    )
    result = run_virtual(graph.chain(pages).build().run(Start(start=["a", "b"])))
    assert (result.output.pages, undone) == (["b"], ["a"])


def test_rerun_of_item_grows_anew() -> None:
    """What a changed item had grown is gone, and what it grows now is made; the rest is kept."""

    async def main() -> None:
        ran: list[str] = []
        store, flow = MemoryStore(), growing(ran)
        await record(flow, store)
        ran.clear()
        again = await flow.rerun(
            "r",
            start="crawl[0]/fetch",
            output=Found(url="A", links=["f"]),
            durable=store,
            run_id="other",
        )
        assert again.result.output.pages == ["A", "f", "h", "e", "f", "h", "g", "b", "d"]
        assert sorted(ran) == ["crawl[0.0.0]/fetch", "crawl[0.0]/fetch"]
        await flow.replay("other", durable=store)

    run_virtual(main())


def test_rerun_of_unique_item_grows_anew() -> None:
    """What only a changed item had added is gone; what others grow, too, is made anew."""

    async def main() -> None:
        ran: list[str] = []
        store, flow = MemoryStore(), unique(ran)
        was = await record(flow, store)
        assert was.output.pages == ["a", "e", "b", "c", "f", "g", "d", "h"]
        assert len(ran) == 8
        ran.clear()
        changed = next(
            item.body["path"]
            for item in await read(store)
            if item.kind == "commit" and item.body["update"].get("result", {}).get("url") == "f"
        )
        again = await flow.rerun(
            "r",
            start=changed,
            output=Found(url="F", links=["c", "g"]),
            durable=store,
            run_id="other",
        )
        assert again.result.output.pages == ["a", "e", "b", "c", "F", "g", "d"]
        assert ran == []
        await flow.replay("other", durable=store)

    run_virtual(main())


def test_rerun_of_item_decides_anew() -> None:
    """With an item that is made anew, a map decides again whether it has enough."""

    async def main() -> None:
        ran: list[str] = []
        store, flow = MemoryStore(), ending(ran)
        was = await record(flow, store)
        assert was.output.pages == ["e", "b"]
        again = await flow.rerun("r", start="crawl[2]/fetch", durable=store, run_id="other")
        assert len(again.result.output.pages) == 2
        assert "e" in again.result.output.pages
        await flow.replay("other", durable=store)

    run_virtual(main())


def test_failed_items_are_missing() -> None:
    """Items that are left out stand at their places in the order of the results."""

    @node(name="fetch")
    def fetch(page: Page) -> Found:
        if page.url in "bg":
            raise OSError("gone")
        return Found(url=page.url, links=SITE.get(page.url, []))

    flow = crawler([], fetch, grow=follow, on_item_error="collect")
    output = run_virtual(flow.run(Start(start=["a", "e"]))).output
    assert (output.pages, output.missing) == (["a", "c", "e", "f", "h"], [1, 6])


# ---- late work -----------------------------------------------------------------------------------
@pytest.mark.parametrize("need", [None, 3])
@pytest.mark.parametrize("grow", [None, follow])
def test_agreement_lets_rest_finish(need: int | None, grow: Any) -> None:
    """With rest="finish" the items that have begun commit, also in a run killed at any record.

    Those that have not begun never begin, and what commits late grows nothing.
    """
    ran: list[str] = []
    options: dict[str, Any] = {"concurrency": 3, "rest": "finish", "grow": grow}
    if need is not None:
        options["need"] = need
    flow = crawler(ran, until=lambda found: len(found) == 2, **options)

    async def main() -> None:
        store = MemoryStore()
        was = await record(flow, store)
        assert was.status == "succeeded"
        head, records = (await store.load("r")).head, await read(store)
        [decision] = [r.seq for r in records if r.kind == "reviewed" and r.body["enough"]]
        items = {path for path in paths(records) if path.endswith("/fetch")}
        assert len(was.output.pages) == 2 < len(items)
        assert {*ran} == items
        for count in range(1, len(records)):
            copy = MemoryStore()
            await copy_run(head, records[:count], copy)
            ran.clear()
            result = await flow.resume("r", durable=copy)
            assert result.status == "succeeded"
            done = paths(records[:count])
            assert not {*ran} & {*done}, f"after record {count}"
            commits = paths(await read(copy))
            assert len(commits) == len({*commits})
            if count >= decision:
                assert result.output == was.output
                assert sorted(commits) == sorted(paths(records)), f"after record {count}"
            again = await flow.replay("r", durable=copy)
            assert again.state == result.state

    run_virtual(main())
