"""Values of a field as JSON: what comes back is what was there, or it is refused."""

# pyright: reportCallIssue=false, reportUnhashable=false

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    Json,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    Secret,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WrapSerializer,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_serializer,
)
from pydantic_core import TzInfo

from graphorch.state.identity import is_identical
from graphorch.state.value_codec import Lossy, ValueCodec

BERLIN = ZoneInfo("Europe/Berlin")
JANUARY = datetime.datetime(2026, 1, 1)


def at(*clock: int, zone: datetime.tzinfo | None = BERLIN, fold: int = 0) -> datetime.datetime:
    return datetime.datetime(*clock, tzinfo=zone, fold=fold)  # type: ignore[arg-type,misc]


def offset(minutes: float, name: str | None = None) -> datetime.timezone:
    delta = datetime.timedelta(minutes=minutes)
    return datetime.timezone(delta) if name is None else datetime.timezone(delta, name)


class Level(enum.StrEnum):
    LOW = "low"


class Bits(enum.Flag):
    A = 1
    B = 2


class Inner(BaseModel):
    user_id: int = Field(0, alias="userId")
    when: datetime.datetime | None = None
    kids: list[Inner] = []
    hidden: int = Field(1, exclude=True)

    @computed_field
    def double(self) -> int:
        return self.user_id * 2


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    n: int = 0
    m: int = 1


class Counted(BaseModel):
    n: int = 0

    def model_post_init(self, context: Any) -> None:
        self.n += 1


class Private(BaseModel):
    n: int = 0
    _token: Any = PrivateAttr("none")


class Spoken(BaseModel):
    n: int = 0

    @model_serializer
    def speak(self) -> str:
        return f"n={self.n}"


class Labelled(BaseModel):
    n: int = 0

    @model_serializer(mode="wrap")
    def label(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**write(self), "kind": "labelled"}


class Special(Inner):
    more: int = 0


@dataclasses.dataclass
class Slot:
    n: int = 0
    at: datetime.time = datetime.time(0)

    def __post_init__(self) -> None:
        self.n += 1


class Pair(NamedTuple):
    n: int
    inner: Inner


class Raw:
    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Raw({self.x})"


def make_raw(value: Any) -> Raw:
    return value if isinstance(value, Raw) else Raw(value)


def write_raw(value: Raw) -> int:
    return value.x


def with_info(value: Raw, info: Any) -> int:
    return value.x


def refuse_again(value: int) -> int:
    """Validate once only: a second time means that a valid value was validated again."""
    if value != 5:
        raise ValueError("only 5 is converted")
    return 1999


def write_through(value: Any, write: SerializerFunctionWrapHandler) -> Any:
    return write(value)


