"""The effective-samples law: against its formula in plain Python, its limits, its gradients, and planted truths."""

import dataclasses
import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from reference import mp, mpf

import qqtjax as qqt
from qqtjax import laws
from qqtjax.errors import QQTWarning
from qqtjax.laws import EffectiveSamplesParams, FittedLaw
from qqtjax.laws.fitted import evaluate
from qqtjax.runs import Pools, Run

PARAMS = EffectiveSamplesParams(
    scale=np.array([1e4, 1.6e4, 4e4]), floor=0.12, exponent=0.21, saturation=np.array([4.0, 7.5, 0.8])
)
SIZES = np.array([1e5, 3e5, 2e5])
WEIGHTS = np.array([0.5, 0.3, 0.2])


def error(params=PARAMS, weights=WEIGHTS, sizes=SIZES, seen=2e6):
    run = Run(weights=np.array([weights]), sizes=np.array([sizes]), samples_seen=np.array([seen]))
    return float(evaluate(laws.effective_samples, params, run)[0])


def by_formula(params, weights, sizes, seen):
    """y = d + A D'^-beta with A = n0_1^beta and c_i = n0_1 / n0_i, written out."""
    effective = 0.0
    for scale, limit, weight, size in zip(params.scale, params.saturation, weights, sizes, strict=True):
        epochs = seen * weight / size
        showings = epochs if epochs <= 1 else 1 + limit * (1 - math.exp(-(epochs - 1) / limit))
        effective += params.scale[0] / scale * size * showings
    return params.floor + params.scale[0] ** params.exponent * effective**-params.exponent


@pytest.mark.parametrize("seen", [1e3, 1.9e5, 7e5, 2e6, 5e7])
def test_is_the_formula(seen):
    assert error(seen=seen) == pytest.approx(by_formula(PARAMS, WEIGHTS, SIZES, seen), rel=1e-13)


def test_without_repeats_it_is_a_power_law():
    seen = np.geomspace(1e2, 1e5, 5)
    excess = [error(weights=[1, 0, 0], seen=n) - PARAMS.floor for n in seen]
    assert np.diff(np.log(excess)) == pytest.approx(-PARAMS.exponent * np.diff(np.log(seen)), rel=1e-12)


def test_a_large_saturation_and_an_unknown_size_mean_no_decay():
    fresh = error(sizes=[np.inf] * 3)
    lasting = dataclasses.replace(PARAMS, saturation=np.full(3, 1e6))
    assert error(lasting, seen=1e6) == pytest.approx(error(sizes=[np.inf] * 3, seen=1e6), rel=1e-6)
    assert fresh < error()


def test_a_tiny_saturation_caps_a_pool_at_its_unique_samples():
    params = dataclasses.replace(PARAMS, saturation=np.full(3, 1e-2))
    unique = PARAMS.floor + (1.01 * np.sum(SIZES / PARAMS.scale)) ** -PARAMS.exponent
    assert error(params, seen=1e12) == pytest.approx(unique, rel=1e-12)
    none = dataclasses.replace(PARAMS, saturation=np.full(3, 1e-9))
    cap = PARAMS.floor + np.sum(SIZES / PARAMS.scale) ** -PARAMS.exponent
    assert [error(none, seen=n) for n in (1e7, 1e12)] == pytest.approx([cap, cap], rel=1e-9)


def test_many_epochs_reach_the_worth_of_all_repeats():
    limit = np.sum(SIZES / PARAMS.scale * (1 + PARAMS.saturation))
    assert error(seen=1e11) == pytest.approx(PARAMS.floor + limit**-PARAMS.exponent, rel=1e-12)


def test_a_pool_split_in_two_halves_changes_nothing():
    def split(values, share=1.0):
        return np.array([values[0] * share, values[0] * share, *values[1:]])

    halves = dataclasses.replace(PARAMS, scale=split(PARAMS.scale), saturation=split(PARAMS.saturation))
    assert error(halves, split(WEIGHTS, 0.5), split(SIZES, 0.5)) == pytest.approx(error(), rel=1e-14)


