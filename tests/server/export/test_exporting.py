"""The file of a run, without a browser: what it holds is what the API answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from graphorch.journal.errors import RunNotFound
from graphorch.server.export.bounds import ExportBounds
from tests.server.export.exporting import export, read_about, read_groups
from tests.server.page.test_page import HOSTILE, SHOP, keep_hostile, keep_shop
from tests.server.serving import application
from tests.trace.flows import shop

QUERIES = {
    "run": "",
    "timeline": "",
    "critical": "",
    "state": "at={}",
    "why": "path={}",
    "moments": "after={}&limit=1000",
    "conversation": "after={}&limit=60",
    "records": "after={}&limit=500",
    "calls": "after={}&limit=50",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journal")
    keep_shop(folder)
    keep_hostile(folder)
    return folder


def test_answers_are_those_of_the_api(folder: Path) -> None:
    """Every answer in a file is what a server answers to the page."""
    groups = read_groups(export(folder, SHOP, shop()).content)
    assert {*QUERIES, "picture.svg", "problems"} == set(groups)

    async def compare() -> None:
        async with application(folder, shop()) as ask:
            for name, query in QUERIES.items():
                path = f"/api/runs/{SHOP}" + ("" if name == "run" else f"/{name}")
                for key, found in groups[name].items():
                    given = query.format(quote(key)) if key else ""
                    answer = await ask("GET", path, query=given)
                    assert answer.value == found, (name, key)
            for key, svg in groups["picture.svg"].items():
                heat, at = key.split(" ")
                svg = groups["picture.svg"][f" {svg}"] if isinstance(svg, int) else svg
                given = f"heat={heat}" if heat else "overlay=run" + (f"&at={at}" if at else "")
                answer = await ask("GET", f"/api/runs/{SHOP}/picture.svg", query=given)
                assert answer.body.decode() == svg, key
            for key, problem in groups["problems"].items():
                name, _, rest = key.partition(" ")
                given = QUERIES[name].format(quote(rest))
                answer = await ask("GET", f"/api/runs/{SHOP}/{name}", query=given)
                assert answer.value == problem

    asyncio.run(compare())


def test_policy_allows_one_script_and_style(folder: Path) -> None:
    """The content policy names the hashes of the one script and style, and no place to ask."""
    content = export(folder, SHOP, shop()).content
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', content)
    (style,) = re.findall(r"<style>(.*?)</style>", content, re.S)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', content, re.S)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    ]
    assert policy is not None
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "http:" not in re.sub(r"http://www\.w3\.org/\S+", "", script + style)


def test_markup_cannot_end_its_element(folder: Path) -> None:
    """What a run holds never stands as a tag in a file, wherever it comes from."""
    content = export(folder, HOSTILE).content
    data = re.sub(r"<script type=\"module\">.*|<style>.*?</style>", "", content, flags=re.S)
    tags = {tag.lower() for tag in re.findall(r"<[/!]?\w*", data)}
    assert not tags & {"<img", "<svg", "</textarea", "<b", "<!--"}
    assert content.count("</script>") == len(re.findall(r"<script type=", content))
    assert "<title>&lt;img src=x" in content


def test_flow_is_needed_for_its_parts(folder: Path) -> None:
    """Without its flow a file holds what the records tell, and says how to get the rest."""
    content = export(folder, SHOP).content
    groups, absent = read_groups(content), read_about(content)["absent"]
    assert not groups.keys() & {"state", "why", "critical"}
    assert {"records", "moments", "calls", "conversation", "timeline"} <= groups.keys()
    for name in ("state", "why", "critical", "output"):
        assert absent[name]["type"] == "flow-not-loaded"
        assert "graphorch runs export" in absent[name]["command"]


def test_bounds_leave_out_and_say_so(folder: Path) -> None:
    """What a file has no room for is left out, and each part is named with its numbers."""
    small = ExportBounds(steps=5, states=5, characters=500)
    exported = export(folder, SHOP, shop(), bounds=small)
    groups = read_groups(exported.content)
    assert set(groups["picture.svg"]) >= {" ", "cost "}
    assert not [key for key in groups["picture.svg"] if key.startswith(" ") and key != " "]
    assert list(groups["state"]) == [""]
    assert list(groups["why"]) == [""]
    assert read_about(exported.content)["notes"] == list(exported.notes)
    assert "this one has 15" in " ".join(exported.notes)
    few = ExportBounds(text_characters=300_000, texts_characters=500_000)
    (note,) = export(folder, HOSTILE, bounds=few).notes
    assert "characters of" in note
    assert "long text" in note


def test_long_text_is_whole(folder: Path) -> None:
    """The parts of a long text make the whole text again."""
    parts = read_groups(export(folder, HOSTILE).content)["text"]
    whole: dict[str, str] = {}
    for key, part in parts.items():
        place = key.rpartition(" ")[0]
        assert part["begin"] == len(whole.get(place, ""))
        whole[place] = whole.get(place, "") + part["text"]
    assert max(map(len, whole.values())) == 1_000_000


def test_unknown_run_is_refused(folder: Path) -> None:
    """A run that is not in the journal is an error, and no file."""
    with pytest.raises(RunNotFound):
        export(folder, "no-such-run")
