"""JSON objects in what models write: in fences, prose, thoughts, strings and wrappers."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.json_answer import find_objects, unwrap

GOOD = '{"score": 7, "remark": "a {b} ```c```"}'
OTHER = '{"score": 1}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\ufeff{GOOD}",
        f"\n {GOOD} \n",
        f"```json\n{GOOD}\n```",
        f"```JSON {GOOD}```",
        f"``` jsonc\r\n{GOOD}\r\n```",
        f"~~~json\n{GOOD}\n~~~",
        f"```{GOOD}```",
        f"'''{GOOD}'''",
        f"```json\n{GOOD}",
        f"Here it is:\n```json\n{GOOD}\n```\nAnything else?",
        f"For instance {OTHER}, but:\n```json\n{GOOD}\n```",
        f"```json\n{GOOD}\n```\nbetter than {OTHER}",
        f"the set {{1, 2}} and {{x}} give {GOOD} {{end}}",
        f"<think>perhaps {OTHER}</think>{GOOD}",
        f"perhaps {OTHER}\n</think>\n{GOOD}",
        f"<think>a</think>\n```json\n{GOOD}\n```",
        json.dumps(GOOD),
        f"[{GOOD}]",
    ],
)
def test_object_is_found_in_text(text: str) -> None:
    """Find the one object that is meant, whatever is around it."""
    assert find_objects(text) == [GOOD]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no object",
        "{",
        "{}}{"[1:2],
        "[1, 2]",
        "null",
        '{"result": {"score": 7}',
        f"<think>only a thought {GOOD}",
        '{"a":' * 5_000,
        "{" * 10_000,
        '{"n": ' + "9" * 5_000 + "}",
    ],
)
def test_part_of_object_is_none(text: str) -> None:
    """Find nothing where no object is whole, and no part of a broken one."""
    assert find_objects(text) == []


def test_several_objects_are_all_found() -> None:
    """Find every object, and leave the choice to the caller."""
    assert find_objects(f"{GOOD}\n{OTHER}") == [GOOD, OTHER]
    assert find_objects(f"```\n{GOOD}\n```\n```\n{OTHER}\n```") == [GOOD, OTHER]


def test_line_ends_in_strings_are_escaped() -> None:
    """Make JSON of strings that run over several lines, and change no number."""
    (found,) = find_objects('{"text": "two\nlines\tand \\"more\\"", \n"n": 0.10000000000000000555}')
    assert json.loads(found)["text"] == 'two\nlines\tand "more"'
    assert "0.10000000000000000555" in found


@pytest.mark.parametrize(
    "text, name, inside",
    [
        (f'{{"Verdict": {OTHER}}}', "Verdict", OTHER),
        (f'{{ "verdict" : {OTHER} }}', "Verdict", OTHER),
        (f'{{"final_verdict": {OTHER}}}', "FinalVerdict", OTHER),
        (f'{{"result": {OTHER}}}', "Verdict", None),
        (f'{{"Verdict": {OTHER}, "note": 1}}', "Verdict", None),
        ('{"Verdict": 7}', "Verdict", None),
        ("{}", "Verdict", None),
    ],
)
def test_object_in_its_own_name_is_unwrapped(text: str, name: str, inside: str | None) -> None:
    """Unwrap an object that stands alone under the name of what it is, and no other."""
    assert unwrap(text, name) == inside


@given(st.text(alphabet='{}[]":,a1 \n`~<>/think\\', max_size=60))
def test_found_objects_are_json(text: str) -> None:
    """Find only what is a JSON object, in any text."""
    for found in find_objects(text):
        assert isinstance(json.loads(found), dict)


@given(st.text(alphabet="ab <>.\n!", max_size=30), st.text(alphabet="ab <>.\n!", max_size=30))
def test_prose_does_not_hide_object(before: str, after: str) -> None:
    """Find an object between any words without braces, quotes and marks."""
    assert find_objects(f"{before}{GOOD}{after}") == [GOOD]


@pytest.mark.parametrize("piece", ["{", '{"a', '{"a":', '{"a": 1} ', "```", '"', "<think>", "{'"])
def test_finding_costs_linear_time(piece: str) -> None:
    """Take at most four times as long per character for eight times the text."""

    def measure(size: int) -> float:
        text = piece * size
        began = process_time()
        find_objects(text)
        return process_time() - began

    small = min(measure(5_000) for _ in range(3))
    assert min(measure(40_000) for _ in range(3)) < 8 * 4 * max(small, 1e-4)
