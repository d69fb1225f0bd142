"""Reliability of stated probabilities, and intervals over studies of `benchmarks/studies/reliability.py`."""

import numpy as np
import pytest

from benchmarks.studies.reliability import over_studies, table_rows
from qqtjax.decide import reliability
from qqtjax.errors import InputError


def test_calibration_error_is_the_known_bias():
    """Events that happen as often as stated, and those stated .1 too high."""
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.85, 200_000)
    happened = (rng.random(len(true)) < true).astype(float)
    right, high = reliability(true, happened, 10), reliability(true + 0.1, happened, 10)
    assert right.error < 0.005
    assert high.error == pytest.approx(0.1, abs=0.005)
    assert right.count.tolist() == [20_000] * 10
    assert np.all(np.diff(right.stated) > 0)
    assert right.brier == pytest.approx(np.mean(true * (1 - true)), abs=0.002)
    assert right.rate == pytest.approx(true.mean(), abs=0.003)


def test_interval_counts_studies_not_events():
    """Events that all repeat their study's are worth one each: the interval is that of the 50 studies."""
    rng = np.random.default_rng(1)
    value = rng.normal(size=50)
    study = np.repeat(np.arange(50), 40)
    shuffled = rng.permutation(len(study))
    low, high = over_studies(lambda rows: float(value[study[shuffled]][rows].mean()), study[shuffled], rng, 2000)
    assert (high - low) / 2 == pytest.approx(1.96 * value.std() / np.sqrt(50), rel=0.1)


def test_a_small_table_by_hand():
    found = reliability([0.9, 0.1, 0.6, 0.4], [True, False, False, True], bins=2)
    assert found.stated.tolist() == [0.25, 0.75]
    assert found.happened.tolist() == [0.5, 0.5]
    assert found.error == pytest.approx(0.25)
    assert found.brier == pytest.approx((0.01 + 0.01 + 0.36 + 0.36) / 4)
    assert str(found).splitlines()[-1] == (
        "4 events: calibration error 0.250, Brier score 0.185 (0.250 for the base rate alone)"
    )
    assert table_rows(found.stated, found.happened, found.count).splitlines()[0] == "| 0.250 | 0.500 | 2 |"
    assert len(reliability([0.2, 0.4], [0, 1], bins=10).count) == 2


def test_intervals_of_shares_are_scipys():
    from scipy.stats import binomtest

    found = reliability(np.repeat([0.1, 0.5, 0.9], 20), [*[0] * 20, *[0, 1] * 10, *[1] * 20], bins=3)
    for place, hits in enumerate((0, 10, 20)):
        exact = binomtest(hits, 20).proportion_ci(0.9, method="exact")
        assert found.interval(0.9)[:, place] == pytest.approx([exact.low, exact.high])
    with pytest.raises(InputError, match=r"^level 2: expected a number between 0 and 1"):
        found.interval(2)


@pytest.mark.parametrize(
    ("probability", "happened", "bins", "said"),
    [
        ([], [], 10, r"^probabilities \(0,\), outcomes \(0,\): expected one or more of each$"),
        ([0.5], [0, 1], 10, r"^probabilities \(1,\), outcomes \(2,\)"),
        ([1.5], [1], 10, r"^probabilities: expected numbers from 0 to 1$"),
        ([np.nan], [1], 10, r"^probabilities: expected numbers from 0 to 1$"),
        ([0.5], [0.5], 10, r"^outcomes: expected 1 where an event happened"),
        ([0.5], [1], 0, r"^bins 0: expected 1 or more$"),
    ],
)
def test_wrong_events_are_refused_in_one_line(probability: list, happened: list, bins: int, said: str):
    with pytest.raises(InputError, match=said):
        reliability(probability, happened, bins)
