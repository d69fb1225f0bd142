"""A model that is trained on, against sums over stretches in 60 digits, limits, and the static law cut in two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.export
import numpy as np
import pytest
import reference
from reference import Inputs, mp, mpf

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import InputError, MaxEpochsError
from qqtjax.laws import EffectiveSamplesParams, FittedLaw, PowerParams, UtilityParams, repetition
from qqtjax.laws.fitted import length_for
from qqtjax.runs import Pools, Run

SCANS = 64
Exposure = Sequence[Any]


@partial(jax.jit, static_argnums=(0, 3))
def value_and_gradient(law: laws.Law, params: Any, run: Run, max_epochs: int | None) -> tuple[Any, Any]:
    return jax.value_and_grad(lambda params, run: law(params, run, max_epochs), argnums=(0, 1))(params, run)


def arguments(inputs: Inputs, seen_before: Exposure) -> tuple[UtilityParams, Run]:
    params, run = reference.arguments(inputs)
    return params, dataclasses.replace(run, seen_before=np.asarray(seen_before, np.float64))


def error(inputs: Inputs, seen_before: Exposure, law: laws.Law = laws.utility) -> float:
    """The library's prediction, the exposure traced."""
    return reference.evaluate(law, *arguments(inputs, seen_before), SCANS)


def static(inputs: Inputs) -> float:
    """The library's prediction of a run from scratch, by the closed form where there is one."""
    return reference.evaluate(laws.utility, *reference.arguments(inputs), None if inputs.decay_shape is None else SCANS)


def oracle(inputs: Inputs, seen_before: Exposure) -> mpf:
    """The law by walking each pool from one end of an epoch to the next; inputs may be mpf.

    C is the integral of D ds / s over the stretches of this run (and log(n_b / n0) below the scale), B the same
    over the stretches of earlier training from the end of each pool's first epoch, where a static run keeps D = 1.
    """
    count = len(inputs.weights)
    exposure, weights, sizes = ([mpf(each) for each in row] for row in (seen_before, inputs.weights, inputs.sizes))
    before, seen, scale = mp.fsum(exposure), mpf(inputs.samples_seen), mpf(inputs.scale)
    shares = [each / before for each in exposure]
    low, slopes = max(before, scale), reference._column(inputs.utility, count)
    worths_before = reference.rates_of(inputs._replace(weights=shares))
    worths = reference.rates_of(inputs)
    log_excess = mpf(0)
    for i in range(count):
        if shares[i]:
            gained, k = mp.log(low / scale), 1
            while k * sizes[i] <= exposure[i]:  # epoch k + 1 runs from k N / v on, and had counted as fresh
                end = min((k + 1) * sizes[i], exposure[i])
                gained -= (1 - worths_before[i](k)) * mp.log(end / (k * sizes[i]))
                k += 1
            log_excess += shares[i] * slopes[i] * gained
        if weights[i]:
            k = 0 if mp.isinf(sizes[i]) else int(mp.floor(exposure[i] / sizes[i]))
            at, gained = before, mp.log(before / low)
            while at < before + seen:
                end = before + (mp.inf if mp.isinf(sizes[i]) else ((k + 1) * sizes[i] - exposure[i]) / weights[i])
                end = min(end, before + seen)
                gained += worths[i](k) * mp.log(end / at)
                at, k = end, k + 1
            log_excess += weights[i] * slopes[i] * gained
    overall = [(e + seen * w) / (before + seen) for e, w in zip(exposure, weights, strict=True)]
    log_excess += reference._mixed(inputs.amplitude, overall, mp.log)
    return reference._mixed(inputs.floor, overall) + mp.exp(log_excess)


def slope(
    law: Callable[[Inputs, Exposure], mpf],
    inputs: Inputs,
    seen_before: Exposure,
    field: str,
    index: int | None,
    side: int = 0,
) -> mpf:
    """The derivative of `law` by a difference in 60 digits, central or from one side."""
    values: Any = seen_before if field == "seen_before" else getattr(inputs, field)
    middle = mpf(values if index is None else values[index])
    step = mpf(10) ** -18 * (abs(middle) or 1)

    def at(moved: mpf) -> mpf:
        changed = moved if index is None else [*values[:index], moved, *values[index + 1 :]]
        if field == "seen_before":
            return law(inputs, changed)
        return law(inputs._replace(**{field: changed}), seen_before)

    up, down = (middle + step if side >= 0 else middle), (middle - step if side <= 0 else middle)
    return (at(up) - at(down)) / (up - down)


