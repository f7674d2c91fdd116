"""Arguments of tools: what runs is plain JSON, the same for equal arguments."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from graphorch.agents.tool import tool
from graphorch.agents.tool_arguments import WrongArguments, write_canonical
from graphorch.journal.codec import dump


class Order(BaseModel):
    item: str
    count: int = 1


def take(
    order: Order,
    tags: set[str] = frozenset(),  # pyright: ignore[reportArgumentType]
    place: Annotated[str, AfterValidator(str.upper)] = "",
) -> str:
    return f"{order} {tags} {place}"


def keep(secret: SecretStr) -> None: ...


class Label(BaseModel):
    name: str
    id: str = Field(default_factory=lambda: uuid4().hex)
    tags: list[str] = Field(default_factory=list)


@dataclass
class Stamp:
    at: int
    id: str = field(default_factory=lambda: uuid4().hex)


def mark(
    label: Label | None = None, labels: Sequence[Label] = (), stamp: Stamp | None = None
) -> None: ...


def nest(levels: int) -> Any:
    return [nest(levels - 1)] if levels else {}


def weigh(kilos: float) -> None: ...


@pytest.mark.parametrize(
    ("fn", "written", "arguments"),
    [
        (
            take,
            '{"order": {"item": "a"}, "tags": ["c", "b", "a", "a"], "place": "x"}',
            {"order": {"item": "a", "count": 1}, "tags": ["a", "b", "c"], "place": "X"},
        ),
        (
            take,
            '{"order": {"item": "a"}}',
            {"order": {"item": "a", "count": 1}, "tags": [], "place": ""},
        ),
        (mark, '{"label": {"name": "a"}}', {"label": {"name": "a"}}),
        (mark, '{"labels": [{"name": "a"}]}', {"labels": [{"name": "a"}]}),
        (mark, '{"stamp": {"at": 1}}', {"stamp": {"at": 1}}),
        (
            mark,
            '{"label": {"name": "a", "id": "x"}}',
            {"label": {"name": "a", "id": "x", "tags": []}, "stamp": None},
        ),
        (keep, '{"secret": "x"}', {"secret": "x"}),
        (weigh, '{"kilos": "1e3"}', {"kilos": 1000.0}),
    ],
)
def test_arguments_are_written_after_validation(
    fn: Callable[..., Any], written: str, arguments: dict[str, Any]
) -> None:
    """Defaults are filled in, sets are sorted, and a secret is kept as it was written.

    So are arguments with a default that would be another one at the next reading.
    """
    assert tool(fn).read_arguments(written) == arguments
    assert tool(fn).read_arguments(written) == arguments


def test_canonical_text_does_not_depend_on_order() -> None:
    """Equal arguments have one text, also in another process with another order of sets."""
    written = ['{"place": "a", "order": {"count": 2, "item": "b"}, "tags": ["x", "y", "zz"]}']
    written.append('{"tags": ["zz", "y", "x"], "order": {"item": "b", "count": "2"}, "place": "A"}')
    texts = {write_canonical(tool(take).read_arguments(text)) for text in written}
    program = (
        "from tests.agents.test_tool_arguments import take, tool, write_canonical;"
        f"print(write_canonical(tool(take).read_arguments({written[0]!r})), end='')"
    )
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        texts.add(
            subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(texts) == 1
    assert json.loads(texts.pop())["tags"] == ["x", "y", "zz"]


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        pytest.param(10**5_000, id="long number"),
        pytest.param(2**4_096, id="number of many bits"),
        pytest.param(nest(33), id="deep"),
        pytest.param("\ud83d", id="half"),
    ],
)
def test_canonical_text_is_json(value: object) -> None:
    """What JSON does not have is an error, not a text that others cannot read."""
    with pytest.raises(ValueError, match=r"."):
        write_canonical({"a": value})


@pytest.mark.parametrize(
    "written", ["", "null", "[]", "7", '{"kilos": {}}', '{"kilos": 1, "x": 2}']
)
def test_wrong_arguments_are_told(written: str) -> None:
    with pytest.raises(WrongArguments, match="Call it again with arguments that fit"):
        tool(weigh).read_arguments(written)


def test_arguments_fit_a_record() -> None:
    """Arguments that have a canonical text can be kept in a journal."""
    arguments = {"a": nest(31), "b": 2**4_095, "c": "ä\0", "d": [1.5, None, True]}
    dump({"arguments": arguments, "text": write_canonical(arguments)})