def test_one_hot_is_one_pool():
    for chosen in range(3):
        alone = EffectiveSamplesParams(
            scale=PARAMS.scale[[chosen]], floor=0.12, exponent=0.21, saturation=PARAMS.saturation[[chosen]]
        )
        expected = error(alone, [1.0], SIZES[[chosen]])
        assert error(weights=np.eye(3)[chosen]) == pytest.approx(expected, rel=1e-14)


def test_pools_of_weight_zero_do_not_matter():
    other = dataclasses.replace(PARAMS, scale=np.array([1e4, 1.6e4, 1e12]), saturation=np.array([4.0, 7.5, 1e-2]))
    for size in (7.0, np.inf):
        assert error(other, [0.6, 0.4, 0], [*SIZES[:2], size]) == error(weights=[0.6, 0.4, 0])


def test_a_floor_of_each_pool_is_averaged_and_a_shared_saturation_repeated():
    floors = np.array([0.1, 0.3, 0.2])
    apart = dataclasses.replace(PARAMS, floor=floors)
    assert error(apart) - WEIGHTS @ floors == pytest.approx(error() - PARAMS.floor, rel=1e-13)
    shared, repeated = (dataclasses.replace(PARAMS, saturation=each) for each in (3.0, np.full(3, 3.0)))
    assert error(shared) == error(repeated) != error()


def test_counts_may_be_whole_numbers_beyond_32_bits():
    """As the other laws: without 64 bits, an integer scale or size neither overflows nor wraps."""
    run = Run(weights=np.array([1.0]), sizes=np.array([4_000_000_000]), samples_seen=8_000_000_000)
    for scale in (4_000_000_000, np.array([4_000_000_000])):
        params = EffectiveSamplesParams(scale=scale, floor=0.1, exponent=0.5, saturation=np.array([4]))
        expected = 0.1 + (1 + 4 * (1 - math.exp(-1 / 4))) ** -0.5
        assert float(laws.effective_samples(params, run)) == pytest.approx(expected, rel=1e-6)


def test_more_samples_never_hurt_and_the_error_is_convex_in_the_weights():
    rng = np.random.default_rng(4)
    along = np.linspace(0, 1, 9)[:, None]
    for _ in range(20):
        params = EffectiveSamplesParams(
            scale=10 ** rng.uniform(2, 5, 3),
            floor=0.0,
            exponent=rng.uniform(0.02, 1),
            saturation=10 ** rng.uniform(-2, 3, 3),
        )
        law = FittedLaw(laws.effective_samples, params, Pools.of(dict(zip("abc", SIZES, strict=True))))
        first, last = rng.dirichlet(np.ones(3), 2)
        seen = np.geomspace(1e2, 1e9, 40)
        falling = law.predict(first, seen)
        assert np.all(np.diff(falling) <= 4e-15 * falling[:-1])
        between = law.predict((1 - along) * first + along * last, 10 ** rng.uniform(4, 7))
        chord = (1 - along[:, 0]) * between[0] + along[:, 0] * between[-1]
        assert np.all(between <= chord * (1 + 1e-12))


def test_no_samples_diverge():
    assert error(seen=0.0) == np.inf


@pytest.mark.parametrize("seen", [1.3e5, 2e6])
def test_gradients_match_central_differences(seen):
    with jax.enable_x64(True):
        place = {**{f.name: np.asarray(getattr(PARAMS, f.name), float) for f in dataclasses.fields(PARAMS)}}
        place |= {"weights": WEIGHTS, "sizes": SIZES, "samples_seen": np.array(seen)}

        def value(all_of):
            params = EffectiveSamplesParams(**{k: all_of[k] for k in ("scale", "floor", "exponent", "saturation")})
            return laws.effective_samples(params, Run(**{k: all_of[k] for k in ("weights", "sizes", "samples_seen")}))

        slopes = jax.grad(value)(place)
        for name, at in place.items():
            for index in np.ndindex(at.shape):
                step = 1e-6 * at[index]
                ends = []
                for sign in (1, -1):
                    moved = at.copy()
                    moved[index] += sign * step
                    ends.append(float(value({**place, name: moved})))
                assert float(slopes[name][index]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6), name