def point(rng: np.random.Generator, pools: int, warm: float, **changes: Any) -> tuple[Inputs, list[float]]:
    """A random continued run of up to 20 epochs in all; earlier training of `warm` times the scale."""
    sizes = 10 ** rng.uniform(4, 7, pools)
    weights, shares = rng.dirichlet(np.ones(pools)), rng.dirichlet(np.ones(pools))
    before = 10 ** rng.uniform(-0.5, 1) / np.max(shares / sizes)
    given = {
        "weights": weights.tolist(),
        "sizes": sizes.tolist(),
        "samples_seen": float(10 ** rng.uniform(-1, 1) / np.max(weights / sizes)),
        "scale": before / warm,
        "floor": rng.uniform(0, 0.3, pools).tolist() if pools % 2 else 0.17,
        "utility": (-(10 ** rng.uniform(-2, -0.2, pools))).tolist(),
        "half_life": (10 ** rng.uniform(-0.5, 2, pools)).tolist(),
        "reference_size": (sizes * 10 ** rng.uniform(-0.5, 0.5, pools)).tolist(),
        "dilution": float(rng.uniform(0, 1.5)),
        "amplitude": rng.uniform(0.5, 2, pools).tolist() if pools % 2 else 1.3,
    }
    return Inputs(**{**given, **changes}), (before * shares).tolist()


FIXED = Inputs(
    weights=[0.5, 0.25, 0.25],
    sizes=[2.0**20, 2.0**21, 2.0**22],
    samples_seen=2.0**24,
    scale=3e5,
    floor=0.1,
    utility=[-0.16, -0.12, -0.3],
    half_life=[5.0, 2.0, 0.7],
    reference_size=[1e6, 1e6, 8e6],
)
BEFORE = [3.3e6, 1.2e6, 0.4e6]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [None, 0.6, 2.5])
@pytest.mark.parametrize("warm", [0.03, 0.8, 30.0])
class TestOracle:
    def test_values(self, rng: np.random.Generator, shape: float | None, warm: float):
        for pools in (1, 2, 3):
            for _ in range(4):
                inputs, before = point(rng, pools, warm, decay_shape=shape)
                expected = oracle(inputs, before)
                assert abs(error(inputs, before) / expected - 1) < 1e-13

    def test_gradients(self, rng: np.random.Generator, shape: float | None, warm: float):
        for pools in (2, 3):
            inputs, before = point(rng, pools, warm, decay_shape=shape)
            params, run = value_and_gradient(laws.utility, *arguments(inputs, before), SCANS)[1]
            for record, names in (
                (run, ["weights", "sizes", "samples_seen", "seen_before"]),
                (params, params_of(params)),
            ):
                for name in names:
                    found = np.asarray(getattr(record, name))
                    value = before if name == "seen_before" else getattr(inputs, name)
                    for index in range(pools) if np.ndim(value) else [None]:
                        x = value if index is None else value[index]
                        want = slope(oracle, inputs, before, name, index)
                        got = float(found if index is None else found[index])
                        assert abs((got - want) * x) < 1e-11, (name, index)


def params_of(params: UtilityParams) -> list[str]:
    return [field.name for field in dataclasses.fields(params) if getattr(params, field.name) is not None]


