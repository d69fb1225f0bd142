"""The words and plain data that all rooms share."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest

from qqtjax.errors import InputError
from qqtjax.plain import to_plain
from qqtjax.plan.evidence import Score
from qqtjax.plan.question import samples_to_afford
from qqtjax.text import did_you_mean, show_count


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (12.8e6, 6, "12.8M"),
        (999_999.9, 6, "1M"),
        (999_949, 4, "999.9k"),
        (999_950, 4, "1M"),
        (-2.5e3, 6, "-2.5k"),
        (0.0, 6, "0"),
        (250, 6, "250"),
        (3e15, 6, "3000T"),
        (float("inf"), 6, "inf"),
        (float("nan"), 6, "nan"),
    ],
)
def test_counts_as_people_write_them(number: float, digits: int, text: str):
    assert show_count(number, digits) == text


def test_the_nearest_name():
    assert did_you_mean("top11", iter(["top10", "web"])) == "; did you mean 'top10'?"
    assert did_you_mean("other", []) == ""


def test_results_become_strict_json():
    score = Score("law", 0.1, np.float64(0.2), float("nan"), 1.0, float("-inf"), 0.0)  # type: ignore[arg-type]
    plain = to_plain({"score": score, 3: (jnp.arange(2), np.inf, None, True)})
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["score"]["mae_difference"] == "nan"
    assert plain["score"]["regret_filter"] == "-inf"
    assert plain["3"] == [[0, 1], "inf", None, True]


def test_a_budget_beyond_all_counting_is_refused():
    with pytest.raises(InputError, match=r"budgets 1e\+300: expected positive numbers up to 1e\+30"):
        samples_to_afford([1e300], None, None, needed=True)
    np.testing.assert_array_equal(samples_to_afford(None, [1e18], 5e9, needed=True), [2e8])
