"""What a function reads and writes, and the message when that cannot be known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Optional, Protocol

import pytest
from pydantic import BaseModel

from graphorch import Untrusted, node
from graphorch.errors import GraphError
from graphorch.graph.context import Context
from graphorch.graph.signature import (
    Read,
    Signature,
    inspect_callable,
    prompt_signature,
    pure_reads,
    read_hints,
    read_return_type,
    read_signature,
)


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str


class Verdict(BaseModel):
    score: float = 0


class Clients: ...


class Sender(Protocol):
    def send(self) -> None: ...


def plain(t: Topic) -> Draft: ...
async def later(ctx: Context[Clients], t: Topic, v: Verdict | None) -> Draft | None: ...
def pair(t: Topic) -> tuple[Draft, Verdict]: ...
def nothing(t: Optional[Topic]) -> None: ...  # noqa: UP045
def five(a: Topic, b: Topic, c: Topic, d: Topic, e: Topic) -> None: ...
def none() -> Draft: ...
def bare(t) -> Draft: ...  # type: ignore[no-untyped-def]
def number(t: int) -> Draft: ...
def base(t: BaseModel) -> Draft: ...
def star(*t: Topic) -> Draft: ...
def no_return(t: Topic): ...  # type: ignore[no-untyped-def]
def text(t: Topic) -> str: ...
def either(t: Topic) -> Draft | Verdict: ...
def same(t: Topic) -> tuple[Draft, Draft]: ...
def yields(t: Topic) -> Draft:  # type: ignore[misc]  # pyright: ignore[reportInvalidTypeForm]
    yield Draft(draft="")  # pyright: ignore[reportReturnType]


async def streams(t: Topic) -> Draft:  # type: ignore[misc]  # pyright: ignore[reportInvalidTypeForm]
    yield Draft(draft="")  # pyright: ignore[reportReturnType]


def late(t: Topic, ctx: Context) -> Draft: ...
def unknown(t: Nowhere) -> Draft: ...  # type: ignore[name-defined] # noqa: F821


class Writer:
    def write(self, t: Topic) -> Draft: ...
    def __call__(self, t: Topic) -> Draft: ...


def tell(t: Topic, tone: str, most: int) -> Draft: ...


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (plain, Signature((Read(Topic),), (Draft,), False, None, False, False)),
        (later, Signature((Read(Topic), Read(Verdict, True)), (Draft,), True, Clients, True, True)),
        (pair, Signature((Read(Topic),), (Draft, Verdict), False, None, False, False)),
        (nothing, Signature((Read(Topic, True),), (), False, None, True, False)),
    ],
)  # fmt: skip
def test_signature_comes_from_annotations(fn: Callable[..., Any], expected: Signature) -> None:
    """A signature is read off the annotations."""
    assert read_signature(fn, {}) == expected


@pytest.mark.parametrize(
    ("fn", "what"),
    [
        (five, "it reads 5 slices; at most 4 are possible"),
        (none, "it does not read a slice"),
        (bare, "parameter 't' has no annotation"),
        (number, "parameter 't' is annotated int, which is not a slice"),
        (base, "parameter 't' is annotated BaseModel, which is not a slice"),
        (star, "parameter 't' is not positional"),
        (no_return, "its return is not annotated"),
        (text, "it returns str, which is not a slice"),
        (either, "it returns tests"),
        (same, "it returns tuple"),
        (unknown, "an annotation names 'Nowhere', which cannot be found"),
        (yields, "it is a generator, and a node returns once"),
        (streams, "it is a generator, and a node returns once"),
        (late, "parameter 'ctx' is the context, which comes first"),
        (Writer, "Writer is a class, not a function"),
        (Writer.write, "it is a method, and 'self' is not a slice"),
    ],
)  # fmt: skip
def test_wrong_signature_is_explained(fn: Callable[..., Any], what: str) -> None:
    """A wrong signature is explained."""
    with pytest.raises(GraphError) as caught:
        read_signature(fn, {})
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("NODE_SIGNATURE", f"node '{fn.__name__}'")
    assert problem.what.startswith(what.removesuffix("tests"))
    assert problem.fix


@pytest.mark.parametrize(
    "fn",
    [
        Writer(),
        Writer().write,
        partial(tell, tone="dry", most=3),
        partial(partial(tell, tone="dry"), most=3),
    ],
)
def test_object_method_and_partial_are_functions(fn: Callable[..., Any]) -> None:
    """Objects with a call and bound methods are functions; what a partial binds is no slice."""
    expected = Signature((Read(Topic),), (Draft,), False, None, False, False)
    assert read_signature(fn, {}) == expected


def test_local_slice_is_resolved() -> None:
    """A slice that is defined beside the function is resolved."""

    class Local(BaseModel):
        local: int

    def uses(local: Local) -> Local: ...

    assert read_signature(uses, {"Local": Local}).reads == (Read(Local),)


def test_pure_function_reads_slices_or_state() -> None:
    """A pure function reads one to three slices; a bare parameter is the state."""

    def three(t: Topic, d: Draft, v: Verdict) -> bool: ...

    assert pure_reads(three, "here") == (Read(Topic), Read(Draft), Read(Verdict))
    assert pure_reads(lambda state: True, "here") == (Read(None),)


@pytest.mark.parametrize("fn", [later, nothing, none, five], ids=lambda fn: fn.__name__)
def test_impure_function_is_refused(fn: Callable[..., Any]) -> None:
    """A function that is not pure is refused where it was given."""
    with pytest.raises(GraphError) as caught:
        pure_reads(fn if fn is not later else _async, "loop 'a' → 'b'")
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [
        ("PURE_SIGNATURE", "loop 'a' → 'b'")
    ]


@pytest.mark.parametrize("fn", [number, star, unknown], ids=lambda fn: fn.__name__)
def test_wrong_pure_signature_names_its_place(fn: Callable[..., Any]) -> None:
    """A wrong parameter of a pure function is reported where it was given, and blames no node."""
    with pytest.raises(GraphError) as caught:
        pure_reads(fn, "loop 'a' → 'b'")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("PURE_SIGNATURE", "loop 'a' → 'b'")
    assert f"of '{fn.__name__}', " in problem.what
    assert "node" not in str(caught.value)


async def _async(t: Topic) -> bool: ...


def test_prompt_signature_writes_output() -> None:
    """A prompt function makes an agent that writes its output."""

    def prompt(t: Topic, d: Draft) -> str: ...
    def wrong(t: Topic) -> int: ...

    assert prompt_signature(prompt, Verdict, {}) == Signature(
        (Read(Topic), Read(Draft)), (Verdict,), True, None, False, True
    )
    with pytest.raises(GraphError, match="its prompt returns int"):
        prompt_signature(wrong, Verdict, {})
    with pytest.raises(GraphError, match="is not a pydantic model"):
        prompt_signature(prompt, str, {})  # type: ignore[arg-type]


def test_return_annotation_is_evaluated() -> None:
    """Return annotations are evaluated."""
    assert read_return_type(plain) is Draft
    assert read_hints(pair, {})["return"] == tuple[Draft, Verdict]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated at once before")
def test_unknown_names_of_lazy_annotations_are_named() -> None:
    """A name for type checkers alone is a problem of the graph, also where nothing quotes it."""
    names: dict[str, Any] = {"Topic": Topic}
    text = "def reads(seen: Unseen) -> Topic: ..."
    exec(compile(text, "lazy", "exec", dont_inherit=True), names)
    with pytest.raises(GraphError, match="an annotation names 'Unseen', which cannot be found"):
        read_signature(names["reads"], {})
    assert list(inspect_callable(names["reads"]).parameters) == ["seen"]


def test_names_around_a_function_are_found() -> None:
    """Annotations of a pure function may name models of the functions around it."""

    class Here(BaseModel):
        here: int = 0

    def inside() -> tuple[Read, ...]:
        class Deep(BaseModel):
            deep: int = 0

        def reads(here: Here, deep: Deep) -> bool:
            return bool(here and deep)

        found = pure_reads(reads, "here")
        assert [read.model for read in found] == [Here, Deep]
        return found

    assert inside()[0].model is Here


def test_names_around_a_function_hide_outer_ones() -> None:
    """The innermost definition of a name counts, as in the code itself."""

    class Topic(BaseModel):
        mine: int = 0

    def reads(topic: Topic) -> bool:
        return bool(topic)

    assert pure_reads(reads, "here") == (Read(Topic),)
    assert Topic.model_fields.keys() == {"mine"}


@pytest.mark.parametrize("kind", [Any, Sender])
def test_context_of_any_needs_no_type(kind: Any) -> None:
    """A context whose resources cannot be checked by their type takes whatever it is given."""

    def work(ctx: Any, topic: Topic) -> None: ...

    work.__annotations__ = {"ctx": Context[kind], "topic": Topic, "return": None}
    assert read_signature(work, {}).resources is None


def test_slice_marked_as_a_whole_is_refused() -> None:
    """Marks belong to fields: a slice in a signature has none of its own."""

    class Page(BaseModel):
        text: str = ""

    def reads(page: Untrusted[Page]) -> None: ...
    def writes(page: Page) -> Untrusted[Page]: ...

    for fn in (reads, writes):
        with pytest.raises(GraphError, match="marked as a whole") as raised:
            node(fn)
        assert "mark its fields instead" in raised.value.problems[0].fix