@pytest.mark.usefixtures("x64")
class TestByHand:
    def test_a_second_epoch_at_half_its_worth(self):
        """n0 = N, tau = 1: the first epoch earns log(N / N) = 0, the second log(2) / 2."""
        params = UtilityParams(
            scale=1e6, floor=0.0, utility=np.array([-1.0]), half_life=np.ones(1), reference_size=np.full(1, 1e6)
        )
        run = Run(weights=np.ones(1), sizes=np.full(1, 1e6), samples_seen=1e6, seen_before=np.full(1, 1e6))
        assert float(laws.utility(params, run)) == pytest.approx(2**-0.5, rel=1e-15)

    def test_fresh_data_after_a_worn_pool(self):
        """Four epochs of a worn out pool, then a fresh one, 4M to 8M samples: 2^b, whatever was worn."""
        params = UtilityParams(
            scale=1e6,
            floor=0.0,
            utility=np.array([-0.7, -0.5]),
            half_life=np.array([1e-3, 1.0]),
            reference_size=np.full(2, 1e6),
        )
        run = Run(
            weights=np.array([0.0, 1.0]),
            sizes=np.array([1e6, 4e6]),
            samples_seen=4e6,
            seen_before=np.array([4e6, 0.0]),
        )
        # Of the worn pool's four epochs the first ended at n0, and none after it earned anything.
        assert float(laws.utility(params, run)) == pytest.approx(2**-0.5, rel=1e-14)

    @pytest.mark.parametrize(
        ("weights", "seen", "expected"),
        [
            ([1.0, 0, 0, 0], 32e6, 0.829640),
            ([0.8, 0.2, 0, 0], 64e6, 0.769495),
            ([0.47949, 0.38, 0.14051, 0], 640e6, 0.639246),
        ],
    )
    @pytest.mark.parametrize("earlier", [0.0, 0.3, 0.9])
    def test_golden_static_numbers(self, weights: list[float], seen: float, expected: float, earlier: float):
        """The published constants at published mixes, from scratch and cut in two."""
        fitted = qqt.published("datacomp-tmars").utility
        before = [earlier * seen * w for w in weights]
        assert float(fitted.predict(weights, (1 - earlier) * seen, before)) == pytest.approx(expected, abs=6e-7)


