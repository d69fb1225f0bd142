"""Reliability tables and intervals over studies of `benchmarks/studies/reliability.py`."""

import numpy as np
import pytest

from benchmarks.studies.reliability import brier, over_studies, reliability


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
    assert brier(true, happened) == pytest.approx(np.mean(true * (1 - true)), abs=0.002)


def test_interval_counts_studies_not_events():
    """Events that all repeat their study's are worth one each: the interval is that of the 50 studies."""
    rng = np.random.default_rng(1)
    value = rng.normal(size=50)
    study = np.repeat(np.arange(50), 40)
    shuffled = rng.permutation(len(study))
    low, high = over_studies(lambda rows: float(value[study[shuffled]][rows].mean()), study[shuffled], rng, 2000)
    assert (high - low) / 2 == pytest.approx(1.96 * value.std() / np.sqrt(50), rel=0.1)