class Inputs(NamedTuple):
    """Parameters and run of one prediction."""

    weights: list[float]
    sizes: list[float]
    samples_seen: float
    scale: list[float]
    floor: Any
    exponent: float
    saturation: list[float]


def in_fifty_digits(inputs: Inputs) -> Any:
    """y = d + (sum_i U_i h_i / n0_i)^-beta, of floats taken exactly."""
    effective, seen = mpf(0), mpf(inputs.samples_seen)
    columns = (inputs.weights, inputs.sizes, inputs.scale, inputs.saturation)
    for weight, size, scale, limit in (map(mpf, row) for row in zip(*columns, strict=True)):
        if mp.isinf(size) or seen * weight <= size:
            effective += seen * weight / scale
        else:
            effective += size / scale * (1 + limit * (1 - mp.exp((1 - seen * weight / size) / limit)))
    floors = zip(inputs.weights, inputs.floor, strict=True)
    return mp.fsum(mpf(w) * mpf(d) for w, d in floors) + effective ** -mpf(inputs.exponent)


def found_in(inputs: Inputs) -> tuple[float, dict[str, np.ndarray]]:
    """The library's value and its derivative by every parameter and every part of the run."""

    def value(of: dict[str, Any]) -> jax.Array:
        params = {field.name: of[field.name] for field in dataclasses.fields(EffectiveSamplesParams)}
        run = Run(**{name: of[name] for name in ("weights", "sizes", "samples_seen")})
        return laws.effective_samples(EffectiveSamplesParams(**params), run)

    with jax.enable_x64(True):
        places = {name: jnp.asarray(each, jnp.float64) for name, each in inputs._asdict().items()}
        found, slopes = jax.value_and_grad(value)(places)
        return float(found), {name: np.asarray(each) for name, each in slopes.items()}


def drawn_inputs(rng: np.random.Generator) -> Inputs:
    """A point of up to 1e6 epochs; one pool in four is not drawn from, one of unknown size."""
    weights, sizes = rng.dirichlet(np.ones(4)), 10 ** rng.uniform(3, 9, 4)
    seen = float(10 ** rng.uniform(-2, 6) / np.max(weights / sizes))
    weights[1], sizes[2] = 0.0, np.inf
    return Inputs(
        weights=weights.tolist(),
        sizes=sizes.tolist(),
        samples_seen=seen,
        scale=(10 ** rng.uniform(2, 9, 4)).tolist(),
        floor=rng.uniform(0, 0.3, 4).tolist(),
        exponent=float(rng.uniform(0.01, 1)),
        saturation=(10 ** rng.uniform(-2, 6, 4)).tolist(),
    )


def test_value_and_every_derivative_in_fifty_digits(rng):
    for _ in range(40):
        inputs = drawn_inputs(rng)
        value, slopes = found_in(inputs)
        wanted = in_fifty_digits(inputs)
        assert value == pytest.approx(float(wanted), rel=1e-13)
        above = wanted - mp.fsum(mpf(w) * mpf(d) for w, d in zip(inputs.weights, inputs.floor, strict=True))
        for name, found in slopes.items():
            for index in np.ndindex(found.shape):
                place = index[0] if index else None
                at = getattr(inputs, name) if place is None else getattr(inputs, name)[place]
                if np.isinf(at):
                    assert found[index] == 0
                    continue
                want = reference.difference(in_fifty_digits, inputs, name, place)
                # Relative to the derivative, or to what the whole excess over the argument would give, where the
                # derivative is a small difference of such terms (by size and saturation, near the first epoch).
                least = 1e-5 * above / (abs(at) or 1)
                assert abs(mpf(float(found[index])) - want) <= 1e-9 * max(abs(want), least), (name, index, inputs)