@pytest.mark.usefixtures("x64")
class TestLimits:
    @pytest.mark.parametrize("shape", [None, 1.7])
    def test_nothing_seen_before_is_the_static_law(self, rng: np.random.Generator, shape: float | None):
        """Also where the scale lies beyond the first epochs: the anchor is the same."""
        for warm in (0.01, 1.0, 100.0):
            for pools in (2, 3):
                inputs, _ = point(rng, pools, warm, decay_shape=shape)
                assert error(inputs, [0.0] * pools) == pytest.approx(static(inputs), rel=1e-14)
                params, run = reference.arguments(inputs)
                before, zeros = (
                    value_and_gradient(laws.utility, params, each, SCANS)[1]
                    for each in (run, dataclasses.replace(run, seen_before=np.zeros(pools)))
                )
                zeros = (zeros[0], dataclasses.replace(zeros[1], seen_before=None))
                for got, want in zip(jax.tree.leaves(zeros), jax.tree.leaves(before), strict=True):
                    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-15)

    def test_the_static_law_is_the_limit(self, rng: np.random.Generator):
        for warm in (1e-2, 1.0, 100.0):
            inputs, _ = point(rng, 3, warm)
            shares = rng.dirichlet(np.ones(3))
            for tiny in (1e-305, 1e-6):
                assert error(inputs, (tiny * shares).tolist()) == pytest.approx(static(inputs), rel=1e-9)

    @pytest.mark.parametrize("repeated", [False, True])
    def test_continuous_where_the_warm_up_ends(self, repeated: bool):
        """n_b = n0, with epochs that ended inside the warm-up or without."""
        scale = sum(BEFORE)
        inputs = FIXED._replace(scale=scale, sizes=[1e6 if repeated else np.inf] * 3)
        around = [error(inputs, [each * moved for each in BEFORE]) for moved in (1 - 1e-9, 1.0, 1 + 1e-9)]
        assert around == pytest.approx([around[1]] * 3, rel=1e-8)
        params, run = value_and_gradient(laws.utility, *arguments(inputs, BEFORE), SCANS)[1]
        for index in range(3):  # from the right in e, and in n0 from the left
            want, other = (slope(oracle, inputs, BEFORE, "seen_before", index, side) for side in (1, -1))
            assert abs((float(run.seen_before[index]) - want) * scale) < 1e-12
            assert abs((want - other) * scale) > 1e-3
        want = slope(oracle, inputs, BEFORE, "scale", None, -1)
        assert abs((float(params.scale) - want) * scale) < 1e-12
        if not repeated:  # the warm-up has earned nothing: the shares do not matter
            assert around[1] == pytest.approx(error(inputs, BEFORE[::-1]), rel=1e-14)

    @pytest.mark.parametrize("dilution", [0.0, 0.4, 1.0, 2.0])
    @pytest.mark.parametrize("shape", [None, 1.7])
    def test_a_static_run_cut_in_two(self, rng: np.random.Generator, dilution: float, shape: float | None):
        """At any point, before or after the scale, whether pools repeat before the scale or not."""
        for warm in (0.1, 1.0, 10.0):
            for pools in (1, 2, 3):
                inputs, _ = point(rng, pools, warm, dilution=dilution, decay_shape=shape)
                whole, seen = static(inputs), inputs.samples_seen
                for cut in (0.01, 0.3, 0.77, 0.999):
                    before = [cut * seen * w for w in inputs.weights]
                    rest = inputs._replace(samples_seen=(1 - cut) * seen)
                    assert error(rest, before) == pytest.approx(whole, rel=1e-12)

    def test_cut_in_two_with_a_scale_per_pool(self):
        inputs = FIXED._replace(scale=[1e5, 6e6, 3e7])
        for cut in (0.001, 0.3, 0.9):
            before = [cut * inputs.samples_seen * w for w in inputs.weights]
            rest = inputs._replace(samples_seen=(1 - cut) * inputs.samples_seen)
            assert error(rest, before) == pytest.approx(static(inputs), rel=1e-13)

    def test_adding_nothing_changes_nothing(self, rng: np.random.Generator):
        for pools in (1, 2, 3):
            inputs, before = point(rng, pools, 5.0)
            shares = (np.array(before) / sum(before)).tolist()
            expected = static(inputs._replace(weights=shares, samples_seen=sum(before)))
            for added in (0.0, 1e-6):
                assert error(inputs._replace(samples_seen=added), before) == pytest.approx(expected, rel=1e-9)

    def test_endless_half_life_is_the_power_law(self):
        params, run = arguments(FIXED._replace(half_life=[1e18] * 3), BEFORE)
        blind = PowerParams(scale=params.scale, floor=params.floor, utility=params.utility)
        before, slope_before = sum(BEFORE), np.dot(BEFORE, FIXED.utility) / sum(BEFORE)
        slope_now = np.dot(FIXED.weights, FIXED.utility)
        expected = 0.1 + (before / 3e5) ** slope_before * ((before + 2.0**24) / before) ** slope_now
        assert float(laws.power(blind, run)) == pytest.approx(expected, rel=1e-14)
        assert reference.evaluate(laws.utility, params, run, SCANS) == pytest.approx(expected, rel=1e-13)
        endless = dataclasses.replace(run, sizes=np.full(3, np.inf))
        assert reference.evaluate(laws.utility, arguments(FIXED, BEFORE)[0], endless, 1) == pytest.approx(
            expected, rel=1e-14
        )

    def test_pools_out_of_use_do_not_matter(self):
        inputs = FIXED._replace(weights=[0.6, 0.4, 0.0])
        expected = error(inputs, [3e6, 1e6, 0.0])
        other = inputs._replace(
            sizes=[2.0**20, 2.0**21, np.inf], utility=[-0.16, -0.12, -1.9], half_life=[5.0, 2.0, 0.1]
        )
        assert error(other, [3e6, 1e6, 0.0]) == expected

    def test_samples_of_a_finished_epoch_are_worth_less(self):
        """More exposure to the pool that is trained on, at the same total, means less gained."""
        inputs = FIXED._replace(weights=[1.0, 0.0, 0.0], utility=[-0.2] * 3, half_life=[3.0] * 3, dilution=0.0)
        endless = inputs._replace(sizes=[2.0**20, np.inf, np.inf])
        found = [error(endless, [k * 2.0**20, (8 - k) * 2.0**20, 0.0]) for k in range(9)]
        assert np.all(np.diff(found) > 0)


