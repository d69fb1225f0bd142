"""The closed form of the multi-epoch sum against its definition in 40 digits."""

from __future__ import annotations

import doctest
import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax import export

from qqtjax.laws import closed_form
from qqtjax.laws.closed_form import decayed_epochs, value_and_slopes
from qqtjax.laws.closed_form_coefficients import FLOAT32, FLOAT64

DIGITS = 40
LANES = 1024
DERIVE = Path(__file__).resolve().parents[1] / "benchmarks" / "closed_form" / "derive.py"
TOLERANCE_H, TOLERANCE_Q1, TOLERANCE_FLOAT32 = 1e-13, 1e-13, 3e-6

EDGE = FLOAT64.rate_switch
FIRST = len(FLOAT64.log_steps) + 2  # the first k of the expansion
RATES = [
    1e-30,
    1e-14,
    1e-9,
    1e-6,
    1e-4,
    3e-3,
    0.03,
    0.2,
    0.7,
    1.5,
    2.0,
    np.nextafter(EDGE, 0),
    EDGE,
    5.0,
    30.0,
]
EPOCHS = [*range(1, 21), 40, 317, 2000]


@functools.cache
def log_step(m: int) -> mp.mpf:
    with mp.workdps(DIGITS):
        return mp.log1p(mp.mpf(1) / m)


def direct(k: int, r: float, lam: float) -> tuple[mp.mpf, mp.mpf, mp.mpf]:
    """H, -dH/dlam and d2H/dlam2 from the definition, term by term."""
    with mp.workdps(DIGITS):
        delta, power = mp.exp(-mp.mpf(float(lam))), mp.mpf(1)
        sums = [mp.mpf(0)] * 3
        for m in range(1, k + 1):
            power *= delta
            term = power * (log_step(m) if m < k else mp.mpf(float(r)))
            sums = [sums[0] + term, sums[1] + m * term, sums[2] + m * m * term]
        return tuple(sums)


def integral(k: int, r: float, lam: float) -> tuple[mp.mpf, mp.mpf]:
    """H and -dH/dlam for any k by quadrature, from log(1 + 1/m) = int_0^inf e^(-ms) (1 - e^-s) / s ds.

    The geometric sum over m is done under the integral; s = e^y spreads the scales from 1/k to 1.
    """
    with mp.workdps(30):
        rate, count = mp.mpf(float(lam)), mp.mpf(k)

        def integrand(y: mp.mpf, slope: bool) -> mp.mpf:
            s = mp.exp(y)
            q = rate + s
            first, last, rest = mp.exp(-q), mp.exp(-count * q), -mp.expm1(-q)
            if slope:
                return -mp.expm1(-s) * ((first - count * last) / rest + (first - last) * first / rest**2)
            return -mp.expm1(-s) * (first - last) / rest

        low = -mp.log(count)
        breaks = [low - 80, low - 30, low - 10, low - 2, *mp.arange(low + 1, 5, 3), mp.mpf("5.3")]
        value, slope = (mp.quad(lambda y, s=s: integrand(y, s), breaks) for s in (False, True))
        last = mp.exp(-rate * count) * mp.mpf(float(r))
        return value + last, slope + count * last


