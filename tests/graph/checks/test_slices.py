"""Slices that the state lacks, or declares in another way."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import BaseModel, PrivateAttr

from graphorch.graph.node import node
from tests.graph.content import (
    Content,
    Draft,
    Job,
    Other,
    Sketch,
    Topic,
    Verdict,
    judge,
    list_problems,
    look,
    note,
    weak,
)


class Same(BaseModel):
    same: int


class Differs(BaseModel):
    same: str = ""


class Both(Same, Differs): ...  # pyright: ignore[reportIncompatibleVariableOverride]


class Verdicts(BaseModel):
    score: float = 0


class Small(Topic, Verdicts): ...


@node
def reads_differs(d: Differs) -> Same:
    return Same(same=1)


@node
def same_name(o: Job) -> Draft:
    return Draft(draft=o.job)


def test_missing_slice_suggests_nearest() -> None:
    """A slice that the state lacks is named with the nearest one that it has."""
    sketch = Sketch(Small)
    sketch.chain(judge)
    assert list_problems(sketch) == [
        "SLICE_MISSING at node 'judge': it reads Draft, which the state Small does not "
        "inherit from\n"
        "    fix: add it: class Small(…, Draft). Known: Small, Topic, Verdicts.",
        "SLICE_MISSING at node 'judge': it writes Verdict, which the state Small does "
        "not inherit from\n"
        "    fix: add it: class Small(…, Verdict). "
        "Did you mean 'Verdicts'? Known: Small, Topic, Verdicts.",
    ]


def test_input_and_output_must_be_slices() -> None:
    """Input and output must be slices of the state."""
    sketch = Sketch(Content, Other, Job)
    sketch.chain(note)
    assert [line.splitlines()[0] for line in list_problems(sketch)][:2] == [
        "SLICE_MISSING at input of graph 'content': it is Other, which the state Content "
        "does not inherit from",
        "SLICE_MISSING at output of graph 'content': it is Job, which the state Content "
        "does not inherit from",
    ]


def test_predicate_must_read_known_slices() -> None:
    """A predicate that reads a slice outside of the state is refused."""
    sketch = Sketch(Topic)
    sketch.chain(look)
    sketch.loop(look, back_to=look, while_=weak, max_iterations=2)
    assert list_problems(sketch) == [
        "SLICE_MISSING at loop 'look' → 'look': it reads Verdict, which the state Topic "
        "does not inherit from\n"
        "    fix: add it: class Topic(…, Verdict). Known: Topic."
    ]


def test_other_state_is_refused() -> None:
    """A node of another flow's state is refused."""

    @node
    def whole(c: Content) -> Topic:
        return c

    sketch = Sketch(Small)
    sketch.chain(whole)
    assert [line.split(",")[0] for line in list_problems(sketch)] == [
        "SLICE_MISSING at node 'whole': it reads Content"
    ]


def test_different_declarations_are_refused() -> None:
    """Two slices that declare a field differently are refused."""
    sketch = Sketch(Both, Same, Same)
    sketch.chain(reads_differs)
    assert list_problems(sketch) == [
        "SLICE_DIFFERS at node 'reads_differs': 'Differs.same' is declared as str = '', "
        "but the state Both has int\n"
        "    fix: declare the field once, in one slice, and inherit it where it is needed"
    ]


def test_unknown_annotation_is_named() -> None:
    """A state whose annotation names an unknown type is refused with that name."""

    class Lost(BaseModel):
        lost: Nowhere  # type: ignore[name-defined] # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    class State(Topic, Lost): ...

    sketch = Sketch(State, Topic, Topic)
    sketch.chain(look)
    assert list_problems(sketch) == [
        "STATE_ANNOTATION at state State: an annotation names 'Nowhere', which cannot be found\n"
        "    fix: define or import it at module level, not only for type checking"
    ]


def test_shared_field_is_fine() -> None:
    """Slices that declare a field in the same way may share it."""

    class More(Verdict):
        more: int = 0

    class State(Topic, More): ...

    @node
    def reads_more(m: More) -> Verdict:
        return m

    sketch = Sketch(State, Topic, Verdict)
    sketch.chain(reads_more)
    assert list_problems(sketch) == []


def test_private_attribute_is_refused() -> None:
    """A private attribute of a slice is refused by name; in the value of a field it is kept."""

    class Kept(BaseModel):
        _seen: int = PrivateAttr(0)

    class Session(BaseModel):
        kept: Kept = Kept()
        _token: str = PrivateAttr("")

    class Whole(Topic, Session): ...

    @node
    def use(topic: Topic) -> Session:
        return Session()

    sketch = Sketch(Whole)
    sketch.chain(use)
    assert list_problems(sketch) == [
        "SLICE_PRIVATE at state Whole: 'Session._token' is a private attribute, which no other "
        "node would see\n"
        "    fix: make it a field, put it into a model that is the value of a field, or hand the "
        "object to the run as `resources=`"
    ]


def three(old: int, new: int, factor: int) -> int:
    return old + new * factor


async def later(old: int, new: int) -> int:
    return old + new


class Sum:
    def __call__(self, old: int, new: int) -> int:
        return old + new


def test_wrong_reducers_are_refused() -> None:
    """A reducer that cannot fold two values is refused, and so is a second one."""

    class Folded(BaseModel):
        wrong: Annotated[int, three] = 0
        partial: Annotated[int, functools.partial(three, factor=2)] = 0
        waiting: Annotated[int, later] = 0
        double: Annotated[int, max, min] = 0
        kind: Annotated[int, Sum] = 0

    class Whole(Topic, Folded): ...

    @node
    def use(topic: Topic) -> Folded:
        return Folded()

    sketch = Sketch(Whole)
    sketch.chain(use)
    fix = "\n    fix: a reducer is a plain function (old, new) -> folded"
    assert list_problems(sketch) == [
        f"REDUCER at field 'wrong': its reducer 'three' cannot be called with two values{fix}",
        f"REDUCER at field 'waiting': its reducer 'later' is async{fix}",
        "REDUCER at field 'double': it has 2 reducers: 'max', 'min'\n"
        "    fix: name one of them in the annotation",
        "REDUCER at field 'kind': it names the class Sum, of which an instance is a reducer\n"
        "    fix: write an instance: Sum(…)",
    ]


class Question(BaseModel):
    text: str = ""
    asked: bool = False


class Answer(BaseModel):
    text: str = ""
    asked: bool = False


class Edited(Answer):
    text: str = "edited"


class Apart(BaseModel):
    text: str = ""


class Talk(Question, Edited, Apart): ...


@node
def reply(question: Question) -> Answer:
    return Answer(text=question.text)


@node
def edit(answer: Answer) -> Edited:
    return Edited(text=answer.text)


def test_shared_field_is_a_warning() -> None:
    """Two slices that declare the same fields on their own share them, which is suspicious."""
    sketch = Sketch(Talk, Question, Answer)
    sketch.chain(reply, edit)
    assert list_problems(sketch, warnings=True) == [
        "SLICE_SHARED at state Talk: slices Question and Answer share the fields 'text', 'asked': "
        "what is written to one of them is read from the other\n"
        "    fix: use another name in one of them; if it is meant, declare it in one slice and "
        "inherit"
    ]


def test_inherited_field_is_not_shared() -> None:
    """A field that a slice inherits, or declares again, is meant; so is one that nothing uses."""
    sketch = Sketch(Talk, Answer, Edited)
    sketch.chain(edit)
    assert list_problems(sketch, warnings=True) == []
    sketch = Sketch(Talk, Talk, Talk)
    sketch.chain(edit)
    assert list_problems(sketch, warnings=True) == []