@pytest.mark.usefixtures("x64")
class TestEdges:
    @pytest.mark.parametrize("dilution", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("shape", [None, 0.5, 2.0])
    def test_finite_everywhere(self, dilution: float, shape: float | None):
        for weights in ([1.0, 0.0, 0.0], [0.0, 0.5, 0.5]):
            for before in ([0.0] * 3, [2.0**22, 0.0, 0.0], [0.0, 2.0**21, 5.0], [2.0**23, 2.0**21, 2.0**22]):
                for sizes in (FIXED.sizes, [np.inf] * 3, [2.0**20, np.inf, 2.0**21]):
                    for seen in (2.0**22, 1.0):
                        inputs = FIXED._replace(
                            weights=weights, sizes=sizes, samples_seen=seen, dilution=dilution, decay_shape=shape
                        )
                        found = value_and_gradient(laws.utility, *arguments(inputs, before), SCANS)
                        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))

    @pytest.mark.parametrize("dilution", [0.0, 1.0])
    @pytest.mark.parametrize("shape", [None, 1.5])
    def test_one_sided_at_exact_ends_and_at_zero(self, dilution: float, shape: float | None):
        """From the right in n, w and e, from the left in N; a pool of weight 0 still knows its exposure."""
        inputs = FIXED._replace(weights=[0.5, 0.5, 0.0], dilution=dilution, decay_shape=shape)
        # Pool 0 starts and ends on an end of an epoch, pool 1 ends on one, pool 2 has ended two and is not drawn.
        before = [2.0**22, 2.0**20, 2.0**23]
        inputs = inputs._replace(samples_seen=2.0**24 - 2.0**21)
        ended = [
            (e + inputs.samples_seen * w) / n for e, w, n in zip(before, inputs.weights, inputs.sizes, strict=True)
        ]
        assert ended == [11.0, 4.0, 2.0]
        value, (_, run) = value_and_gradient(laws.utility, *arguments(inputs, before), SCANS)
        assert abs(float(value) / oracle(inputs, before) - 1) < 1e-14
        kinks = 0
        for name, side in (("samples_seen", 1), ("weights", 1), ("seen_before", 1), ("sizes", -1)):
            found = np.asarray(getattr(run, name))
            for index in range(3) if found.ndim else [None]:
                values = before if name == "seen_before" else getattr(inputs, name)
                x = values if index is None else values[index]
                want, other = (
                    slope(oracle, inputs, before, name, index, each) for each in (side, -side if x else side)
                )
                got = found if index is None else found[index]
                unit = x or 1.0
                assert abs((float(got) - want) * unit) < 1e-12, (name, index)
                kinks += abs((want - other) * unit) > 1e-6
        assert kinks >= 5  # the two sides do differ

    def test_whole_where_the_float_quotient_misses(self, rng: np.random.Generator):
        """e + n w = k N up to rounding is k epochs: the slope in n is the coming epoch's, D(k)."""
        missed = 0
        for _ in range(300):
            k, size, weight = int(rng.integers(2, 40)), float(rng.uniform(1e5, 1e7)), float(rng.uniform(0.05, 1))
            before = float(rng.uniform(0.1, 0.9)) * size
            seen = (k * size - before) / weight
            missed += (before + seen * weight) / size < k
            inputs = FIXED._replace(weights=[weight, 1 - weight, 0.0], sizes=[size, np.inf, np.inf], dilution=0.0)
            params, run = arguments(inputs._replace(samples_seen=seen, utility=[-0.2, 0.0, 0.0]), [before, 0.0, 0.0])
            value, (_, slopes) = value_and_gradient(laws.utility, params, run, SCANS)
            relative = float(slopes.samples_seen) * (before + seen) / (float(value) - 0.1)
            assert relative == pytest.approx(-0.2 * weight * 0.5 ** (k / 5), rel=1e-10)
        assert missed > 10

    def test_nan_beyond_the_length(self):
        inputs = FIXED._replace(weights=[1.0, 0.0, 0.0])  # 3.1 epochs, then 16 more
        params, run = arguments(inputs, BEFORE)
        for each in (params, dataclasses.replace(params, decay_shape=1.3)):
            assert np.isfinite(reference.evaluate(laws.utility, each, run, 19))
            assert np.isnan(reference.evaluate(laws.utility, each, run, 18))
        assert np.isnan(value_and_gradient(laws.utility, params, run, 18)[1][1].samples_seen)

    def test_the_length_covers_what_was_seen_before(self):
        params, run = arguments(FIXED, [2.0**26, 0.0, 0.0])
        assert length_for(laws.utility, params, run) == 128  # 64 epochs and 8
        assert length_for(laws.utility, params, dataclasses.replace(run, seen_before=None)) is None
        assert (
            repetition.bucket_for(np.full(3, 1e6), np.ones((3, 1)), np.ones((3, 1)) * 1e6, np.full((3, 1), 40e6)) == 64
        )
        found = float(laws.utility(params, run))
        assert abs(found / oracle(FIXED, [2.0**26, 0.0, 0.0]) - 1) < 1e-13

    def test_traced_without_a_length(self):
        params, run = arguments(FIXED, BEFORE)
        with pytest.raises(MaxEpochsError, match="pass max_epochs="):
            jax.jit(laws.utility)(params, run)
        with pytest.raises(MaxEpochsError):
            jax.grad(lambda e: laws.utility(params, dataclasses.replace(run, seen_before=e)))(run.seen_before)


