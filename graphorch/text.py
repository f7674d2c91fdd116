"""Short texts for people: truncation, errors, lists, plurals, amounts of money and time."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

LONGEST_NAME = 200  # characters
NAME_RULE = f"Use one line of 1 to {LONGEST_NAME} visible characters."
RUN_ID_RULE = (
    f"Use up to {LONGEST_NAME} letters, digits, '-', '_' and '.', "
    "beginning with a letter, digit or '_'."
)
ADDRESS = re.compile(r" at 0x[0-9a-f]+\b")
_RUN_ID = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")


def truncate(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; what was cut is shown as an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def truncate_repr(value: object, longest: int = 80) -> str:
    """Return the `repr` of a value in at most `longest` characters; its type if that raises.

    It does for an integer of 5,000 digits, and for objects of users that have lost what they show.
    Addresses in memory are left out.
    """
    try:
        text = ADDRESS.sub("", repr(value))
    except Exception as error:  # the class is a user's and may raise anything
        text = f"<{type(value).__name__}, of which repr() raises {type(error).__name__}>"
    return truncate(text, longest)


def format_value(value: object) -> str:
    """Return a value for a message: its type and the beginning of its text; `None` as it is."""
    return "None" if value is None else f"{type(value).__name__} {truncate_repr(value)}"


def truncate_counted(text: str, longest: int, what: str = "more characters") -> str:
    """Return the first `longest` characters of a text, and how many were cut after them."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest:,} {what})"


def is_name(text: object) -> bool:
    """Return whether a text can name a graph, a node or a tag: one line of visible characters."""
    if not isinstance(text, str) or len(text) > LONGEST_NAME:
        return False
    return text.isprintable() and bool(text.strip())


def is_run_id(text: object) -> bool:
    """Return whether a text can be the id of a run: as part of a path it never leads elsewhere."""
    return isinstance(text, str) and _RUN_ID.fullmatch(text) is not None


SHORT_ID = 8  # digits of the id of a run that are shown: commands take the beginning of an id
_MADE_ID = re.compile(r"[0-9a-f]{32}")


def shorten_run_id(run_id: str) -> str:
    """Return the first digits of an id that was made; one that was chosen stays as it is."""
    return run_id[:SHORT_ID] if _MADE_ID.fullmatch(run_id) else run_id


def shorten_run_ids(run_ids: Sequence[str]) -> list[str]:
    """Return the first digits of ids that were made: as many as tell them apart."""
    longest = max(map(len, run_ids), default=0)
    for length in range(SHORT_ID, longest):
        short = [run_id[:length] if _MADE_ID.fullmatch(run_id) else run_id for run_id in run_ids]
        if len(set(short)) == len(set(run_ids)):
            return short
    return list(run_ids)


LONGEST_TEXT = 100_000  # characters of a text that is kept for people
LONGEST_ERROR = 10_000  # characters of what an exception says
_CUT = re.compile(r"… \([\d,]+ more characters\)")
KIND = "__graphorch_kind__"
"""Attribute of an exception that stands for one of another class: the name of that class."""
PLACE = "__graphorch_place__"
"""Attribute of an exception that a function beside the nodes raised: which function, and where."""
LINEAGE = "__graphorch_lineage__"
"""Attribute of an exception that stands for others: the names of their classes and of the bases."""


def escape_surrogates(text: str) -> str:
    """Return a text that any file can hold: half surrogate pairs escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return a text that any file can hold: half surrogate pairs escaped, cut if it is longer.

    A text that was cleaned stays as it is, so that what a record holds is what was said before.
    """
    head, tail = escape_surrogates(text[:longest]), text[longest:]
    hidden = len(head) - longest
    if not tail and hidden <= 0:
        return head
    if not hidden and _CUT.fullmatch(tail):
        return text
    return f"{head[:longest]}… ({hidden + len(tail):,} more characters)"


def name_error(error: BaseException) -> str:
    """Return the name of the class of an exception, or of the one that it stands for."""
    return clean(getattr(error, KIND, "") or type(error).__name__, LONGEST_NAME)


def list_kinds(error: BaseException) -> tuple[str, ...]:
    """Return the full names of the classes of an exception, the nearest first.

    Of an exception that stands for others, they are the classes of those.
    """
    lineage: tuple[str, ...] | None = getattr(error, LINEAGE, None)
    if lineage is not None:
        return lineage
    return tuple(_name_class(kind) for kind in type(error).__mro__ if kind is not object)