class State(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    when: datetime.datetime = JANUARY
    clock: datetime.time = datetime.time(0)
    aware: AwareDatetime = at(2026, 1, 1)
    number_or_time: int | datetime.datetime = 0
    text_or_time: str | datetime.datetime = ""
    times: dict[datetime.datetime, datetime.time] = {}
    free: Any = None
    level: Level = Level.LOW
    bits: Bits = Bits.A
    text: str = ""
    bounded: deque[int] = deque()
    inners: deque[Inner] = deque()
    counts: Counter[str] = Counter()
    grouped: defaultdict[str, list[int]] = defaultdict(list)
    ordered: OrderedDict[str, int] = OrderedDict()
    data: bytes = b""
    ratio: float = 0.0
    amount: decimal.Decimal = decimal.Decimal(0)
    path: Path = Path()
    pattern: re.Pattern[str] = re.compile("")
    address: ipaddress.IPv4Address = ipaddress.IPv4Address(0)
    inner: Inner = Inner()
    many: list[Inner] = []
    tags: set[Frozen] = set()
    counted: Counted = Counted()
    private: Private = Private()
    spoken: Spoken = Spoken()
    slot: Slot = Slot()
    pair: Pair | None = None
    secret: SecretStr = SecretStr("")
    secret_day: Secret[datetime.date] | None = None
    secret_data: SecretBytes = SecretBytes(b"")
    cents: Annotated[int, BeforeValidator(lambda value: round(value * 100))] = 0
    once: Annotated[int, BeforeValidator(refuse_again)] = 0
    loud: Annotated[str, AfterValidator(lambda value: value + "!")] = ""
    length: Annotated[int, BeforeValidator(len)] = 0
    wrapped: Json[list[int]] = []
    raw: Annotated[Raw, PlainSerializer(write_raw), PlainValidator(make_raw)] = Raw(0)
    raw_info: Annotated[Raw, PlainSerializer(with_info), PlainValidator(make_raw)] = Raw(0)
    raw_turned: Annotated[Raw, PlainValidator(make_raw), PlainSerializer(write_raw)] = Raw(0)
    raw_of: Annotated[InstanceOf[Raw], BeforeValidator(make_raw), PlainSerializer(write_raw)] = Raw(
        0
    )
    bare: Raw | None = None
    call: Callable[[int], int] | None = None
    sequence: Sequence[int] = []
    mapping: Mapping[str, int] = {}
    mixed: set[int | str] = set()
    masked: str = ""
    dependent: int = 0
    type: str = ""
    strict: bytes = b""
    default: int | None = None
    as_any: SerializeAsAny[Inner] = Inner()
    all_as_any: list[SerializeAsAny[Inner | None]] = []
    written: Annotated[decimal.Decimal, WrapSerializer(write_through)] = decimal.Decimal(0)
    labelled: list[Labelled] = []
    veiled: str = ""

    @field_serializer("veiled", mode="wrap")
    def veil(self, value: str, write: SerializerFunctionWrapHandler) -> str:
        return f"{write(value)[:1]}***"

    @field_serializer("masked")
    def mask(self, value: str) -> str:
        return "***"

    @field_validator("dependent")
    @classmethod
    def depend(cls, value: int, info: ValidationInfo) -> int:
        return value + len(info.data["text"])


def with_token(token: Any) -> Private:
    private = Private(n=1)
    private._token = token
    return private


def roundtrip(name: str, value: Any, *, reveals: bool = False) -> tuple[Any, Any]:
    """Return the JSON of a value, and what another codec of the field reads from it."""
    written = ValueCodec(State, name, reveals=reveals).write(value)
    stored, notes = json.loads(json.dumps([written.value, dict(written.notes)]))
    return stored, ValueCodec(State, name, reveals=reveals).read(stored, notes)


CARRIED: list[tuple[str, Any, Any]] = [
    ("when", JANUARY, "2026-01-01T00:00:00"),
    ("when", JANUARY.replace(fold=1), "2026-01-01T00:00:00[_fold=1]"),
    ("when", at(2026, 3, 28, 12), "2026-03-28T12:00:00+01:00[Europe/Berlin]"),
    ("when", at(2026, 10, 25, 2, 30), "2026-10-25T02:30:00+02:00[Europe/Berlin]"),
    ("when", at(2026, 10, 25, 2, 30, fold=1), "2026-10-25T02:30:00+01:00[Europe/Berlin][_fold=1]"),
    ("when", at(2026, 3, 29, 2, 30), "2026-03-29T02:30:00+01:00[Europe/Berlin]"),
    ("when", at(1850, 1, 1), "1850-01-01T00:00:00+00:53[Europe/Berlin]"),
    ("when", at(2026, 1, 1, zone=datetime.UTC), "2026-01-01T00:00:00+00:00[+00:00]"),
    ("when", at(2026, 1, 1, zone=ZoneInfo("UTC")), "2026-01-01T00:00:00+00:00[UTC]"),
    ("when", at(2026, 1, 1, zone=TzInfo(0)), "2026-01-01T00:00:00Z"),
    ("when", at(2026, 1, 1, zone=TzInfo(3600)), "2026-01-01T00:00:00+01:00"),
    ("when", at(2026, 1, 1, zone=offset(-330)), "2026-01-01T00:00:00-05:30[-05:30]"),
    ("when", at(2026, 1, 1, zone=offset(0.2)), "2026-01-01T00:00:00+00:00[+00:00:12]"),
    ("clock", datetime.time(12, tzinfo=BERLIN), "12:00:00[Europe/Berlin]"),
    ("clock", datetime.time(12, 1, 2, 3, tzinfo=datetime.UTC), "12:01:02.000003+00:00[+00:00]"),
    ("aware", at(2026, 7, 1), "2026-07-01T00:00:00+02:00[Europe/Berlin]"),
    ("number_or_time", 5, 5),
    ("number_or_time", at(2026, 1, 1), "2026-01-01T00:00:00+01:00[Europe/Berlin]"),
    ("times", {at(2026, 1, 1): datetime.time(1, tzinfo=BERLIN)}, ...),
    ("free", {"a": [1.5, None, True]}, {"a": [1.5, None, True]}),
    ("level", Level.LOW, "low"),
    ("bits", Bits.A | Bits.B, 3),
    ("bounded", deque([1, 2], maxlen=3), {"maxlen": 3, "items": [1, 2]}),
    ("bounded", deque([1]), [1]),
    ("inners", deque([Inner(userId=3, when=at(2026, 1, 1))], maxlen=1), ...),
    ("counts", Counter("aab"), {"a": 2, "b": 1}),
    ("grouped", defaultdict(list, a=[1]), {"a": [1]}),
    ("ordered", OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("data", b"\xff", "_w=="),
    ("ratio", float("nan"), "NaN"),
    ("ratio", float("-inf"), "-Infinity"),
    ("ratio", -0.0, -0.0),
    ("amount", decimal.Decimal("1.00"), "1.00"),
    ("path", Path("/a"), "/a"),
    ("pattern", re.compile("a"), "a"),
    ("address", ipaddress.IPv4Address("1.2.3.4"), "1.2.3.4"),
    ("inner", Inner(userId=3, hidden=5, when=at(2026, 3, 28, 12)), ...),
    ("many", [Inner(), Inner(userId=1, kids=[Inner(hidden=2)])], ...),
    ("tags", {Frozen(n=1), Frozen(n=2, m=3), Frozen(n=4)}, ...),
    ("counted", Counted(n=1), {"n": 2}),
    ("private", Private(n=1), {"n": 1}),
    ("private", with_token("secret"), {"n": 1}),
    ("private", with_token((1, JANUARY)), {"n": 1}),
    ("slot", Slot(1, datetime.time(1, tzinfo=BERLIN)), {"n": 2, "at": "01:00:00[Europe/Berlin]"}),
    ("pair", Pair(1, Inner(userId=2)), ...),
    ("cents", 1999, 1999),
    ("once", 1999, 1999),
    ("loud", "a!", "a!"),
    ("length", 5, 5),
    ("wrapped", [1, 2], [1, 2]),
    ("raw", Raw(3), 3),
    ("raw_info", Raw(3), 3),
    ("raw_turned", Raw(3), 3),
    ("raw_of", Raw(3), 3),
    ("bare", None, None),
    ("call", None, None),
    ("sequence", [1], [1]),
    ("mixed", {1, "1"}, ...),
    ("dependent", 3, 3),
    ("type", "x", "x"),
    ("strict", b"\xff", "_w=="),
    ("default", 1, 1),
    ("as_any", Inner(userId=1, when=at(2026, 1, 1)), ...),
    ("all_as_any", [Inner(userId=1), None], ...),
    ("written", decimal.Decimal("1.50"), "1.50"),
    ("labelled", [Labelled(n=1)], [{"n": 1, "kind": "labelled"}]),
]


@pytest.mark.parametrize("name, value, stored", CARRIED)
def test_value_is_carried(name: str, value: Any, stored: Any) -> None:
    """What another process reads is identical: types, zones, bounds, and which fields were set."""
    text, back = roundtrip(name, value)
    assert is_identical(back, value)
    assert stored is ... or json.dumps(text) == json.dumps(stored)
    assert is_identical(roundtrip(name, value, reveals=True)[1], value)


LOSSY: list[tuple[str, Any, str]] = [
    ("when", at(2026, 1, 1, zone=offset(60, "CET")), "it comes back as datetime.datetime(2026"),
    ("text_or_time", at(2026, 1, 1), "it comes back as '2026-01-01T00:00:00+01:00[Europe/Berlin]'"),
    ("free", Inner(userId=1), "it comes back as {'userId': 1, "),
    ("free", {"a": defaultdict(int)}, "it comes back as {'a': {}}"),
    (
        "free",
        object(),
        "Error serializing to JSON: PydanticSerializationError: Unable to serialize",
    ),
    ("text", Level.LOW, "it comes back as 'low'"),
    ("text", "\ud800", "Error serializing to JSON"),
    ("pattern", re.compile("a", re.IGNORECASE), "it comes back as re.compile('a')"),
    (
        "private",
        with_token(object()),
        "it comes back as another Private with the text Private(n=1)",
    ),
    ("bare", Raw(1), "Unable to serialize unknown type"),
    ("call", len, "Unable to serialize unknown type"),
    ("sequence", (1, 2), "it comes back as [1, 2]"),
    ("mapping", OrderedDict(a=1), "it comes back as {'a': 1}"),
    ("as_any", Special(userId=1), "it comes back as Inner(user_id=1, "),
]


@pytest.mark.parametrize("reveals", [False, True])
@pytest.mark.parametrize("name, value, why", LOSSY)
def test_lossy_value_is_refused(name: str, value: Any, why: str, reveals: bool) -> None:
    """A value of which JSON would lose something is refused, with what would come back."""
    with pytest.raises(Lossy) as caught:
        roundtrip(name, value, reveals=reveals)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "name, value, stored",
    [
        ("secret", SecretStr("key"), "key"),
        ("secret_day", Secret(datetime.date(2026, 1, 1)), "2026-01-01"),
        ("secret_data", SecretBytes(b"\xff"), "_w=="),
    ],
)
def test_secret_is_revealed_in_pipe_only(name: str, value: Any, stored: str) -> None:
    """A secret goes to a worker process as it is, and into a journal not at all."""
    text, back = roundtrip(name, value, reveals=True)
    assert text == stored
    assert is_identical(back, value)
    with pytest.raises(
        Lossy, match=r"^it holds a secret, which is never written in clear$"
    ) as caught:
        roundtrip(name, value)
    assert caught.value.fix.startswith("Pass secrets to the nodes as `resources`")


@pytest.mark.parametrize(
    "name, value", [("masked", "secret"), ("veiled", "secret"), ("spoken", Spoken(n=1))]
)
def test_serializer_is_honoured_in_files_only(name: str, value: Any) -> None:
    """A serializer that hides something is not passed over for a file, but for a pipe it is."""
    with pytest.raises(Lossy):
        roundtrip(name, value)
    assert is_identical(roundtrip(name, value, reveals=True)[1], value)


def test_unset_fields_of_equal_models_are_grouped() -> None:
    """Notes name the unset fields once, with the numbers of the models."""
    many = [Inner(userId=number) for number in range(3)]
    notes = ValueCodec(State, "many").write(many).notes
    assert notes == {"unset": [[["hidden", "kids", "when"], [0, 1, 2]]]}


def test_unknown_zone_is_named() -> None:
    codec = ValueCodec(State, "when")
    with pytest.raises(ValidationError, match="time zone 'Mars/Base' is not known here"):
        codec.read("2026-01-01T00:00:00+01:00[Mars/Base]", {})


@pytest.mark.parametrize("unset", [5, [["a"]], [[["n"], [7]]], [[[1], ["x"]]]])
def test_wrong_notes_are_refused(unset: Any) -> None:
    with pytest.raises(ValueError, match="its notes do not fit"):
        ValueCodec(State, "inner").read({"user_id": 1}, {"unset": unset})


ZONES = st.sampled_from([None, BERLIN, ZoneInfo("America/St_Johns"), datetime.UTC, offset(-90)])


@given(st.datetimes(timezones=st.none() | ZONES), st.integers(0, 1))  # type: ignore[arg-type]
def test_any_moment_is_carried(moment: datetime.datetime, fold: int) -> None:
    """Every datetime in every zone comes back, in the gap and in the overlap of clocks too."""
    moment = moment.replace(fold=fold)
    assert is_identical(roundtrip("when", moment)[1], moment)


@pytest.mark.parametrize(
    "private", [5, [[9, {}]], [[0, []]], [[0, {"_other": 1}]], [[0, {"$": 1}]]]
)
def test_wrong_private_attributes_are_refused(private: Any) -> None:
    """A note gives a model its own private attributes, and no others."""
    with pytest.raises(ValueError, match="its notes do not fit"):
        ValueCodec(State, "private").read({"n": 1}, {"private": private})


def test_field_of_other_model_is_not_confused() -> None:
    """Names of fields that are words of pydantic's schemas are names all the same."""

    class Odd(BaseModel):
        type: datetime.datetime
        metadata: int = Field(0, alias="m")
        cls: bytes = b""

    class Holder(BaseModel):
        odd: Odd

    value = TypeAdapter(Odd).validate_python({"type": at(2026, 1, 1), "m": 3, "cls": b"\xff"})
    written = ValueCodec(Holder, "odd").write(value)
    assert written.value["metadata"] == 3
    assert is_identical(ValueCodec(Holder, "odd").read(written.value, written.notes), value)


class Loose(BaseModel):
    free: Any = None


def test_enum_is_found_beside_nested_model() -> None:
    """An enum without a declared type is read from the module of the model that holds it.

    The field around that model may be of another module, such as the one of a map's items.
    """
    outer = create_model("Outer", __module__="json", items=(list[Loose], []))
    value = [Loose(free=(Level.LOW, Bits.B))]
    written = ValueCodec(outer, "items").write(value)
    assert is_identical(ValueCodec(outer, "items").read(written.value, written.notes), value)