def log_excess(inputs: Inputs, before: list[float], rows: np.ndarray) -> np.ndarray:
    params, run = arguments(inputs._replace(floor=0.0), before)
    one = jax.jit(lambda w: laws.utility(params, dataclasses.replace(run, weights=w), 256))
    return np.log(np.asarray(jax.jit(jax.vmap(one))(rows)))


@pytest.mark.usefixtures("x64")
class TestConvexity:
    @pytest.mark.parametrize("shape", [None, 0.5, 3.0])
    @pytest.mark.parametrize("warm", [0.05, 0.7, 20.0])
    def test_convex_without_dilution(self, rng: np.random.Generator, shape: float | None, warm: float):
        """Log excess at midpoints of random pairs of mixes; in the warm-up too, where pools repeat before n0."""
        bends = []
        for _ in range(4):
            inputs, before = point(rng, 2, warm, dilution=0.0, decay_shape=shape, amplitude=1.0)
            assert laws.utility.convex(reference.arguments(inputs)[0])
            left, right = rng.dirichlet(np.full(2, 0.7), 500), rng.dirichlet(np.full(2, 0.7), 500)
            at = log_excess(inputs, before, np.concatenate([left, right, (left + right) / 2])).reshape(3, 500)
            bends.append((at[0] + at[1]) / 2 - at[2])
        assert np.min(bends) > -1e-12
        assert np.max(bends) > 1e-4

    def test_not_convex_with_dilution(self):
        """Why `convex` speaks of runs from scratch: lam k = 1 to 3 over the weights, no epoch ends meanwhile."""
        inputs = Inputs(
            weights=[0.5, 0.5],
            sizes=[1e6, np.inf],
            samples_seen=1.0,
            scale=1e6,
            floor=0.0,
            utility=[-0.5, -0.5],
            half_life=[2.0, 2.0],
            reference_size=[1e6, np.inf],
        )
        left, right, middle = log_excess(
            inputs._replace(samples_seen=0.4e6), [20.5e6, 0.0], np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25]])
        )
        assert (left + right) / 2 < middle - 1e-6

    def test_which_laws_are_convex(self):
        params = reference.arguments(FIXED)[0]
        changed = partial(dataclasses.replace, params)
        assert laws.utility.convex(params)
        assert laws.utility.convex(changed(dilution=np.array([0.0, 0.5, 1.0])))
        assert laws.utility.convex(changed(dilution=0.0, decay_shape=2.0))
        assert laws.utility.convex(changed(floor=np.zeros(3), amplitude=np.ones(3), scale=np.full(3, 1e6)))
        assert not laws.utility.convex(changed(dilution=1.1))
        assert not laws.utility.convex(changed(dilution=-0.1))
        assert not laws.utility.convex(changed(dilution=np.nan))
        assert not laws.utility.convex(changed(decay_shape=1.2))
        assert not laws.utility.convex(changed(dilution=0.0, decay_shape=-1.0))
        assert not laws.utility.convex(changed(utility=np.array([-0.1, 0.0, -0.2])))
        stacked = np.stack([params.utility, params.utility])
        assert laws.utility.convex(changed(utility=stacked, dilution=np.array([0.0, 1.0])))
        assert not laws.utility.convex(changed(utility=stacked * np.array([[1.0], [-1.0]])))
        assert not laws.utility.convex(changed(utility=stacked, dilution=np.array([0.0, 1.0]), decay_shape=np.ones(2)))
        assert not laws.released_utility.convex(params)
        assert not laws.effective_data.convex(params)
        assert laws.power.convex(PowerParams(scale=1e6, floor=0.1, utility=np.array([0.3, -0.1])))
        saturating = EffectiveSamplesParams(scale=np.full(2, 1e6), floor=0.1, exponent=0.2, saturation=np.full(2, 4.0))
        assert laws.effective_samples.convex(saturating)
        for name in ("scale", "exponent", "saturation"):
            assert not laws.effective_samples.convex(dataclasses.replace(saturating, **{name: np.array([1.0, -1.0])}))


