"""What the API answers about a run, asked of the same handlers that serve its page.

Answers lie in groups: one for each path below that of the run, such as `state`. In a group the key
of an answer is made of the values of the query, so that the page finds it again.
"""

from __future__ import annotations

import html
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graphorch.errors import GraphorchError
from graphorch.server.context import ServerContext
from graphorch.server.encoding import encode
from graphorch.server.endpoint import SVG, Call
from graphorch.server.export.bounds import ExportBounds
from graphorch.server.problems import Problem, describe_error
from graphorch.server.routes import pictures, reasons, run
from graphorch.text import plural, shorten_run_id
from graphorch.views.reading.journal_pages import MOST_RECORDS
from graphorch.views.runs.records import CutText, RecordPage, TextPage
from graphorch.views.runs.run_page import RunPage
from graphorch.views.runs.timeline import Timeline

RUN: Final = "run"
"""Name of the group that has the page of the run itself."""

_BASE: Final = "/api/runs/{id}"
_PICTURE: Final = "picture.svg"
_HEATS: Final = ("cost", "p50", "p95", "errors", "visits")
_BOX: Final = re.compile(r'data-box="([^"]*)"')
_PAGES: Final = {
    # what is listed, and how many of a page, as the page of a run asks for them
    "moments": ("moments", 1_000),
    "records": ("records", MOST_RECORDS),
    "calls": ("calls", 50),
    "conversation": ("turns of the conversation", 60),
}
_NEEDS_CODE: Final = {
    "state": "The state",
    "why": "An explanation",
    "critical": "The critical path",
    "output": "The output",
}


