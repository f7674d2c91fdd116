"""Slices that nodes read and write: only set fields count, validated and not shared."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from graphorch.errors import ReducerFailed, Unassigned, WrongOutput
from graphorch.state.reducers import add, append
from graphorch.state.slices import AnyWriter, Schema, ValueReader, ValueWriter
from graphorch.state.version import Version
from tests.state.orders import order_of

T = TypeVar("T")


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str
    words: int = 0


class Point(BaseModel):
    at: list[int] = []


class Map(BaseModel):
    names: list[str] = []
    points: dict[str, Point] = {}


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Topic, Draft, Map, Log): ...


SCHEMA = Schema(State)


def version_of(**values: Any) -> Version:
    """A version in which these fields were written, one write each."""
    version = Version({}, {})
    for depth, (name, value) in enumerate(values.items(), start=1):
        field = SCHEMA.by_name[name]
        version.take(
            {field.index: value},
            frozenset({SCHEMA.by_name["log"].index}),
            order_of(depth, 0),
            "test",
        )
    return version


def named(update: dict[int, Any]) -> dict[str, Any]:
    return {SCHEMA.fields[index].name: value for index, value in update.items()}


# ---- reading -----------------------------------------------------------------------------------
def test_slice_holds_writes_and_defaults() -> None:
    """A slice holds what was written and the defaults of the rest."""
    assert SCHEMA.reader(Draft).read(version_of(draft="d")) == Draft(draft="d", words=0)


def test_slice_has_no_fields_set() -> None:
    """Nothing of a slice that was handed out counts as set."""
    assert SCHEMA.reader(Draft).read(version_of(draft="d", words=3)).model_fields_set == set()


def test_result_has_assigned_fields_set() -> None:
    """A result says what was assigned."""
    assert SCHEMA.reader(Draft).result(version_of(draft="d")).model_fields_set == {"draft"}


def test_unassigned_required_field_is_named() -> None:
    """A required field that nothing wrote is named."""
    with pytest.raises(
        Unassigned,
        match=r"'Draft.draft' was read, but nothing has assigned it in this run. "
        r"Write it before, or give it a default.",
    ):
        SCHEMA.reader(Draft).read(version_of(words=3))


def test_state_is_read_as_assigned() -> None:
    """The whole state is read as far as it is assigned."""
    state = SCHEMA.reader(State).read(version_of(topic="t"))
    assert (state.topic, state.words, state.log) == ("t", 0, [])
    with pytest.raises(AttributeError):
        state.draft


@pytest.mark.parametrize(
    "written, is_assigned",
    [
        ({}, False),
        ({"words": 1}, False),
        ({"draft": "d"}, True),
        ({"draft": "d", "words": 1}, True),
    ],
)
def test_slice_assigned_with_required_fields(written: dict[str, Any], is_assigned: bool) -> None:
    """A slice is assigned once all its required fields are."""
    assert SCHEMA.reader(Draft).is_assigned(version_of(**written)) == is_assigned


def test_slice_of_defaults_assigned_with_any() -> None:
    """A slice of defaults is assigned once any of them was written."""
    assert not SCHEMA.reader(Map).is_assigned(version_of(topic="t"))
    assert SCHEMA.reader(Map).is_assigned(version_of(names=[]))


def test_reader_cannot_change_others() -> None:
    """A change in place by one reader does not show to another."""
    version = version_of(names=["a"], points={"p": Point(at=[1])}, log=["l"])
    first = SCHEMA.reader(State).read(version)
    first.names.append("b")
    first.points["p"].at.append(2)
    first.points["q"] = Point()
    first.log.append("m")
    assert SCHEMA.reader(Map).read(version) == Map(names=["a"], points={"p": Point(at=[1])})
    assert SCHEMA.reader(Log).read(version).log == ["l"]


def test_default_is_fresh_for_each_reader() -> None:
    """Each reader gets a default of its own."""
    reader = SCHEMA.reader(Map)
    reader.read(Version({}, {})).names.append("leak")
    assert reader.read(Version({}, {})).names == []
    assert Map().names == []


def test_reader_cannot_change_fold() -> None:
    """The next write is added to the stored fold, not to the copy that a reader changed."""
    version = version_of(log=["a"])
    SCHEMA.reader(Log).read(version).log.append("leak")
    version.fold(SCHEMA.by_name["log"].index, ["b"], order_of(9, 0), "n")
    assert SCHEMA.reader(Log).read(version).log == ["a", "b"]


# ---- writing -------------------------------------------------------------------------------------
def test_update_has_set_fields_only() -> None:
    """Only what was set is written."""
    writer = SCHEMA.writer(Draft)
    assert named(writer.update(Draft(draft="d"))) == {"draft": "d"}
    assert named(writer.update(Draft(draft="d", words=0))) == {"draft": "d", "words": 0}
    assert named(SCHEMA.writer(Map).update(Map())) == {}


def test_update_has_fields_set_later() -> None:
    """A field that was set later counts too."""
    made = Map()
    made.names = ["a"]
    assert named(SCHEMA.writer(Map).update(made)) == {"names": ["a"]}


def test_update_keeps_coerced_value() -> None:
    """A coerced value is what is kept."""
    update = named(
        SCHEMA.writer(Draft).update(Draft.model_construct({"words"}, draft="d", words="3"))
    )
    assert update == {"words": 3}
    assert type(update["words"]) is int


def test_wrong_type_is_refused_with_value() -> None:
    """Another type is refused, and the message shows the value."""
    with pytest.raises(
        WrongOutput,
        match=r"It returned Topic Topic\(topic='t'\), but declares Draft. Return a Draft.",
    ):
        SCHEMA.writer(Draft).update(Topic(topic="t"))
    with pytest.raises(WrongOutput, match=r"It returned nothing, but declares Draft"):
        SCHEMA.writer(Draft).update(None)


def test_invalid_value_is_refused_with_place() -> None:
    """An invalid value is refused with its place."""
    with pytest.raises(
        WrongOutput,
        match=r"It returned Draft with 'words' = str 'many': Input should be a valid integer",
    ):
        SCHEMA.writer(Draft).update(Draft.model_construct({"words"}, words="many"))
    deep = Map(points={"p": Point()})
    deep.points["p"].at = ["x"]  # type: ignore[list-item]
    with pytest.raises(
        WrongOutput, match=r"with 'points.p.at.0' = str 'x': Input should be a valid integer"
    ):
        SCHEMA.writer(Map).update(deep)


def test_long_value_is_shortened() -> None:
    """A long value is shortened in the message."""
    with pytest.raises(WrongOutput) as caught:
        SCHEMA.writer(Draft).update(Draft.model_construct({"words"}, words="x" * 1000))
    assert "…" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_unknown_field_names_nearest() -> None:
    """A field of a subclass is unknown and the nearest is named."""

    class Wide(Draft):
        drafts: str = ""

    with pytest.raises(
        WrongOutput,
        match=r"It returned a field 'drafts' that Draft does not have. "
        r"Did you mean 'draft'\? Known: draft, words.",
    ):
        SCHEMA.writer(Draft).update(Wide(draft="d", drafts="e"))
    assert named(SCHEMA.writer(Draft).update(Wide(draft="d"))) == {"draft": "d"}


def test_writer_cannot_change_update() -> None:
    """A node may keep what it returned and change it later: the state does not change."""
    kept = Map(names=["a"], points={"p": Point(at=[1])})
    update = named(SCHEMA.writer(Map).update(kept))
    kept.names.append("b")
    kept.points["p"].at.append(2)
    assert update == {"names": ["a"], "points": {"p": Point(at=[1])}}


def test_untyped_value_is_copied() -> None:
    """A value whose type says nothing is copied."""

    class Free(BaseModel):
        anything: Any = None

    schema, given = Schema(Free), {"deep": [1]}
    update = schema.writer(Free).update(Free(anything=given))
    given["deep"].append(2)
    assert update == {0: {"deep": [1]}}


# ---- returning what was handed out ---------------------------------------------------------------
def test_returned_input_writes_changes() -> None:
    """A node that changes its input in place and returns it writes just that."""
    version = version_of(names=["a"], points={})
    handed = SCHEMA.reader(Map).read(version)
    handed.names.append("b")
    assert named(SCHEMA.writer(Map).returned_input(handed, version)) == {"names": ["a", "b"]}
    untouched = SCHEMA.reader(Map).read(version)
    assert named(SCHEMA.writer(Map).returned_input(untouched, version)) == {}


def test_returned_input_writes_changed_default() -> None:
    """A default that was changed in place is written too."""
    handed = SCHEMA.reader(Map).read(Version({}, {}))
    handed.names.append("b")
    assert named(SCHEMA.writer(Map).returned_input(handed, Version({}, {}))) == {"names": ["b"]}


@pytest.mark.parametrize("in_place", [True, False])
def test_returned_input_refuses_changed_reducer(in_place: bool) -> None:
    """A reducer field of the input that was changed is refused."""
    version = version_of(log=["a"])
    handed = SCHEMA.reader(Log).read(version)
    if in_place:
        handed.log.append("b")
    else:
        handed.log = ["a", "b"]
    with pytest.raises(
        WrongOutput,
        match=r"It changed 'log' of the slice that it was given, .* "
        r"return Log\(log=…\) with only what is new.",
    ):
        SCHEMA.writer(Log).returned_input(handed, version)


def test_returned_input_refuses_invalid_change() -> None:
    """An invalid change in place is refused with its place."""
    handed = SCHEMA.reader(Map).read(version_of(names=["a"]))
    handed.names.append(3)  # type: ignore[arg-type]
    with pytest.raises(
        WrongOutput, match=r"with 'names.1' = int 3: Input should be a valid string"
    ):
        SCHEMA.writer(Map).returned_input(handed, version_of(names=["a"]))


class Vector:
    """Compared item by item, as arrays are; `bool` of the answer is refused."""

    def __init__(self, *items: int) -> None:
        self.items = list(items)

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Vector):
            raise TypeError("not a vector")
        return Vector(*map(int.__eq__, self.items, other.items))

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class Vectors(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    vectors: list[Vector] = [Vector(1, 2)]
    single: Vector | None = Vector(3)
    plain: int = 0


def test_returned_input_compares_arrays() -> None:
    """Values whose comparison gives no answer are compared by what they hold."""
    schema, version = Schema(Vectors), Version({}, {})
    handed = schema.reader(Vectors).read(version)
    handed.plain = 1
    writer = schema.writer(Vectors)
    assert writer.returned_input(handed, version) == {2: 1}
    assert handed.single is not None
    handed.single.items.append(4)
    handed.vectors[0].items.append(4)
    assert writer.returned_input(handed, version).keys() == {0, 1, 2}


def test_uncopyable_value_names_field() -> None:
    """A value that cannot be copied is refused by the name of its field, with a way out."""

    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    class Clients(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        client: Client | None = None
        default: Client = Client()

    schema = Schema(Clients)
    what = r"holds a value that cannot be copied \(TypeError: cannot pickle .*\), .*`resources=`"
    with pytest.raises(WrongOutput, match=rf"'client' {what}"):
        schema.writer(Clients).update(Clients(client=Client()))
    with pytest.raises(WrongOutput, match=rf"'default' {what}"):
        schema.reader(Clients).read(Version({}, {}))


# ---- the law -------------------------------------------------------------------------------------
@given(
    st.lists(st.text(max_size=3), max_size=4),
    st.dictionaries(st.sampled_from("ab"), st.lists(st.integers(), max_size=2), max_size=2),
)
def test_round_trip_is_isolated(names: list[str], points: dict[str, list[int]]) -> None:
    """A value is read as it was written, and neither end can change it."""
    made = Map(names=names, points={key: Point(at=at) for key, at in points.items()})
    whole = made.model_copy(deep=True)
    version = Version({}, {})
    version.take(SCHEMA.writer(Map).update(made), frozenset(), order_of(1, 0), "n")
    for _ in range(2):
        read = SCHEMA.reader(Map).read(version)
        assert read == whole
        for item in (read, made):
            item.names.append("leak")
            for point in item.points.values():
                point.at.append(0)
            item.points["leak"] = Point()


# ---- models of every kind ----------------------------------------------------------------------
def roundtrip(model: type[BaseModel], made: BaseModel) -> Any:
    schema, version = Schema(model), Version({}, {})
    version.take(schema.writer(model).update(made), frozenset(), order_of(1, 0), "n")
    return schema.reader(model).read(version)


def test_hook_of_slice_runs_once() -> None:
    """`model_post_init` runs where a node makes the slice, and not again for a reader."""

    class Counting(BaseModel):
        n: int = 0

        def model_post_init(self, context: Any, /) -> None:
            self.n += 1

    assert roundtrip(Counting, Counting(n=1)).n == 2


def test_aliases_are_for_input() -> None:
    """Aliases are for input and names for the state."""

    class Aliased(BaseModel):
        n: int = Field(0, alias="N")
        names: list[str] = Field(default_factory=list, validation_alias="Names")

    assert roundtrip(Aliased, Aliased.model_validate({"N": "3", "Names": ["a"]})).model_dump() == {
        "n": 3,
        "names": ["a"],
    }


def test_frozen_slice_is_read_and_written() -> None:
    """A frozen slice can be read and written."""

    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        n: int = 0
        names: tuple[str, ...] = ()

    read = roundtrip(Frozen, Frozen(n=1, names=("a",)))
    assert read == Frozen(n=1, names=("a",))
    with pytest.raises(Exception, match=r"frozen"):
        read.n = 2


def test_generic_slice_validates_by_parameter() -> None:
    """A generic slice validates by its parameter."""

    class Box(BaseModel, Generic[T]):
        item: T

    assert roundtrip(Box[int], Box[int].model_construct({"item"}, item="3")).item == 3
    with pytest.raises(WrongOutput):
        Schema(Box[int]).writer(Box[int]).update(Box[int].model_construct({"item"}, item="x"))


def test_validators_run_on_writes() -> None:
    """Validators run on what is written."""

    class Even(BaseModel):
        n: int = 0

        @field_validator("n")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError(f"{value} is odd")
            return value

    assert roundtrip(Even, Even(n=2)).n == 2
    made = Even()
    made.n = 3
    with pytest.raises(WrongOutput, match=r"with 'n' = int 3: Value error, 3 is odd\."):
        Schema(Even).writer(Even).update(made)


def test_slice_with_extra_fields() -> None:
    """A slice that allows extra fields is handed out like others, but they are not written."""

    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        n: int = 0

    read = roundtrip(Open, Open(n=1))
    assert read == Open(n=1)
    read.more = 2
    assert read.model_extra == {"more": 2}
    with pytest.raises(WrongOutput, match=r"It returned a field 'more' that Open does not have"):
        Schema(Open).writer(Open).update(read)


def test_loose_subclass_is_not_shared() -> None:
    """The declared type is immutable and shared; an instance of a mutable subclass is copied."""

    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        n: int = 0

    class Loose(Frozen):
        model_config = ConfigDict(frozen=False)
        names: list[str] = []

    class Holder(BaseModel):
        frozen: Frozen = Frozen()

    made = Holder(frozen=Loose(n=1, names=["a"]))
    read = roundtrip(Holder, made)
    assert read.frozen == Loose(n=1, names=["a"])
    assert read.frozen is not made.frozen


# ---- reducers of the user's own ------------------------------------------------------------------
def greedy(old: list[str], new: list[str]) -> list[str]:
    """Changes what it is given, which it must not."""
    old.extend(new)
    new.clear()
    return old


def test_reducer_that_changes_arguments() -> None:
    """A reducer that changes its arguments harms nobody else."""

    class Greedy(BaseModel):
        log: Annotated[list[str], greedy] = []

    schema = Schema(Greedy)
    root = Version({}, {})
    root.fold(0, ["root"], order_of(1, 0), "n")
    schema.reader(Greedy).read(root)
    left, right = root.split(2)
    update = schema.writer(Greedy).update(Greedy(log=["left"]))
    left.fold(0, update[0], order_of(2, 0), "n")
    right.fold(0, ["right"], order_of(2, 1), "n")
    assert schema.reader(Greedy).read(left).log == ["root", "left"]
    assert schema.reader(Greedy).read(right).log == ["root", "right"]
    assert update[0] == ["left"]


def test_failing_reducer_names_field_and_writers() -> None:
    """A reducer that raises, or returns another type, is named with its field and the writers."""

    class Failing(BaseModel):
        nothing: Annotated[list[str] | None, add] = None
        typed: Annotated[list[str], lambda old, new: None] = []

    schema, version = Schema(Failing), Version({}, {})
    version.take({0: ["a"], 1: ["a"]}, frozenset({0, 1}), order_of(1, 0), "first")
    version.take({1: ["b"]}, frozenset({0, 1}), order_of(2, 0), "second")
    for name, what in {
        "nothing": r"'add' of field 'nothing' raised TypeError: .* written by 'first', "
        r"beginning with the default None",
        "typed": r"'.*<lambda>' of field 'typed' returned None: Input should be a valid "
        r"list\. .* written by 'first', 'second'",
    }.items():
        for _ in range(2):
            with pytest.raises(ReducerFailed, match=f"The reducer {what}"):
                schema.by_name[name].value(version)


def test_list_of_rounds_is_isolated() -> None:
    """Each round of a loop reads a list of its own, although the stored one only grows."""
    version, reader = Version({}, {}), SCHEMA.reader(Log)
    reads: list[list[str]] = []
    for depth in range(1, 5):
        version.take(
            {SCHEMA.by_name["log"].index: [str(depth)]},
            frozenset({SCHEMA.by_name["log"].index}),
            order_of(depth, 0),
            "n",
        )
        left, version = version.split(2)
        reads.append(reader.read(version).log)
        reads[-1].append("leak")
        left.fold(SCHEMA.by_name["log"].index, ["left"], order_of(depth, 1), "n")
        assert reader.read(left).log[-1] == "left"
    assert reads[-1] == ["1", "2", "3", "4", "leak"]


# ---- whole slices as values, and slices that nobody knows before ---------------------------------
class Item(BaseModel):
    text: str
    marks: list[int] = []


class Work(BaseModel):
    item: Item


def test_value_slice_round_trip() -> None:
    """A whole slice is written and read as one value."""
    field = Schema(Work).fields[0]
    writer, reader, version = ValueWriter(Item, field), ValueReader(Item, field), Version({}, {})
    assert not reader.is_assigned(version)
    with pytest.raises(Unassigned, match=r"A Item was read, but the worker has not written one."):
        reader.read(version)
    given = Item(text="a", marks=[1])
    version.take(writer.update(given), frozenset(), order_of(1, 0), "n")
    given.marks.append(2)
    read = reader.read(version)
    assert (read, read.model_fields_set) == (Item(text="a", marks=[1]), {"text", "marks"})
    read.marks.append(3)
    assert reader.result(version) == Item(text="a", marks=[1])
    assert reader.is_assigned(version)


def test_value_slice_of_wrong_type() -> None:
    """A whole slice that does not fit is refused."""
    writer = ValueWriter(Item, Schema(Work).fields[0])
    with pytest.raises(
        WrongOutput, match=r"It returned str 'a', but declares Item. Return a Item."
    ):
        writer.update("a")
    with pytest.raises(
        WrongOutput, match=r"It returned Item with 'text' = int 3: Input should be a valid string."
    ):
        writer.update(Item.model_construct({"text"}, text=3))


def test_lambda_writes_any_slice() -> None:
    """Any slice of the state may come from a lambda and nothing else."""
    writer = AnyWriter(SCHEMA)
    assert named(writer.update(Draft(draft="d"))) == {"draft": "d"}
    assert named(writer.update(State(topic="t", draft="d"))) == {"topic": "t", "draft": "d"}
    with pytest.raises(
        WrongOutput,
        match=r"which is not a slice of the state State. Return a model that State inherits from.",
    ):
        writer.update(Item(text="a"))


# ---- what a slice and the state declare ----------------------------------------------------------
def test_mistakes_name_each_field() -> None:
    """Each field that is declared otherwise is one sentence."""

    class Wrong(BaseModel):
        topic: int
        words: int = 1
        log: list[str] = []
        other: str = ""

    assert SCHEMA.mistakes(Wrong) == [
        "'Wrong.topic' is declared as int, but the state State has str.",
        "'Wrong.words' is declared as int = 1, but the state State has int = 0.",
        "'Wrong.log' is declared as list[str] = [], "
        "but the state State has list[str] folded by append = [].",
        "'Wrong.other' is not a field of the state State.",
    ]
    assert [SCHEMA.mistakes(model) for model in (Topic, Draft, Map, Log, State)] == [[]] * 5


def test_memory_slices_follow_the_state() -> None:
    """Slices beside the state follow it and the state does not see them."""

    class Memory(BaseModel):
        rounds: int = 0

    schema = Schema(Topic, (Memory,))
    assert [(field.index, field.name, field.required) for field in schema.fields] == [
        (0, "topic", True),
        (1, "rounds", False),
    ]
    assert [field.name for field in schema.reader(Topic).fields] == ["topic"]


# ---- slices of many fields -----------------------------------------------------------------------
class Many(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    a: int = 0
    b: float = Field(default=0.0, ge=0, alias="bee")
    c: str = ""
    d: list[int] = []
    e: dict[str, Point] = {}
    f: tuple[int, ...] = ()
    g: dict[str, list[str]] = {}
    h: bool | None = None


def one_by_one(given: Many) -> dict[int, Any]:
    fields = Schema(Many).fields
    return {field.index: field.validate(getattr(given, field.name)) for field in fields}


@given(
    st.integers(), st.floats(0, 1e9), st.text(), st.lists(st.integers()), st.booleans() | st.none()
)
def test_many_fields_validate_like_single_ones(
    a: int, b: float, c: str, d: list[int], h: bool | None
) -> None:
    """All fields in one go are what each of them is alone."""
    given = Many.model_construct(
        {*Many.model_fields}, a=a, b=b, c=c, d=d, e={"p": Point(at=d)}, f=(a,), g={"q": [c]}, h=h
    )
    update = Schema(Many).writer(Many).update(given)
    assert update == one_by_one(given)
    assert update[3] is not given.d
    assert update[6] is not given.g


def test_wrong_field_of_many_is_named() -> None:
    """A wrong one of many fields is named like any other."""
    given = Many.model_validate(
        {"a": 1, "b": 1, "c": "c", "d": [1], "e": {}, "f": (), "g": {}, "h": None}
    )
    given.d.append("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        WrongOutput, match=r"It returned Many with 'd.1' = str 'x': Input should be a valid integer"
    ):
        Schema(Many).writer(Many).update(given)