SATURATING = EffectiveSamplesParams(
    scale=np.array([1e6, 3e6, 2e6]), floor=np.array([0.1, 0.2, 0.3]), exponent=0.3, saturation=np.array([4.0, 2.0, 9.0])
)
BLIND = PowerParams(scale=3e5, floor=np.array([0.1, 0.2, 0.3]), utility=np.array(FIXED.utility), amplitude=1.2)


@pytest.mark.usefixtures("x64")
class TestOtherLaws:
    def test_effective_samples_add_up(self):
        _, run = arguments(FIXED, BEFORE)
        total, expected = 0.0, 0.0
        for e, w, size, scale, star, floor in zip(
            BEFORE, FIXED.weights, FIXED.sizes, SATURATING.scale, SATURATING.saturation, SATURATING.floor, strict=True
        ):
            k = (e + 2.0**24 * w) / size
            total += size / scale * (k if k <= 1 else 1 + star * (1 - np.exp(-(k - 1) / star)))
            expected += floor * (e + 2.0**24 * w) / (sum(BEFORE) + 2.0**24)
        expected += total**-0.3
        assert float(laws.effective_samples(SATURATING, run)) == pytest.approx(expected, rel=1e-14)

    @pytest.mark.parametrize(("law", "params"), [(laws.effective_samples, SATURATING), (laws.power, BLIND)])
    @pytest.mark.parametrize("cut", [0.0, 0.001, 0.4, 1.0])
    def test_cut_in_two(self, law: laws.Law, params: Any, cut: float):
        _, whole = reference.arguments(FIXED)
        rest = dataclasses.replace(
            whole, samples_seen=(1 - cut) * whole.samples_seen, seen_before=cut * whole.samples_seen * whole.weights
        )
        found, expected = (reference.evaluate(law, params, each) for each in (rest, whole))
        assert found == (expected if cut == 0 else pytest.approx(expected, rel=1e-13))

    @pytest.mark.parametrize("law", [laws.released_utility, laws.effective_data], ids=lambda law: law.name)
    def test_laws_that_do_not_know(self, law: laws.Law):
        params, run = arguments(FIXED, BEFORE)
        message = f"law {law.name} does not know seen_before"
        with pytest.raises(InputError, match=message):
            law(params, run)
        with pytest.raises(InputError, match=message):
            jax.jit(lambda run: law(params, run, SCANS))(run)
        fitted = FittedLaw(law, params, Pools.of(dict(zip("abc", FIXED.sizes, strict=True))))
        with pytest.raises(InputError, match=message):
            fitted.predict([1.0, 0.0, 0.0], 1e6, {"a": 1e6})


class TestFittedLaw:
    fitted = FittedLaw(
        laws.utility, reference.arguments(FIXED)[0], Pools.of(dict(zip("abc", FIXED.sizes, strict=True)))
    )

    def test_run_and_predict_take_names_or_a_row(self):
        before = np.array([0.0, 5e6, 7e6])
        run = self.fitted.run({"a": 1}, 3e6, {"c": 7e6, "b": 5e6})
        np.testing.assert_array_equal(run.seen_before, before)
        assert self.fitted.run({"a": 1}, 3e6).seen_before is None
        inputs = FIXED._replace(weights=[1.0, 0.0, 0.0], samples_seen=3e6)
        for given in (before, before.tolist(), {"b": 5e6, "c": 7e6}):
            found = self.fitted.predict({"a": 1}, 3e6, given)
            assert found.dtype == np.float64
            assert abs(float(found) / oracle(inputs, before.tolist()) - 1) < 1e-13

    def test_many_at_once(self):
        mixes, seen = np.array([[1.0, 0, 0], [0, 0.5, 0.5]]), np.array([[1e6], [5e6], [1e8]])
        found = self.fitted.predict(mixes, seen, {"a": 4e6})
        assert found.shape == (3, 2)
        for row in range(3):
            for column in range(2):
                inputs = FIXED._replace(weights=mixes[column].tolist(), samples_seen=float(seen[row, 0]))
                assert abs(float(found[row, column]) / oracle(inputs, [4e6, 0.0, 0.0]) - 1) < 1e-13

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"d": 1e6}, "unknown pool 'd'"),
            ([1e6, 1e6], r"samples seen before of shape \(2,\): expected one for each of 3 pools"),
            (1e6, r"samples seen before of shape \(\): expected one for each of 3 pools"),
            ({"a": -1.0}, "expected finite numbers >= 0"),
            ([np.nan, 0, 0], "expected finite numbers >= 0"),
            ([np.inf, 0, 0], "expected finite numbers >= 0"),
        ],
    )
    def test_bad_input(self, given: Any, message: str):
        for ask in (self.fitted.run, self.fitted.predict):
            with pytest.raises(InputError, match=message):
                ask({"a": 1}, 1e6, given)


