"""What the laws must be where they can be written down by hand."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import reference

from qqtjax import laws
from qqtjax.errors import MaxEpochsError
from qqtjax.laws import PowerParams, UtilityParams, repetition
from qqtjax.runs import Run

pytestmark = pytest.mark.usefixtures("x64")

SCANS = 64  # static length for the laws that scan
REPEATING = [laws.utility, laws.released_utility, laws.effective_data]
SIZES = np.array([1e6, 2e6, 3e6, 0.5e6])
PARAMS = UtilityParams(
    scale=4e6,
    floor=0.1,
    utility=np.array([-0.16, -0.12, -0.1, -0.08]),
    half_life=np.array([7.0, 3.0, 1.5, 12.0]),
    reference_size=np.array([1e6, 1e6, 4e6, 0.5e6]),
)
RUN = Run(weights=np.array([0.4, 0.3, 0.2, 0.1]), sizes=SIZES, samples_seen=41.7e6)


def evaluate(law: laws.Law, params: Any, run: Run) -> float:
    """The law, by the scan only where it needs one."""
    return reference.evaluate(law, params, run, SCANS if law.scans(params) else None)


def changed(record: Any, **changes: Any) -> Any:
    return dataclasses.replace(record, **changes)


def per_pool(params: UtilityParams, rows: Any) -> UtilityParams:
    """The parameters of some pools, in the order of `rows`."""
    rows = np.asarray(rows)
    return changed(
        params,
        utility=params.utility[rows],
        half_life=params.half_life[rows],
        reference_size=params.reference_size[rows],
    )


def blind(params: UtilityParams) -> PowerParams:
    return PowerParams(scale=params.scale, floor=params.floor, utility=params.utility, amplitude=params.amplitude)


@pytest.mark.parametrize("law", REPEATING, ids=lambda law: law.name)
class TestLimits:
    def test_first_epoch_is_a_power_law(self, law: laws.Law):
        longest = float(np.min(SIZES / RUN.weights))
        for seen in (1.0, 0.3 * longest, longest):
            run = changed(RUN, samples_seen=seen)
            expected = 0.1 + (seen / 4e6) ** float(RUN.weights @ PARAMS.utility)
            assert evaluate(law, PARAMS, run) == pytest.approx(expected, rel=1e-14)

    def test_endless_half_life_is_a_power_law(self, law: laws.Law):
        params = changed(PARAMS, half_life=np.full(4, 1e18))
        if law is laws.released_utility:
            params = changed(params, floor=0.0)  # its floor sinks
        expected = float(laws.power(blind(params), RUN))
        assert evaluate(law, params, RUN) == pytest.approx(expected, rel=1e-13)

    def test_infinite_pools_are_never_repeated(self, law: laws.Law):
        run = changed(RUN, sizes=np.full(4, np.inf))
        expected = float(laws.power(blind(PARAMS), RUN))
        for reference_size in (np.full(4, np.inf), PARAMS.reference_size):
            params = changed(PARAMS, reference_size=reference_size)
            assert evaluate(law, params, run) == pytest.approx(expected, rel=1e-14)

    def test_one_hot_is_one_pool(self, law: laws.Law):
        for chosen in range(4):
            alone = Run(weights=np.ones(1), sizes=SIZES[[chosen]], samples_seen=11.3e6)
            among = Run(weights=np.eye(4)[chosen], sizes=SIZES, samples_seen=11.3e6)
            expected = evaluate(law, per_pool(PARAMS, [chosen]), alone)
            assert evaluate(law, PARAMS, among) == pytest.approx(expected, rel=1e-14)

    def test_pools_of_weight_zero_do_not_matter(self, law: laws.Law):
        run = changed(RUN, weights=np.array([0.6, 0.4, 0.0, 0.0]))
        expected = evaluate(law, PARAMS, run)
        other = changed(
            PARAMS,
            utility=np.array([-0.16, -0.12, -1.9, -0.003]),
            half_life=np.array([7.0, 3.0, 0.1, 1e6]),
            reference_size=np.array([1e6, 1e6, np.inf, 1.0]),
        )
        assert evaluate(law, other, changed(run, sizes=np.array([1e6, 2e6, np.inf, 7.0]))) == expected

    def test_splitting_a_pool_changes_nothing(self, law: laws.Law):
        """With dilution 1: uniform sampling of two parts of a pool is uniform sampling of the pool."""
        whole, share = changed(RUN, weights=np.array([0.5, 0.3, 0.2, 0.0])), 0.3
        shares = np.array([share, 1 - share, 1.0, 1.0])
        rows = [0, 0, 1, 2]
        split = changed(whole, weights=whole.weights[rows] * shares, sizes=SIZES[rows] * shares)
        expected = evaluate(law, PARAMS, whole)
        params = per_pool(PARAMS, rows)
        assert evaluate(law, params, split) == pytest.approx(expected, rel=1e-13)
        # A part that was measured alone wears out sooner, in proportion to its size: the same law.
        parts = changed(params, half_life=params.half_life * shares, reference_size=params.reference_size * shares)
        assert evaluate(law, parts, split) == pytest.approx(expected, rel=1e-13)
        # Without dilution a part is a pool like any other, and only its own exposure counts: the same again.
        params, alone = (changed(each, dilution=0.0) for each in (params, PARAMS))
        assert evaluate(law, params, split) == pytest.approx(evaluate(law, alone, whole), rel=1e-13)

    def test_no_dilution_is_exposure_only(self, law: laws.Law):
        """Then a pool does not notice on what the half-life was measured, nor what it is mixed with."""
        params = changed(PARAMS, dilution=0.0)
        expected = evaluate(law, params, RUN)
        assert evaluate(law, changed(params, reference_size=SIZES * 7.0), RUN) == expected
        assert evaluate(law, changed(PARAMS, reference_size=SIZES / RUN.weights), RUN) == pytest.approx(
            expected, rel=1e-14
        )
        assert evaluate(law, PARAMS, RUN) != pytest.approx(expected, rel=1e-3)

    def test_equal_pools_sampled_uniformly_are_theorem_1(self, law: laws.Law):
        """p merged pools have tau_hat = p tau: here p copies of one pool, which are that pool merged."""
        pools, seen = 4, 55e6
        params = per_pool(PARAMS, [0] * pools)
        run = Run(weights=np.full(pools, 1 / pools), sizes=np.full(pools, 1e6), samples_seen=seen)
        merged = changed(
            per_pool(PARAMS, [0]),
            half_life=PARAMS.half_life[[0]] * pools,
            reference_size=np.array([pools * 1e6]),
        )
        alone = Run(weights=np.ones(1), sizes=np.array([pools * 1e6]), samples_seen=seen)
        assert evaluate(law, params, run) == pytest.approx(evaluate(law, merged, alone), rel=1e-13)

    def test_decay_shape_one_is_the_geometric_decay(self, law: laws.Law):
        shaped = evaluate(law, changed(PARAMS, decay_shape=1.0), RUN)
        assert shaped == pytest.approx(evaluate(law, PARAMS, RUN), rel=1e-13)


def test_shared_and_repeated_parameters_agree():
    shared = changed(PARAMS, half_life=4.0, amplitude=1.3)
    repeated = changed(
        PARAMS,
        half_life=np.full(4, 4.0),
        floor=np.full(4, 0.1),
        amplitude=np.full(4, 1.3),
        dilution=np.ones(4),
    )
    assert evaluate(laws.utility, shared, RUN) == pytest.approx(evaluate(laws.utility, repeated, RUN), rel=1e-14)


@pytest.mark.parametrize(
    ("law", "weights"),
    [
        (laws.utility, RUN.weights),
        (laws.power, RUN.weights),
        (laws.released_utility, RUN.weights),
        (laws.effective_data, RUN.weights),
        (laws.utility, np.array([0.6, 0.4, 0, 0])),
        (laws.power, np.array([0.6, 0.4, 0, 0])),
        (laws.released_utility, np.array([0.6, 0.4, 0, 0])),
        (laws.effective_data, np.array([0.6, 0.4, 0, 0])),
    ],
)
def test_zero_samples_diverge(law: laws.Law, weights: np.ndarray):
    params = blind(PARAMS) if law is laws.power else PARAMS
    assert evaluate(law, params, changed(RUN, weights=weights, samples_seen=0.0)) == np.inf


@pytest.mark.parametrize("law", [laws.utility, laws.power], ids=lambda law: law.name)
def test_many_samples_approach_the_floor(law: laws.Law):
    """Repeats with a long half-life help a little for ever: the error falls towards d, never through it."""
    params = changed(PARAMS, half_life=np.full(4, 1e6), utility=np.full(4, -0.9))
    params = blind(params) if law is laws.power else params
    seen = np.geomspace(1e4, 1e13, 40)
    errors = np.array([evaluate(law, params, changed(RUN, samples_seen=n)) for n in seen])
    assert np.all(np.diff(errors) < 0)
    assert np.all(errors > 0.1)
    assert errors[-1] - 0.1 < 1e-4


def test_worthless_repeats_freeze_the_error():
    """With a half-life far below one epoch the value stays where the first epochs left it, above d."""
    params = changed(PARAMS, half_life=np.full(4, 1e-3), dilution=0.0)
    ends = SIZES / RUN.weights
    # Only the first epoch of each pool counts: G = log(n / n0) - log K = log(N / (w n0)).
    expected = 0.1 + np.exp(np.sum(RUN.weights * PARAMS.utility * np.log(ends / 4e6)))
    for seen in (1e9, 1e13):
        assert evaluate(laws.utility, params, changed(RUN, samples_seen=seen)) == pytest.approx(expected, rel=1e-13)


def test_merged_equal_pools_in_effective_data():
    """b_e = sum_i b_i delta_ie / sum_i delta_ie and n_eff grows by the mean delta."""
    pools, size, epochs = 3, 2e6, 9
    utility, half_life = np.array([-0.2, -0.14, -0.09]), np.array([4.0, 1.5, 9.0])
    delta = 2 ** (-np.arange(epochs)[:, None] / (pools * half_life))
    slopes = (delta @ utility) / delta.sum(1)
    effective = np.cumsum(delta.mean(1) * pools * size)
    steps = np.concatenate([[effective[0] / 4e6], effective[1:] / effective[:-1]])
    params = UtilityParams(
        scale=4e6, floor=0.05, utility=utility, half_life=half_life, reference_size=np.full(pools, size)
    )
    run = Run(weights=np.full(pools, 1 / pools), sizes=np.full(pools, size), samples_seen=pools * size * epochs)
    expected = 0.05 + np.prod(steps**slopes)
    assert evaluate(laws.effective_data, params, run) == pytest.approx(expected, rel=1e-13)


@jax.jit
def exponent(samples_seen: float, size: float, scale: float, half_life: float) -> jax.Array:
    epochs = repetition.count_epochs(samples_seen, 1.0, size)
    rate = repetition.decay_rate(half_life, 1.0, 1.0, size, size)
    return jax.numpy.log(samples_seen / scale) - repetition.lost_exponent(epochs, rate)


def test_the_first_epoch_is_never_decayed():
    """n = 64M, n0 = 4M, N = 1M, tau = 5: 0.2473, where an integral from n0 has 0.5331."""
    assert round(float(exponent(64e6, 1e6, 4e6, 5.0)), 4) == 0.2473
    steps = np.arange(4, 64)
    assert round(float(np.sum(2 ** (-steps / 5.0) * np.log((steps + 1) / steps))), 4) == 0.5331


def test_both_forms_of_the_exponent(rng: np.random.Generator):
    """sum_j (D(j-1) - D(j)) relu(log(K / j)) is log K - H by Abel summation."""
    for _ in range(20):
        size, scale, half_life = 10 ** rng.uniform([3, 4, -0.5], [6, 7, 2.5])
        seen = size * 10 ** rng.uniform(-0.5, 3)
        numbers = np.arange(1, int(seen / size) + 1)
        delta = 2 ** (-1 / half_life)
        lost = np.sum((delta ** (numbers - 1) - delta**numbers) * np.log(seen / (numbers * size)))
        expected = np.log(seen / scale) - lost
        assert float(exponent(seen, size, scale, half_life)) == pytest.approx(expected, abs=1e-12)


class TestKernels:
    """The scan over epochs and the closed form are the same law."""

    LONG = 16384

    @pytest.mark.parametrize(
        "law",
        [laws.utility, pytest.param(laws.released_utility, marks=pytest.mark.slow)],
        ids=lambda law: law.name,
    )
    def test_same_value(self, rng: np.random.Generator, law: laws.Law):
        count = 64
        weights, sizes = rng.dirichlet(np.ones(4), count), 10 ** rng.uniform(5, 8, (count, 4))
        most = 10 ** np.linspace(-1, 4, count)
        run = Run(weights=weights, sizes=sizes, samples_seen=most / np.max(weights / sizes, axis=1))
        # Floor 0 and a wide range of errors: what is compared is log(y - d).
        params = UtilityParams(
            scale=np.full(count, 4e6),
            floor=np.zeros(count),
            utility=np.broadcast_to([-0.3, -0.2, -0.1, -0.05], (count, 4)),
            half_life=10 ** rng.uniform(-1, 6, (count, 4)),
            reference_size=sizes * 10 ** rng.uniform(-1, 1, (count, 4)),
            dilution=rng.uniform(0, 2, count),
            amplitude=np.ones(count),
        )
        scanned, closed = (np.log(_batched(law, params, run, length)) for length in (self.LONG, None))
        assert np.max(np.abs(scanned - closed)) < 1e-12

    def test_any_sufficient_length_is_the_same(self):
        shaped = changed(PARAMS, decay_shape=1.6)
        for law in REPEATING:
            short, long = (reference.evaluate(law, shaped, RUN, length) for length in (17, SCANS))
            assert short == pytest.approx(long, rel=1e-15)


@partial(jax.jit, static_argnums=(0, 3))
def _batched(law: laws.Law, params: UtilityParams, run: Run, max_epochs: int | None) -> jax.Array:
    return jax.vmap(lambda params, run: law(params, run, max_epochs))(params, run)


class TestStaticLength:
    @pytest.mark.parametrize("law", REPEATING, ids=lambda law: law.name)
    def test_beyond_it_the_answer_is_nan_never_a_truncated_sum(self, law: laws.Law):
        most = float(np.max(RUN.weights / SIZES))
        inside, outside = (changed(RUN, samples_seen=epochs / most) for epochs in (16.99, 17.01))
        for params in (PARAMS, changed(PARAMS, decay_shape=1.2)):
            assert np.isfinite(reference.evaluate(law, params, inside, 16))
            assert np.isnan(reference.evaluate(law, params, outside, 16))
        assert np.isfinite(reference.evaluate(law, params, outside, 17))

    @pytest.mark.parametrize("law", REPEATING, ids=lambda law: law.name)
    def test_traced_without_it_the_error_names_it(self, law: laws.Law):
        params = changed(PARAMS, decay_shape=1.0)

        def of_seen(seen: Any) -> jax.Array:
            return law(params, changed(RUN, samples_seen=seen))

        def of_weights(weights: Any) -> jax.Array:
            return law(params, changed(RUN, weights=weights))

        for traced, argument in (
            (jax.jit(of_seen), 40e6),
            (jax.grad(of_seen), 40e6),
            (jax.vmap(of_weights), np.eye(4)),
        ):
            with pytest.raises(MaxEpochsError, match="max_epochs"):
                jax.eval_shape(traced, argument)

    def test_effective_data_always_scans(self):
        with pytest.raises(MaxEpochsError, match="max_epochs"):
            jax.eval_shape(laws.effective_data, PARAMS, RUN)

    @pytest.mark.parametrize("law", REPEATING, ids=lambda law: law.name)
    def test_a_concrete_run_needs_none_and_its_parameters_may_be_traced(self, law: laws.Law):
        shaped = changed(PARAMS, decay_shape=1.2)

        def of_shape(shape: Any) -> jax.Array:
            return law(changed(PARAMS, decay_shape=shape), RUN)

        value, slope = jax.jit(jax.value_and_grad(of_shape))(1.2)
        assert float(value) == pytest.approx(evaluate(law, shaped, RUN), rel=1e-14)
        assert np.isfinite(slope)
        assert slope != 0

    def test_buckets_cover_and_are_few(self):
        asked = np.concatenate([np.linspace(0, 70, 500), np.geomspace(1, 1e6, 500)])
        lengths = np.array([repetition.bucket(float(epochs)) for epochs in asked])
        assert np.all(lengths >= asked)
        assert np.all((lengths <= 2 * asked) | (lengths == repetition.SMALLEST_BUCKET))
        assert len(set(lengths.tolist())) <= 18

    def test_the_bucket_of_a_run_covers_what_is_counted(self, rng: np.random.Generator):
        weights = rng.dirichlet(np.ones(3), 200)
        sizes = 10 ** rng.uniform(3, 6, (200, 3))
        seen = 10 ** rng.uniform(3, 8, 200)
        counted = np.asarray(jax.jit(repetition.count_epochs)(seen[:, None], weights, sizes).whole)
        for row in range(200):
            assert repetition.bucket_for(seen[row], weights[row], sizes[row]) >= np.max(counted[row])
        assert repetition.bucket_for(seen, weights, sizes) >= np.max(seen[:, None] * weights / sizes)
        assert repetition.bucket_for(1e9, np.ones(2), np.full(2, np.inf)) == repetition.SMALLEST_BUCKET
