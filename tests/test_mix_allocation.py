"""Whole samples of each pool: exact totals, by largest remainders."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax.errors import InputError
from qqtjax.mix import whole_samples

shares = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=12).filter(lambda x: sum(x) > 0)


@settings(deadline=None, derandomize=True)
@given(weights=shares, total=st.integers(0, 10**19))
def test_whole_samples_are_exact_in_total_and_within_one_of_their_quota(weights: list[float], total: int):
    counts = whole_samples(weights, total)
    assert sum(counts) == total
    whole = sum(map(Fraction, weights))
    for share, count in zip(weights, counts, strict=True):
        assert abs(Fraction(share) * total / whole - count) < 1
        assert share > 0 or count == 0


def test_whole_samples_of_thirds():
    assert whole_samples([1 / 3, 1 / 3, 1 / 3], 10) == [4, 3, 3]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [0.5, -0.5], [np.nan, 1.0]])
def test_wrong_shares_are_refused(weights: list[float]):
    with pytest.raises(InputError, match="share"):
        whole_samples(weights, 10)
    with pytest.raises(InputError, match="whole number"):
        whole_samples([1.0], -1)