def is_kind(error: object, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Return whether an exception is of one of these classes, or stands for one that is.

    A class of the program that was started is known by its name: another process calls the module
    otherwise.
    """
    lineage: tuple[str, ...] | None = getattr(error, LINEAGE, None)
    if lineage is None:
        return isinstance(error, kinds)
    listed = kinds if isinstance(kinds, tuple) else (kinds,)
    return any(_is_named(kind, name) for kind in listed for name in lineage)


def _is_named(kind: type, name: str) -> bool:
    if name in (_name_class(kind), kind.__name__):  # records before format 4 have the plain name
        return True
    module, _, local_name = name.partition(":")
    return local_name == kind.__qualname__ and "__main__" in (module, kind.__module__)


def _name_class(kind: type) -> str:
    return clean(f"{kind.__module__}:{kind.__qualname__}", LONGEST_NAME)


def explain_error(error: BaseException) -> str:
    """Return what an exception says, with the parts of a group, escaped and cut."""
    place = _name_place(error)
    try:
        text = _explain_validation(error) if _is_of_pydantic(error) else str(error)
    except Exception as broken:  # the class is a user's and may raise anything
        text = f"(its message cannot be shown: {type(broken).__name__})"
    is_plain_group = type(error).__str__ is BaseExceptionGroup.__str__
    if isinstance(error, BaseExceptionGroup) and is_plain_group:
        text = f"{text}: {'; '.join(map(format_error, error.exceptions))}"  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    return clean(place + text, LONGEST_ERROR)


def _name_place(error: object) -> str:
    place = getattr(error, PLACE, "")
    return f"in {place}: " if place else ""


def _is_of_pydantic(error: object) -> bool:
    """Return whether an exception is a `ValidationError`, without importing pydantic for it."""
    return type(error).__name__ == "ValidationError" and hasattr(error, "error_count")


def _explain_validation(error: Any) -> str:
    """Return what a `ValidationError` of pydantic says, in one line, without links."""
    faults: list[str] = []
    for fault in error.errors(include_url=False, include_context=False):
        value: object = fault["input"]
        got = f"got {truncate_repr(value)}"
        if inspect.iscoroutine(value):
            got = "got a coroutine; write `await` before the call that made it"
        place = ".".join(map(str, fault["loc"]))
        faults.append(f"{place}: {fault['msg']}, {got}" if place else f"{fault['msg']}, {got}")
    return f"{error.title} does not fit: {join_limited(faults, 5)}"


def blame(error: Exception, place: str) -> None:
    """Have an exception say where it was raised, if nothing says it yet."""
    if not hasattr(error, PLACE):
        error.__dict__[PLACE] = place  # not by `setattr`, which the class may refuse


def format_error(error: BaseException) -> str:
    """Return an exception as `ValueError: what it says`, or its class alone if it says nothing."""
    text = explain_error(error)
    return f"{name_error(error)}: {text}" if text else name_error(error)


def join_limited(items: Iterable[str], most: int, conjunction: str = "and") -> str:
    """Return `a, b and 3 more`: at most `most` items by name, the others counted."""
    listed = list(items)
    shown = ", ".join(listed[:most])
    hidden = len(listed) - most
    return f"{shown} {conjunction} {hidden} more" if hidden > 0 else shown


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """Return `1 step` or `3 steps`; `plural_noun` for a noun that does not take an `s`."""
    return f"{count:,} {noun if count == 1 else plural_noun or f'{noun}s'}"


def format_usd(usd: float, decimals: int = 4) -> str:
    """Return an amount as `$0.0012`; one that would be rounded to nothing has more decimals."""
    return f"${format_dollars(usd, decimals)}"


def format_dollars(usd: float, decimals: int = 4) -> str:
    """Return an amount as `0.0012`, and a very small one with two digits, as `0.0000021`."""
    if 0 < abs(usd) < 10.0**-decimals:
        decimals = min(15, 1 - math.floor(math.log10(abs(usd))))
    return f"{usd:,.{decimals}f}"


def format_cost(usd: float, unpriced: int, decimals: int = 4, booked: float = 0.0) -> str:
    """Return what is known of a cost; `unpriced` counts what belongs to it and has no known price.

    A cost of which nothing is known is `price unknown`, never an amount. `booked` is what a budget
    counts, with the worst case of what is not known.
    """
    if not unpriced:
        return format_usd(usd, decimals)
    known = f"{format_usd(usd, decimals)} and calls of unknown price" if usd else "price unknown"
    return f"{known}, at most {format_usd(booked, decimals)} in all" if booked > usd else known


def format_moment(at: float) -> str:
    """Return a time in seconds since the epoch as a date in UTC: `2026-03-01 09:30:00 UTC`."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s since 1970"


_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def format_duration(seconds: float) -> str:
    """Return a duration that a person chose, in whole units: `3 days`, `1 hour 30 minutes`."""
    if seconds < 60 or seconds != int(seconds):
        return f"{seconds:g} s"
    rest, words = int(seconds), list[str]()
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(plural(count, unit))
    return " ".join([*words, f"{rest} s"] if rest else words)


def format_seconds(seconds: float) -> str:
    """Return a duration as `1.25 s`."""
    return f"{seconds:,.2f} s"
