"""The public names: a change of this list is a change of the promise to users, so it is made here too, on purpose."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

import graphorch

PUBLIC = (
    "Ambiguous Approval Ask Assumed Budget BudgetExceeded Cache Cancelled Committed Context "
    "END Emitted Ended Estimate Expired Failed Failure Flow Graph GraphError GraphorchError "
    "InputError InternalError JournalError LimitReached Limits LoopExhausted Message Missing "
    "ModelCalled ModelClient ModelError Node NodeError Problem Prompt Question QuestionAsked "
    "QuorumNotMet Rejected ReplayDiverged Request Response Result Retry RunEvent RunFailed "
    "START Session Skipped Started TextDelta TooManyItems Unassigned Usage WriteConflict "
    "WrongOutput add agent append last maximum merge minimum node union"
).split()


def undocumented(value: object) -> bool:
    """Whether a class or function lacks a docstring of its own; the one that a dataclass makes of its fields is none."""
    if inspect.isclass(value):
        own = vars(value).get("__doc__") or ""
        return not own.strip() or own.startswith(f"{value.__name__}(")
    return isinstance(value, Callable) and not (getattr(value, "__doc__", None) or "").strip()


def test_the_exported_names_are_the_promised_ones() -> None:
    assert sorted(graphorch.__all__) == sorted(PUBLIC)


def test_dir_shows_every_public_name() -> None:
    """Completion in a notebook reads `dir`; names that load lazily have to be put there."""
    assert set(PUBLIC) <= set(dir(graphorch))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    assert not undocumented(getattr(graphorch, name)), (
        f"graphorch.{name} has no docstring of its own"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module, so that `hasattr` and copying work."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = graphorch.no_such_name  # pyright: ignore