def grid(epochs: list[int], rates: list[float], dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair, each with its own log(K / k) inside [0, log((k + 1) / k)]."""
    k, lam = (x.ravel() for x in np.meshgrid(np.array(epochs, dtype), np.array(rates, dtype)))
    fraction = np.random.default_rng(7).uniform(size=k.shape)
    return k, (fraction * np.log1p(1 / k)).astype(dtype), lam


def gap(measured: jax.Array, exact: list[mp.mpf]) -> np.ndarray:
    return np.array([float(abs(mp.mpf(float(a)) - b)) for a, b in zip(np.asarray(measured), exact, strict=True)])


def padded(function):
    """The function on arrays brought to one length, so that it compiles once per dtype, not once per test."""

    def call(k, r, lam):
        k, r, lam = np.broadcast_arrays(k, r, lam)
        dtype = np.result_type(k, r, lam)
        fill = [np.full(LANES, value, dtype) for value in (1, 0, 1)]
        for whole, part in zip(fill, (k, r, lam), strict=True):
            whole[: part.size] = part.ravel()
        return tuple(np.asarray(x)[: k.size].reshape(k.shape) for x in function(*fill))

    return call


evaluate = padded(value_and_slopes)


@padded
@jax.jit
def derivatives(k: jax.Array, r: jax.Array, lam: jax.Array) -> tuple:
    """dH/dr, dH/dlam and the derivatives of both in r and lam, pointwise."""

    def slopes(r, lam):
        _, pull = jax.vjp(lambda r, lam: decayed_epochs(k, r, lam), r, lam)
        return pull(jnp.ones_like(lam))

    (slope_r, slope_lam), (rr, lam_r) = jax.jvp(lambda r: slopes(r, lam), (r,), (jnp.ones_like(r),))
    _, (r_lam, lam_lam) = jax.jvp(lambda lam: slopes(r, lam), (lam,), (jnp.ones_like(lam),))
    return slope_r, slope_lam, rr, lam_r, r_lam, lam_lam


def load_derive():
    spec = importlib.util.spec_from_file_location("closed_form_derive", DERIVE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


# --- values -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_equals_the_sum():
    k, r, lam = grid(EPOCHS, RATES, np.float64)
    exact = [direct(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    value, power, q1 = evaluate(k, r, lam)
    assert gap(value, [e[0] for e in exact]).max() < TOLERANCE_H
    assert gap(q1, [mp.mpf(float(c)) * e[1] for c, e in zip(lam, exact, strict=True)]).max() < TOLERANCE_Q1
    np.testing.assert_allclose(power, np.exp(-lam * k), rtol=1e-14)


def test_quadrature_equals_the_sum():
    for by_integral, by_sum in zip(integral(700, 1e-4, 3e-3), direct(700, 1e-4, 3e-3)[:2], strict=True):
        assert abs(by_integral / by_sum - 1) < mp.mpf("1e-25")


@pytest.mark.usefixtures("x64")
def test_equals_the_quadrature_for_many_epochs():
    k, lam = np.array([1e5, 1e9, 1e9, 1e9]), np.array([3e-5, 1e-12, 1.7e-9, 0.4])
    r = 0.5 / k
    exact = [integral(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    value, _, q1 = evaluate(k, r, lam)
    assert gap(value, [e[0] for e in exact]).max() < TOLERANCE_H
    assert gap(q1, [mp.mpf(float(c)) * e[1] for c, e in zip(lam, exact, strict=True)]).max() < TOLERANCE_Q1


def test_float32_error():
    k, r, lam = grid([*range(1, 21), 40, 317], [1e-30, 1e-6, 1e-3, 0.05, 0.3, 1.0, 1.69, 1.71, 4.0], np.float32)
    value, _, q1 = evaluate(k, r, lam)
    assert value.dtype == jnp.float32
    exact = [direct(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    assert gap(value, [e[0] for e in exact]).max() < TOLERANCE_FLOAT32
    assert gap(q1, [mp.mpf(float(c)) * e[1] for c, e in zip(lam, exact, strict=True)]).max() < TOLERANCE_FLOAT32


def test_float32_equals_float64_for_many_epochs():
    k, r, lam = grid([10**e for e in range(2, 10)], [10.0**e for e in range(-12, 2)], np.float32)
    narrow = evaluate(k, r, lam)
    with jax.enable_x64(True):
        wide = evaluate(*(np.float64(x) for x in (k, r, lam)))
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE_FLOAT32)


# --- limits and joints ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_no_decay_leaves_the_logarithm():
    k, r, lam = grid([1, 2, 15, 16, 17, 1000, 10**9], [0.0, 1e-30, 1e-25], np.float64)
    np.testing.assert_allclose(evaluate(k, r, lam)[0], np.log(k) + r, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_fast_decay_leaves_the_first_repeats():
    k, lam = np.meshgrid([2.0, 3.0, 1e9], [15.0, 40.0, 300.0])
    repeats = np.exp(-lam) * np.log(2) + np.where(k > 2, np.exp(-2 * lam) * np.log(1.5), 0)
    np.testing.assert_allclose(evaluate(k, 0.0, lam)[0], repeats, rtol=1e-12)
    assert decayed_epochs(1.0, 0.4, 1e4) == 0


@pytest.mark.usefixtures("x64")
def test_a_finished_epoch_reads_the_same_from_both_sides():
    k, lam = np.meshgrid(np.r_[np.arange(1.0, 40.0), 1e3, 1e6], RATES)
    before = evaluate(k, np.log1p(1 / k), lam)
    after = evaluate(k + 1, 0.0, lam)
    np.testing.assert_allclose(before[0], after[0], rtol=0, atol=3e-14)
    np.testing.assert_allclose(before[2], after[2], rtol=0, atol=3e-14)


@pytest.mark.usefixtures("x64")
def test_branches_join():
    k = np.array([FIRST - 1, FIRST, FIRST + 1, 50, 1e4, 1e9])
    for at in (np.full(k.shape, EDGE), FLOAT64.exponent_switch / k):
        below, above = (evaluate(k, 0.0, at * (1 + side)) for side in (-1e-15, 1e-15))
        for a, b in zip(below, above, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=3e-14)


def test_float32_branches_join():
    k = np.array([len(FLOAT32.log_steps) + 1, len(FLOAT32.log_steps) + 2, 50, 1e4], np.float32)
    for at in (np.full(k.shape, FLOAT32.rate_switch, np.float32), np.float32(FLOAT32.exponent_switch) / k):
        below, above = (evaluate(k, 0.0, np.nextafter(at, np.float32(side))) for side in (0, 9))
        for a, b in zip(below, above, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE_FLOAT32)


@pytest.mark.usefixtures("x64")
def test_bounded_and_falling_in_the_rate(rng):
    k = np.floor(np.exp(rng.uniform(0, 15, size=LANES)))
    r = rng.uniform(size=k.shape) * np.log1p(1 / k)
    lam = np.exp(rng.uniform(np.log(1e-8), np.log(50.0), size=k.shape))
    value = evaluate(k, r, lam)[0]
    assert np.all(value >= 0)
    assert np.all(value <= np.log(k) + r + 1e-14)
    assert np.all(evaluate(k, r, 1.01 * lam)[0] <= value + 1e-14)


# --- derivatives ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_derivatives_equal_those_of_the_sum():
    k, r, lam = grid([1, 2, 3, FIRST - 1, FIRST, 40, 317], [0.0, 1e-30, 1e-14, 1e-6, *RATES[5:-1]], np.float64)
    slope_r, slope_lam, rr, lam_r, r_lam, curvature = derivatives(k, r, lam)
    exact = [direct(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    np.testing.assert_allclose(slope_r, np.exp(-lam * k), rtol=1e-14)
    np.testing.assert_allclose(slope_lam, [-float(e[1]) for e in exact], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(curvature, [float(e[2]) for e in exact], rtol=1e-10, atol=1e-11)
    np.testing.assert_array_equal(rr, 0)
    np.testing.assert_allclose(lam_r, -k * np.exp(-lam * k), rtol=1e-13)
    np.testing.assert_allclose(r_lam, -k * np.exp(-lam * k), rtol=1e-13)


@pytest.mark.usefixtures("x64")
def test_epochs_carry_no_gradient():
    k, r, lam = 20.0, 0.01, 0.3
    first, second = jax.jit(jax.value_and_grad(jax.grad(decayed_epochs)))(k, r, lam)
    assert (first, second) == (0, 0)
    assert jax.jit(jax.grad(jax.grad(decayed_epochs, argnums=2), argnums=0))(k, r, lam) == 0


def test_less_than_one_epoch():
    log_ratio = np.array([0.0, 0.5, np.inf, np.nan], np.float32)
    k, lam = np.zeros(4, np.float32), np.full(4, 0.3, np.float32)
    for result, expected in zip(evaluate(k, log_ratio, lam), (0, 1, 0), strict=True):
        np.testing.assert_array_equal(result, expected)
    for derivative in derivatives(k, log_ratio, lam):
        np.testing.assert_array_equal(derivative, 0)


@pytest.mark.parametrize("wide", [False, True])
def test_finite_everywhere(wide):
    with jax.enable_x64(wide):
        dtype = np.float64 if wide else np.float32
        table = FLOAT64 if wide else FLOAT32
        first = len(table.log_steps) + 2
        epochs = np.array([0, 1, 2, first - 1, first, 100, 1e6, 1e9, 1e12], dtype)
        rates = np.array([0, *10.0 ** np.arange(-30, 5), table.rate_switch], dtype)
        k, lam = (x.ravel() for x in np.meshgrid(epochs, rates))
        k, lam = np.append(k, epochs[1:]), np.append(lam, dtype(table.exponent_switch) / epochs[1:])
        r = np.where(k > 0, 0.5 * np.log1p(1 / np.maximum(k, 1)), 0).astype(dtype)
        for result in (*evaluate(k, r, lam), *derivatives(k, r, lam)):
            assert np.all(np.isfinite(result))
        huge = np.full(rates.shape, 1e150 if wide else 1e30, dtype)  # powers of it overflow
        for result in (*evaluate(huge, 0 * rates, rates), *derivatives(huge, 0 * rates, rates)[:2]):
            assert np.all(np.isfinite(result))


# --- shapes, dtypes, transformations ----------------------------------------------------------------------


def test_broadcasts():
    k, r, lam = np.full((3, 1, 1), 4.0), np.full((5, 1), 0.1), np.linspace(0.1, 1, 2)
    results = (decayed_epochs(k, r, lam), *value_and_slopes(k, r, lam))
    assert {result.shape for result in results} == {(3, 5, 2)}
    single = evaluate(*(x.astype(np.float32) for x in np.broadcast_arrays(k, r, lam)))
    np.testing.assert_allclose(results[0], single[0], rtol=1e-6)
    gradient = jax.grad(lambda r, lam: decayed_epochs(k, r, lam).sum(), argnums=(0, 1))(r, lam)
    assert [g.shape for g in gradient] == [(5, 1), (2,)]


def test_dtype_follows_the_inputs():
    assert decayed_epochs(3, 0, 1).dtype == jnp.float32
    assert decayed_epochs(jnp.bfloat16(3), jnp.bfloat16(0), jnp.bfloat16(1)).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        narrow = [np.float32(x) for x in (30, 0.01, 0.1)]
        assert decayed_epochs(*narrow).dtype == jnp.float32
        assert {x.dtype for x in value_and_slopes(*narrow)} == {jnp.dtype("float32")}
        assert jax.grad(decayed_epochs, argnums=2)(*narrow).dtype == jnp.float32
        assert decayed_epochs(narrow[0], narrow[1], np.float64(0.1)).dtype == jnp.float64


def test_transformations_agree():
    k, r, lam = grid([1, 5, FIRST, 1000], [1e-3, 0.3, 3.0], np.float32)
    value, _, q1 = value_and_slopes(k, r, lam)
    near = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(jax.jit(decayed_epochs)(k, r, lam), value, **near)
    np.testing.assert_allclose(jax.vmap(decayed_epochs)(k, r, lam), value, **near)
    forward = jax.jvp(lambda lam: decayed_epochs(k, r, lam), (lam,), (np.ones_like(lam),))[1]
    backward = jax.jit(jax.grad(lambda lam: decayed_epochs(k, r, lam).sum()))(lam)
    np.testing.assert_allclose(-lam * forward, q1, **near)
    np.testing.assert_allclose(-lam * backward, q1, **near)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("wide", [False, True])
def test_lowers_for_accelerators(platform, wide):
    with jax.enable_x64(wide):
        shape = jax.ShapeDtypeStruct((8,), jnp.float64 if wide else jnp.float32)

        def everything(k, r, lam):
            total = jax.value_and_grad(lambda r, lam: decayed_epochs(k, r, lam).sum(), argnums=(0, 1))(r, lam)
            return total, value_and_slopes(k, r, lam)

        exported = export.export(jax.jit(everything), platforms=[platform])(shape, shape, shape)
        assert exported.platforms == (platform,)


def test_examples():
    failed, attempted = doctest.testmod(closed_form)
    assert attempted > 0
    assert failed == 0


def test_tail_coefficients_are_the_derived_fractions():
    derive = load_derive()
    for name, table in (("FLOAT64", FLOAT64), ("FLOAT32", FLOAT32)):
        rows = derive.tail_rows(derive.CHOICES[name].tail_degree)
        assert table.tail == tuple(tuple(float(c) for c in row) for row in rows)


# --- deep checks ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_committed_coefficients_are_the_derived_ones():
    derive = load_derive()
    with mp.workdps(derive.DIGITS):
        tables = {name: derive.derive(choice) for name, choice in derive.CHOICES.items()}
        assert derive.check(tables) == []


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_equals_the_sum_to_a_hundred_thousand_epochs():
    k, r, lam = grid([10**4, 10**5], [1e-14, 1e-7, 1e-5, 1e-3, 0.1], np.float64)
    exact = [direct(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    value, _, q1 = evaluate(k, r, lam)
    assert gap(value, [e[0] for e in exact]).max() < TOLERANCE_H
    assert gap(q1, [mp.mpf(float(c)) * e[1] for c, e in zip(lam, exact, strict=True)]).max() < TOLERANCE_Q1


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_equals_the_quadrature_over_a_wide_sweep():
    epochs = [FIRST, FIRST + 1, 30, 1000, 10**6, 10**9]
    rates = [10.0**e for e in range(-14, 1)] + [0.3, 2.0, 2.399]
    k, r, lam = grid(epochs, rates, np.float64)
    exact = [integral(int(a), b, c) for a, b, c in zip(k, r, lam, strict=True)]
    value, _, q1 = evaluate(k, r, lam)
    assert gap(value, [e[0] for e in exact]).max() < TOLERANCE_H
    assert gap(q1, [mp.mpf(float(c)) * e[1] for c, e in zip(lam, exact, strict=True)]).max() < TOLERANCE_Q1
