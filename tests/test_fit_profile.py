"""Profiles against SciPy's fits with the parameter held, against linear theory, and where they stay open."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import optimize, stats

import qqtjax as qqt
from benchmarks.planted import SIZE, curves, draw_truth
from qqtjax.fit.profile import profile

EPOCHS = (0.25, 1.0, 2.0, 5.0, 10.0)


def predicted(x, runs):
    """The law in NumPy, from logarithms of scale, -b and tau of four pools, and the floor."""
    scale, floor, slope, half_life = np.exp(x[0]), x[1], -np.exp(x[2:6]), np.exp(x[6:10])
    each = runs.source
    seen, delta = runs.samples_seen, 0.5 ** (1 / half_life[each])
    lost = sum((delta ** (j - 1) - delta**j) * np.maximum(np.log(seen / (j * SIZE)), 0) for j in range(1, 11))
    return floor + np.exp(slope[each] * (np.log(seen / scale) - lost))


def held(runs, fitted, place, value):
    """SciPy's least sum of squares, halved, with one coordinate held."""
    params = fitted.params
    x = np.concatenate([[np.log(params.scale), params.floor], np.log(-params.utility), np.log(params.half_life)])
    others = np.delete(np.arange(10), place)

    def residuals(part):
        whole = x.copy()
        whole[place], whole[others] = value, part
        return predicted(whole, runs) - runs.error

    return optimize.least_squares(residuals, x[others], x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14).cost


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(5)
    runs = curves(draw_truth(rng), EPOCHS, 3e-3, rng)
    return qqt.fit(runs), runs


def test_ends_lie_where_scipy_loses_what_the_threshold_allows(noisy):
    fitted, runs = noisy
    allowed = fitted.diagnostics.objective * (1 + stats.f.ppf(0.95, 1, 10) / 10)
    for index, one in enumerate(profile(fitted, runs, "half_life")):
        assert one.pool == f"pool{index}"
        assert one.low < one.estimate < one.high
        assert one.estimate == pytest.approx(fitted.params.half_life[index])
        for end in (one.low, one.high):
            assert held(runs, fitted, 6 + index, np.log(end)) == pytest.approx(allowed, rel=1e-3)
    assert "run-to-run noise is not known" in one.notes[0]


def test_with_little_noise_it_is_students_interval(noisy):
    _, runs = noisy
    rng = np.random.default_rng(5)
    runs = dataclasses.replace(runs, error=curves(draw_truth(rng), EPOCHS, 1e-6, rng).error)
    fitted = qqt.fit(runs)
    reach = stats.t.ppf(0.95, 10) * fitted.diagnostics.standard_errors.utility
    for index, one in enumerate(profile(fitted, runs, "utility", level=0.9)):
        ends = fitted.params.utility[index] + reach[index] * np.array([-1, 1])
        np.testing.assert_allclose([one.low, one.high], ends, rtol=1e-6)
        assert np.all(np.diff(one.grid) > 0)
        # The curve is a straight line in a linear model.
        near = np.abs(one.statistic) < 3
        np.testing.assert_allclose(
            one.statistic[near], (one.grid - one.estimate)[near] / (reach[index] / stats.t.ppf(0.95, 10)), atol=2e-3
        )


def test_an_end_that_the_data_do_not_set_is_open(noisy):
    _, runs = noisy
    truth = dataclasses.replace(draw_truth(np.random.default_rng(5)), floor=0.0)
    rng = np.random.default_rng(1)
    runs = dataclasses.replace(runs, error=curves(truth, EPOCHS, 3e-3, rng).error)
    fitted = qqt.fit(runs)
    (floor,) = profile(fitted, runs, "floor")
    assert (floor.open_low, floor.open_high) == (True, False)
    assert floor.low == 0
    assert held(runs, fitted, 1, floor.high) == pytest.approx(
        fitted.diagnostics.objective * (1 + stats.f.ppf(0.95, 1, 10) / 10), rel=1e-3
    )
    assert "from 0 (open) to" in str(floor)
    frame = floor.to_frame()
    assert list(frame) == ["value", "objective", "statistic"]
    assert len(frame) == len(floor.grid)


@pytest.mark.slow
def test_parameters_that_the_fit_held_are_freed(noisy):
    """Pools alone say nothing of dilution, and the paper's geometric decay is a shape of one."""
    fitted, runs = noisy
    (dilution,) = profile(fitted, runs, "dilution")
    assert dilution.open_low
    assert dilution.open_high
    assert "no value from 0 to 2 is refused" in str(dilution)
    (shape,) = profile(fitted, runs, "decay_shape")
    assert shape.low < 1 < shape.high


def test_what_is_refused_is_said_in_one_line(noisy):
    fitted, runs = noisy
    with pytest.raises(qqt.InputError, match="no parameter 'tau'; expected one of scale, floor"):
        profile(fitted, runs, "tau")
    with pytest.raises(qqt.InputError, match=r"level 95: expected a number between 0 and 1"):
        profile(fitted, runs, "floor", level=95)
    with pytest.raises(qqt.InputError, match="not fitted here"):
        profile(qqt.published("datacomp-tmars").utility, runs, "floor")