@dataclass(slots=True)
class Answers:
    """What a file holds of a run: answers as JSON, by group and key.

    `problems` are those of answers that the API refuses, by group and key with a space between.
    `absent` says of a group why an answer that it does not have is missing, as a problem. `notes`
    name what was left out.
    """

    page: RunPage
    groups: defaultdict[str, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    absent: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    notes: list[str] = field(default_factory=list[str])


async def collect_answers(context: ServerContext, run_id: str, bounds: ExportBounds) -> Answers:
    """Ask for all that a page shows of a run. Raises `JournalError` if it cannot be read."""
    return await _Collector(context, run_id, bounds).collect()


class _Collector:
    def __init__(self, context: ServerContext, run_id: str, bounds: ExportBounds) -> None:
        modules = (run, reasons, pictures)
        self._endpoints = {
            endpoint.path.removeprefix(_BASE).removeprefix("/") or RUN: endpoint
            for module in modules
            for endpoint in module.build_endpoints(context)
        }
        self._run_id = run_id
        self._bounds = bounds
        self._groups: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._absent: dict[str, dict[str, str]] = {}
        self._notes: list[str] = []

    async def collect(self) -> Answers:
        page: RunPage = await self._ask(RUN, "")
        timeline: Timeline | None = await self._try("timeline", "")
        paths = {bar.path for bar in timeline.bars} if timeline else set[str]()
        for moments in await self._list_pages("moments"):
            paths |= {moment.path for moment in moments.moments}
        records: list[RecordPage] = await self._list_pages("records")
        await self._list_pages("calls")
        await self._list_pages("conversation")
        await self._add_texts(records)
        paths |= await self._add_pictures(page)
        if page.flow.fits:
            await self._add_reasons(page, paths)
            await self._add_states(page)
            await self._try("critical", "")
            if page.output_left_out:
                await self._try("output", "")
        else:
            self._refuse_code(page)
        return Answers(page, self._groups, self._absent, self._notes)

    # ---- asking ----------------------------------------------------------------------------------
    async def _ask(self, group: str, key: str, **query: Any) -> Any:
        """Return what a handler returns, and keep it as JSON. Raises what the handler raises."""
        endpoint = self._endpoints[group]
        call = Call({"id": self._run_id}, endpoint.query.model_validate(query), None, {})
        result = await endpoint.handle(call)
        content = encode(endpoint, result)
        if endpoint.media_type == SVG:
            content = json.dumps(content.decode()).encode()
        self._groups[group][key] = content
        return result

    async def _try(self, group: str, key: str, **query: Any) -> Any:
        """Return what a handler returns; None if it refuses, which is kept as a problem."""
        try:
            return await self._ask(group, key, **query)
        except (GraphorchError, Problem) as error:
            self._groups["problems"][f"{group} {key}"] = describe_error(error).encode()
            return None

    def _weigh(self, group: str) -> int:
        return sum(map(len, self._groups[group].values()))

    async def _list_pages(self, group: str) -> list[Any]:
        """Return all pages of a list, as far as there is room for them."""
        what, limit = _PAGES[group]
        pages: list[Any] = []
        after: int | None = 0
        weight = 0
        while after is not None:
            if weight > self._bounds.characters:
                self._leave_out(group, f"The {what} after record {after:,}.")
                break
            page = await self._try(group, str(after), after=after, limit=limit)
            if page is None:
                break
            weight += len(self._groups[group][str(after)])
            pages.append(page)
            after = page.next
        return pages

    def _leave_out(self, group: str, words: str) -> None:
        self._notes.append(words)
        self._absent[group] = {"type": "left-out", "detail": words}

    # ---- long texts ------------------------------------------------------------------------------
    async def _add_texts(self, records: Sequence[RecordPage]) -> None:
        """Add the long texts that records only begin, and count what there is no room for."""
        room, left_out, texts = self._bounds.texts_characters, 0, 0
        for seq, cut in _list_cuts(records):
            most = min(room, self._bounds.text_characters)
            added = await self._add_text(seq, cut, most)
            room -= added
            if added < cut.characters:
                texts += 1
                left_out += cut.characters - added
        if texts:
            self._leave_out("text", f"{left_out:,} characters of {plural(texts, 'long text')}.")

    async def _add_text(self, seq: int, cut: CutText, most: int) -> int:
        """Add the parts of a text that fit into `most` characters, and return how many they are."""
        begin = 0
        while begin < most:
            key = f"{seq} {cut.pointer} {begin}"
            part: TextPage | None = await self._try(
                "text", key, seq=seq, pointer=cut.pointer, begin=begin
            )
            if part is None:
                return begin
            if part.next is None:
                return cut.characters
            begin = part.next
        return begin

    # ---- pictures --------------------------------------------------------------------------------
    async def _add_pictures(self, page: RunPage) -> set[str]:
        """Add the pictures of a run, and return the paths of their boxes."""
        svg = await self._try(_PICTURE, " ", overlay="run")
        for heat in _HEATS:
            await self._try(_PICTURE, f"{heat} ", heat=heat)
        if page.seq > self._bounds.steps:
            self._leave_out(_PICTURE, _describe_bound("pictures", page, self._bounds.steps))
        elif svg is not None:
            await self._add_steps(page)
        boxes = _BOX.findall(svg or "")
        return {html.unescape(box) for box in boxes if "//" not in box}

    async def _add_steps(self, page: RunPage) -> None:
        """Add the picture after each record; one that is as the one before names that record."""
        kept = self._groups[_PICTURE]
        before, first = b"", 0
        weight = 0
        for at in range(1, page.seq + 1):
            if weight > self._bounds.characters:
                self._leave_out(_PICTURE, f"The pictures after record {at - 1:,}.")
                return
            key = f" {at}"
            await self._try(_PICTURE, key, overlay="run", at=at)
            drawn = kept.get(key, b"")
            if drawn and drawn == before:
                kept[key] = str(first).encode()
            else:
                before, first = drawn, at
                weight += len(drawn)

    # ---- what needs the code of the flow ---------------------------------------------------------
    async def _add_reasons(self, page: RunPage, paths: set[str]) -> None:
        await self._try("why", "", path="")
        if page.seq > self._bounds.steps:
            self._leave_out(
                "why",
                f"The reasons of single nodes: a file has them of runs of up to "
                f"{self._bounds.steps:,} records, and this one has {page.seq:,}. The command "
                "graphorch why tells them.",
            )
            return
        for path in sorted(paths - {""}):
            await self._try("why", path, path=path)

    async def _add_states(self, page: RunPage) -> None:
        if page.seq > self._bounds.states:
            self._leave_out("state", _describe_bound("state", page, self._bounds.states))
        else:
            weight = 0
            for at in range(1, page.seq + 1):
                if weight > self._bounds.characters:
                    self._leave_out("state", f"The states after record {at - 1:,}.")
                    break
                await self._try("state", str(at), at=at)
                weight += len(self._groups["state"].get(str(at), b""))
        if page.seq:
            await self._try("state", "")

    def _refuse_code(self, page: RunPage) -> None:
        """Say of what needs the code of the flow how a file gets it."""
        run_id = shorten_run_id(self._run_id)
        for group, what in _NEEDS_CODE.items():
            words = f"{what} needs the graph that wrote the run. {page.flow.problem}"
            self._absent[group] = {"type": "flow-does-not-fit", "detail": words}
            if not page.flow.is_loaded:
                self._absent[group] = {
                    "type": "flow-not-loaded",
                    "detail": f"{what} needs the code of the flow '{page.flow.name}', and this "
                    "file was written without it. A journal never says which code to run: write "
                    "the file again with the flow.",
                    "command": f"graphorch runs export {run_id} FLOW.py -o run.html",
                }


def _describe_bound(what: str, page: RunPage, most: int) -> str:
    return (
        f"The {what} after each record: a file has that of runs of up to {most:,} records, and "
        f"this one has {page.seq:,}. What is here is as of the end."
    )


def _list_cuts(records: Sequence[RecordPage]) -> Iterator[tuple[int, CutText]]:
    """Yield the long texts of records that their rows cut, with the numbers of the records."""
    for page in records:
        for row in page.records:
            for cut in row.cuts:
                yield row.seq, cut