def batch(count: int) -> tuple[UtilityParams, Run]:
    rng = np.random.default_rng(3)
    params = reference.arguments(FIXED)[0]
    shares, weights = rng.dirichlet(np.ones(3), count), rng.dirichlet(np.ones(3), count)
    return params, Run(
        weights=weights,
        sizes=np.tile(np.array(FIXED.sizes), (count, 1)),
        samples_seen=10 ** rng.uniform(5, 7.4, count),
        seen_before=10 ** rng.uniform(3, 7.4, (count, 1)) * shares,
    )


def cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def slopes(params: Any, runs: Run) -> Any:
    def one(run: Run) -> Any:
        return jax.value_and_grad(lambda *both: laws.utility(*both, SCANS), argnums=(0, 1))(params, run)

    return jax.vmap(one)(runs)


class TestCompiled:
    def test_vmap_is_one_by_one(self):
        params, runs = batch(5)
        with jax.enable_x64(True):
            together = np.asarray(jax.jit(slopes)(params, runs)[0])
            for row in range(5):
                run = jax.tree.map(lambda leaf: leaf[row], runs)  # noqa: B023
                assert together[row] == pytest.approx(float(laws.utility(params, run)), rel=1e-14)

    def test_float32(self):
        """Float32 throughout, and close; measured as for the static law, on values and x dy/dx."""
        single = cast(batch(256), np.float32)
        value, gradient = jax.tree.map(np.asarray, jax.jit(slopes)(*single))
        with jax.enable_x64(True):
            exact = cast(single, np.float64)
            exact_value, exact_gradient = jax.tree.map(np.asarray, jax.jit(slopes)(*exact))
        assert {leaf.dtype for leaf in jax.tree.leaves((value, gradient))} == {np.dtype(np.float32)}
        assert np.max(np.abs(value / exact_value - 1)) < 3e-6
        on_kink = 0
        for name in ("samples_seen", "weights", "seen_before"):
            got, want = (np.asarray(getattr(each[1], name), np.float64) for each in (gradient, exact_gradient))
            off = np.abs((got - want) * getattr(exact[1], name)) > 3e-5
            on_kink += np.count_nonzero(off)
        assert on_kink == 0

    def test_lowers_for_accelerators(self):
        for dtype in (np.float32, np.float64):
            with jax.enable_x64(dtype == np.float64):
                exported = jax.export.export(jax.jit(slopes), platforms=["cuda", "tpu"])(*cast(batch(4), dtype))
            assert exported.platforms == ("cuda", "tpu")
            assert {aval.dtype for aval in exported.out_avals} == {np.dtype(dtype)}
            assert dtype == np.float64 or "f64" not in exported.mlir_module()

    @pytest.mark.usefixtures("x64")
    @pytest.mark.parametrize("shape", [None, 1.5])
    def test_no_implicit_promotion(self, shape: float | None):
        params, run = cast(arguments(FIXED._replace(decay_shape=shape), BEFORE), np.float64)
        with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
            assert jax.eval_shape(lambda *both: laws.utility(*both, SCANS), params, run).shape == ()

    @pytest.mark.usefixtures("x64")
    def test_whole_numbers_and_plain_lists(self):
        """Counts beyond 2^31 as integers do not wrap."""
        params, run = arguments(FIXED, [3e9, 1e9, 2e9])
        whole = dataclasses.replace(run, seen_before=np.array([3, 1, 2]) * 10**9, samples_seen=2**24)
        run = dataclasses.replace(run, sizes=run.sizes * 1e3)
        whole = dataclasses.replace(whole, sizes=run.sizes)
        assert float(laws.utility(params, whole)) == float(laws.utility(params, run))
