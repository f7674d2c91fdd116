"""Sampling: a stable share of the runs, and those that someone will ask about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.trace.spans.sampling import Sampling
from tests.trace.sample_spans import make_call, make_trace


def test_sampling_share_is_stable() -> None:
    """Every process chooses the same share of the runs."""
    rule = Sampling(share=0.3)
    chosen = [rule.includes(f"run-{number}") for number in range(2000)]
    assert 500 < sum(chosen) < 700
    assert chosen == [Sampling(share=0.3).includes(f"run-{number}") for number in range(2000)]


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_larger_share_holds_smaller(run_id: str, first: float, second: float) -> None:
    """Runs of a share are also in every larger one; all are in 1 and none in 0."""
    smaller, larger = sorted((first, second))
    assert Sampling(share=larger).includes(run_id) or not Sampling(share=smaller).includes(run_id)
    assert Sampling(share=1).includes(run_id)
    assert not Sampling(share=0).includes(run_id)


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        ("succeeded", False),
        ("running", False),
        ("failed", True),
        ("stopped", True),
        ("crashed", True),
        ("partial", True),
    ],
)
def test_failures_are_kept(status: str, kept: bool) -> None:
    """Runs that did not succeed are kept beside the share, unless `failures` is False."""
    trace = replace(make_trace(), status=status)
    assert Sampling(share=0).keeps(trace) is kept
    assert not Sampling(share=0, failures=False).keeps(trace)


def test_slow_and_costly_runs_are_kept() -> None:
    """The bounds are included, and copied calls cost nothing."""
    trace = make_trace(make_call(1, usd=0.25), make_call(2, usd=0.5, is_copy=True))
    assert trace.seconds == 5.0
    assert [Sampling(share=0, slow=slow).keeps(trace) for slow in (5.0, 5.1)] == [True, False]
    assert [Sampling(share=0, usd=usd).keeps(trace) for usd in (0.25, 0.3)] == [True, False]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="a share is a number from 0 to 1"):
        Sampling(share=share)