@pytest.mark.parametrize("saturation", [1e-2, 3.0, 1e6])
def test_at_the_end_of_the_first_epoch_both_sides_and_the_derivative_agree(saturation):
    """k = 1 exactly in the first pool: the slope of h is 1 before and after, so there is only one derivative."""
    inputs = Inputs([0.5, 0.5], [1e5, 1e6], 2e5, [1e4, 3e4], [0.1, 0.1], 0.3, [saturation] * 2)
    value, slopes = found_in(inputs)
    assert value == pytest.approx(float(in_fifty_digits(inputs)), rel=1e-14)
    for name, index in (("samples_seen", None), ("weights", 0), ("sizes", 0), ("saturation", 0)):
        given = getattr(inputs, name)
        at = mpf(given if index is None else given[index])
        step = mpf(10) ** -20 * at
        for sign in (1, -1):
            moved = at + sign * step if index is None else [at + sign * step, *given[1:]]
            change = in_fifty_digits(inputs._replace(**{name: moved})) - in_fifty_digits(inputs)
            found = slopes[name] if index is None else slopes[name][index]
            assert float(found) == pytest.approx(float(sign * change / step), rel=1e-12, abs=1e-22), (name, sign)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_derivatives_are_finite_everywhere(dtype):
    with jax.enable_x64(dtype == np.float64):
        for weights in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]):
            for sizes in ([1e6, 1e6], [1e6, np.inf], [np.inf, np.inf]):
                for epochs in (1e-6, 1.0, 1.0 + 1e-6, 37.0, 1e6):
                    for saturation in (1e-2, 1.0, 1e6):
                        values = [[4e6, 1e3], 0.1, 0.2, [saturation] * 2]
                        params = EffectiveSamplesParams(
                            **dict(zip(("scale", "floor", "exponent", "saturation"), values, strict=True))
                        )
                        run = Run(weights=weights, sizes=sizes, samples_seen=epochs * 1e6)
                        params, run = jax.tree.map(
                            lambda leaf: jnp.asarray(leaf, dtype), (params, run), is_leaf=lambda x: isinstance(x, list)
                        )
                        found = value_and_gradient(params, run)
                        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)), (run, saturation)


@jax.jit
def value_and_gradient(params: EffectiveSamplesParams, run: Run) -> Any:
    return jax.value_and_grad(laws.effective_samples.function, argnums=(0, 1))(params, run, None)


@pytest.mark.parametrize("saturation", [1e-2, 1e6])
@pytest.mark.parametrize("seen", [1e5, 1e11])
def test_gradients_are_finite_at_weight_zero_boundaries_and_extremes(saturation, seen):
    params = dataclasses.replace(PARAMS, saturation=np.full(3, saturation))
    sizes = np.array([1e5, np.inf, 2e5])
    with jax.enable_x64(True):
        slopes = jax.grad(lambda params, run: laws.effective_samples(params, run), argnums=(0, 1), allow_int=True)(
            params, Run(weights=np.array([1.0, 0.0, 0.0]), sizes=sizes, samples_seen=seen)
        )
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.parametrize("seed", range(3))
def test_planted_parameters_are_found_again(seed):
    rng = np.random.default_rng(seed)
    truth = EffectiveSamplesParams(
        scale=np.sort(10 ** rng.uniform(1.5, 3, 3)),
        floor=rng.uniform(0.05, 0.3),
        exponent=rng.uniform(0.1, 0.4),
        saturation=rng.uniform(1.0, 10.0, 3),
    )
    pools = {"a": 1e5, "b": 2e5, "c": 1.5e5}
    rows = [
        {"pool": name, "samples_seen": epochs * size}
        for name, size in pools.items()
        for epochs in (0.25, 0.5, 1, 2, 4, 8, 16)
    ]
    planted = FittedLaw(laws.effective_samples, truth, Pools.of(pools))
    rows = [row | {"error": float(planted.predict({row["pool"]: 1}, row["samples_seen"]))} for row in rows]
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        found = qqt.fit(qqt.read_runs(pd.DataFrame(rows), pools=pools), laws.effective_samples)
    for field in dataclasses.fields(truth):
        wanted = np.asarray(getattr(truth, field.name))
        assert np.asarray(getattr(found.params, field.name)) == pytest.approx(wanted, rel=1e-5), field.name
