"""Sampling: a stable share of the runs, and those that someone will ask about."""

from __future__ import annotations

from graphorch.trace.spans.sampling import Sampling


def test_sampling_share_is_stable() -> None:
    """Every process chooses the same share of the runs."""
    rule = Sampling(share=0.3)
    chosen = [rule.includes(f"run-{number}") for number in range(2000)]
    assert 500 < sum(chosen) < 700
    assert chosen == [Sampling(share=0.3).includes(f"run-{number}") for number in range(2000)]
