"""The laws in 50 digits, written from their formulas; no formula is shared with the library.

All inputs are floats, taken exactly. The utility law and its derivatives are

    log(y - d) = log A0 + sum_i w_i b_i G_i,    K_i = n w_i / N_i,    share_i = w_i Nref_i / N_i,
    D_i(m)     = 2^(-(m / tau_hat_i)^s),        tau_hat_i = tau_i / share_i^gamma,
    G_i        = log(n / n0) - sum_{j >= 1} (D_i(j-1) - D_i(j)) relu(log(K_i / j))
               = log(n / n0) - log K_i + H_i    where K_i >= 1, else log(n / n0),
    H_i        = sum_{m=1}^{k_i} D_i(m) log(min(m + 1, K_i) / m),    k_i = floor(K_i).

Let T_i = dH_i / dlog tau_hat_i at constant K_i; s = 1: D(m) = exp(-lam m), T = lam sum m D(m) log(...).
The positions of the epoch boundaries move with n, w and N, and every term but the last is constant in K:

    dG/dlog K  = -(1 - D(k)),   so     dG/dlog n = D(k),    dG/dlog w = -dG/dlog N = -(1 - D(k)) - gamma T,
    dG/dlog tau = T,    dG/dlog Nref = -gamma T,    dG/dgamma = -T log share,    dG/dlog n0 = -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from mpmath import MPContext

from qqtjax.laws import Law, UtilityParams
from qqtjax.runs import Run

BITS = 240  # of the fixed-point sums: 72 digits behind the point, less 5 for 1e5 roundings
ONE = 1 << BITS

mp = MPContext()  # of our own: nobody else changes its precision
mp.dps = 60  # ten digits more than are claimed
mpf = mp.mpf


class Inputs(NamedTuple):
    """Parameters and run of one prediction: a parameter is a float where shared, a list where per pool."""

    weights: Sequence[float]
    sizes: Sequence[float]
    samples_seen: float
    scale: float
    floor: float | Sequence[float]
    utility: float | Sequence[float]
    half_life: float | Sequence[float]
    reference_size: float | Sequence[float]
    dilution: float | Sequence[float] = 1.0
    decay_shape: float | None = None
    amplitude: float | Sequence[float] = 1.0


def arguments(inputs: Inputs) -> tuple[UtilityParams, Run]:
    """The same floats as the library takes them."""
    values = {
        name: None if value is None else np.asarray(value, np.float64) for name, value in inputs._asdict().items()
    }
    run = Run(**{name: values.pop(name) for name in ("weights", "sizes", "samples_seen")})
    return UtilityParams(**values), run


@partial(jax.jit, static_argnums=(0, 3))
def _evaluate(law: Law, params: Any, run: Run, max_epochs: int | None) -> jax.Array:
    return law(params, run, max_epochs)


def evaluate(law: Law, params: Any, run: Run, max_epochs: int | None = None) -> float:
    """The library's prediction in float64, compiled once for all tests that ask for the same shapes."""
    params, run = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, run))
    return float(_evaluate(law, params, run, max_epochs))


class Pool(NamedTuple):
    """One pool's sums, in 50 digits."""

    exponent: mpf  # G
    last: mpf  # D(k)
    by_half_life: mpf  # T = dG / dlog tau
    by_shape: mpf  # dG / ds
    log_share: mpf


_log_steps = [0]


def log_steps(count: int) -> list[int]:
    """log(1 + 1/m) = 2 artanh(1 / (2m + 1)) at index m = 1 .. count, as fixed-point integers."""
    for m in range(len(_log_steps), count + 1):
        odd, total, degree = 2 * m + 1, 0, 1
        term = ONE // odd
        while term:
            total += term // degree
            term //= odd * odd
            degree += 2
        _log_steps.append(2 * total)
    return _log_steps


def geometric_sums(whole: int, log_ratio: mpf, rate: mpf) -> tuple[mpf, mpf, mpf]:
    """H, sum_m m D(m) log(...) and D(k) for D(m) = exp(-rate m): 1e5 terms in some 50 ms, by integers."""
    delta = int(mp.floor(mp.exp(-rate) * ONE))
    steps = log_steps(whole)
    power, total, weighted = delta, 0, 0
    for m in range(1, whole):
        if not power:
            break
        term = power * steps[m]
        total += term
        weighted += m * term
        power = (power * delta) >> BITS
    last = mp.exp(-rate * whole)
    return (
        mpf(total) / ONE**2 + last * log_ratio,
        mpf(weighted) / ONE**2 + whole * last * log_ratio,
        last,
    )


def shaped_sums(whole: int, log_ratio: mpf, half_life: mpf, shape: mpf) -> tuple[mpf, mpf, mpf, mpf]:
    """H, dH/dlog tau_hat, dH/ds and D(k) for D(m) = 2^(-(m / tau_hat)^s), term by term."""
    total = by_half_life = by_shape = last = mpf(0)
    for m in range(1, whole + 1):
        step = log_ratio if m == whole else mp.log(mpf(m + 1) / m)
        log_relative = mp.log(m / half_life)
        halvings = mp.exp(shape * log_relative)
        last = mp.exp(-mp.log(2) * halvings)
        total += last * step
        slope = mp.log(2) * halvings * last * step
        by_half_life += shape * slope
        by_shape -= log_relative * slope
    return total, by_half_life, by_shape, last


def per_pool(value: float | Sequence[float], pools: int) -> list[mpf]:
    """A parameter of each pool."""
    return [mpf(float(each)) for each in np.broadcast_to(np.asarray(value, float), (pools,))]


def epochs_of(inputs: Inputs, at_boundary: Sequence[bool] | None = None) -> list[tuple[int, mpf]]:
    """(k, K) of every pool; where `at_boundary`, K is the nearest whole number, as it was meant to be."""
    counted = []
    for i, (weight, size) in enumerate(zip(inputs.weights, inputs.sizes, strict=True)):
        infinite = np.isinf(size) or weight == 0
        epochs = mpf(0) if infinite else mpf(float(inputs.samples_seen)) * mpf(float(weight)) / mpf(float(size))
        if at_boundary is not None and at_boundary[i]:
            epochs = mp.nint(epochs)
        counted.append((int(mp.floor(epochs)), epochs))
    return counted


def pools_of(inputs: Inputs, at_boundary: Sequence[bool] | None = None) -> list[Pool]:
    """The sums of every pool."""
    count = len(inputs.weights)
    fresh = mp.log(mpf(float(inputs.samples_seen)) / mpf(float(inputs.scale)))
    columns = [per_pool(each, count) for each in (inputs.half_life, inputs.reference_size, inputs.dilution)]
    pools = []
    for i, (whole, epochs) in enumerate(epochs_of(inputs, at_boundary)):
        half_life, reference, dilution = (column[i] for column in columns)
        weight, size = mpf(float(inputs.weights[i])), mpf(float(inputs.sizes[i]))
        share = weight if mp.isinf(size) else weight * reference / size
        log_share = mp.log(share) if share > 0 else mp.ninf
        if whole == 0:
            pools.append(Pool(fresh, mpf(1), mpf(0), mpf(0), log_share))
            continue
        diluted = half_life * mp.exp(-dilution * log_share)
        log_ratio = mp.log(epochs / whole)
        if inputs.decay_shape is None:
            rate = mp.log(2) / diluted
            kept, weighted, last = geometric_sums(whole, log_ratio, rate)
            by_half_life, by_shape = rate * weighted, mpf(0)
        else:
            shape = mpf(float(inputs.decay_shape))
            kept, by_half_life, by_shape, last = shaped_sums(whole, log_ratio, diluted, shape)
        pools.append(Pool(fresh - mp.log(epochs) + kept, last, by_half_life, by_shape, log_share))
    return pools


def mixed(value: float | Sequence[float], weights: Sequence[float], of: Any = lambda x: x) -> mpf:
    """The floor, or (with `of` the logarithm) the amplitude, of a mixture."""
    if np.ndim(value) == 0:
        return of(mpf(float(value)))
    return mp.fsum(mpf(float(w)) * of(mpf(float(each))) for w, each in zip(weights, value, strict=True))


def utility(inputs: Inputs, at_boundary: Sequence[bool] | None = None) -> mpf:
    """The utility law."""
    return mixed(inputs.floor, inputs.weights) + excess(inputs, pools_of(inputs, at_boundary))


def excess(inputs: Inputs, pools: list[Pool]) -> mpf:
    """y - d of the utility law."""
    slopes = per_pool(inputs.utility, len(pools))
    log_excess = mixed(inputs.amplitude, inputs.weights, mp.log)
    for weight, slope, pool in zip(inputs.weights, slopes, pools, strict=True):
        log_excess += mpf(float(weight)) * slope * pool.exponent
    return mp.exp(log_excess)


def utility_gradient(inputs: Inputs, at_boundary: Sequence[bool] | None = None) -> tuple[mpf, dict[str, Any]]:
    """y - d, and the derivatives of y with respect to every field: lists where the field is a list."""
    count = len(inputs.weights)
    pools = pools_of(inputs, at_boundary)
    above = excess(inputs, pools)
    weights, sizes = per_pool(inputs.weights, count), per_pool(inputs.sizes, count)
    slopes, half_lives = per_pool(inputs.utility, count), per_pool(inputs.half_life, count)
    references, dilutions = per_pool(inputs.reference_size, count), per_pool(inputs.dilution, count)
    amplitudes = per_pool(inputs.amplitude, count)
    by_log_share = [-(1 - pool.last) - gamma * pool.by_half_life for pool, gamma in zip(pools, dilutions, strict=True)]

    def over(numerator: mpf, denominator: mpf) -> mpf:
        return numerator / denominator if numerator else mpf(0)

    found: dict[str, Any] = {
        name: [mpf(0)] * count
        for name in ("weights", "sizes", "utility", "half_life", "reference_size", "dilution", "amplitude")
    }
    shape = mpf(0)
    for i, pool in enumerate(pools):
        force = weights[i] * slopes[i]
        found["weights"][i] = above * slopes[i] * (pool.exponent + by_log_share[i])
        found["sizes"][i] = -over(above * force * by_log_share[i], sizes[i])
        found["utility"][i] = above * weights[i] * pool.exponent
        found["half_life"][i] = above * force * pool.by_half_life / half_lives[i]
        found["reference_size"][i] = -over(above * force * dilutions[i] * pool.by_half_life, references[i])
        if pool.by_half_life:
            found["dilution"][i] = -above * force * pool.by_half_life * pool.log_share
        shape += above * force * pool.by_shape
        if np.ndim(inputs.amplitude):
            found["weights"][i] += above * mp.log(amplitudes[i])
            found["amplitude"][i] = above * weights[i] / amplitudes[i]
        if np.ndim(inputs.floor):
            found["weights"][i] += mpf(float(inputs.floor[i]))
    for name in ("utility", "half_life", "reference_size", "dilution"):
        if np.ndim(getattr(inputs, name)) == 0:
            found[name] = mp.fsum(found[name])
    if np.ndim(inputs.amplitude) == 0:
        found["amplitude"] = above / amplitudes[0]
    forces = [w * b for w, b in zip(weights, slopes, strict=True)]
    seen = mpf(float(inputs.samples_seen))
    found["samples_seen"] = above * mp.fsum(f * pool.last for f, pool in zip(forces, pools, strict=True)) / seen
    found["scale"] = -above * mp.fsum(forces) / mpf(float(inputs.scale))
    found["floor"] = list(weights) if np.ndim(inputs.floor) else mpf(1)
    found["decay_shape"] = None if inputs.decay_shape is None else shape
    return above, found


# The same again by other routes: slow, to check the above, and for the laws without a closed derivative.


def rates_of(inputs: Inputs) -> list[Any]:
    """D_i(m) of every pool as functions of m, straight from the definition; inputs may be mpf."""
    count = len(inputs.weights)

    def column(value: Any) -> list[Any]:
        return list(value) if np.ndim(value) else [value] * count

    half_lives, references, dilutions = map(column, (inputs.half_life, inputs.reference_size, inputs.dilution))
    shape = 1 if inputs.decay_shape is None else inputs.decay_shape

    def worth(i: int) -> Any:
        weight, size = mpf(inputs.weights[i]), mpf(inputs.sizes[i])
        share = weight if mp.isinf(size) else weight * mpf(references[i]) / size
        diluted = mpf(half_lives[i]) / share ** mpf(dilutions[i]) if share else mp.inf
        return lambda m: mpf(2) ** -((m / diluted) ** mpf(shape)) if m else mpf(1)

    return [worth(i) for i in range(count)]


def exponents_by_definition(inputs: Inputs) -> list[mpf]:
    """G_i from the sum of relu(log(K / j)); inputs may be mpf, to take differences in 50 digits."""
    fresh = mp.log(mpf(inputs.samples_seen) / mpf(inputs.scale))
    found = []
    for i, worth in enumerate(rates_of(inputs)):
        size = mpf(inputs.sizes[i])
        epochs = mpf(0) if mp.isinf(size) else mpf(inputs.samples_seen) * mpf(inputs.weights[i]) / size
        lost = ((worth(j - 1) - worth(j)) * mp.log(epochs / j) for j in range(1, int(mp.floor(epochs)) + 1))
        found.append(fresh - mp.fsum(lost))
    return found


def _column(value: Any, count: int) -> list[mpf]:
    return [mpf(each) for each in value] if np.ndim(value) else [mpf(value)] * count


def _mixed(value: Any, weights: Sequence[Any], of: Any = lambda x: x) -> mpf:
    if np.ndim(value) == 0:
        return of(mpf(value))
    return mp.fsum(mpf(w) * of(mpf(each)) for w, each in zip(weights, value, strict=True))


def utility_by_definition(inputs: Inputs) -> mpf:
    """The utility law from `exponents_by_definition`."""
    slopes = _column(inputs.utility, len(inputs.weights))
    terms = (mpf(w) * b * g for w, b, g in zip(inputs.weights, slopes, exponents_by_definition(inputs), strict=True))
    log_excess = _mixed(inputs.amplitude, inputs.weights, mp.log) + mp.fsum(terms)
    return _mixed(inputs.floor, inputs.weights) + mp.exp(log_excess)


def single_pool_by_recursion(inputs: Inputs) -> mpf:
    """The paper's recursion for one pool: y - d = A0 (n_1 / n0)^b_1 prod_{j >= 2} (n_j / n_{j-1})^b_j."""
    (size,), seen = inputs.sizes, mpf(inputs.samples_seen)
    (worth,) = rates_of(inputs)
    (slope,) = _column(inputs.utility, 1)
    ends = [j * mpf(size) for j in range(1, int(mp.floor(seen / mpf(size))) + 1)]
    if not ends or ends[-1] < seen:
        ends.append(seen)
    value = mpf(inputs.amplitude) * (ends[0] / mpf(inputs.scale)) ** slope
    for j in range(1, len(ends)):
        value *= (ends[j] / ends[j - 1]) ** (slope * worth(j))
    return mpf(inputs.floor) + value


def power(inputs: Inputs) -> mpf:
    """The power law, blind to repetition."""
    fresh = mp.log(mpf(inputs.samples_seen) / mpf(inputs.scale))
    slopes = _column(inputs.utility, len(inputs.weights))
    slope = mp.fsum(mpf(w) * b for w, b in zip(inputs.weights, slopes, strict=True))
    log_excess = _mixed(inputs.amplitude, inputs.weights, mp.log) + slope * fresh
    return _mixed(inputs.floor, inputs.weights) + mp.exp(log_excess)


def released_utility(inputs: Inputs) -> mpf:
    """The released code's utility law: (d + first epoch) times the repetition product."""
    seen, scale = mpf(inputs.samples_seen), mpf(inputs.scale)
    slopes = _column(inputs.utility, len(inputs.weights))
    start, product = _mixed(inputs.amplitude, inputs.weights, mp.log), mpf(0)
    for i, exponent in enumerate(exponents_by_definition(inputs)):
        weight, size = mpf(inputs.weights[i]), mpf(inputs.sizes[i])
        first = seen if weight == 0 or mp.isinf(size) else min(seen, size / weight)
        start += weight * slopes[i] * mp.log(first / scale)
        product += weight * slopes[i] * (exponent - mp.log(first / scale))
    return (_mixed(inputs.floor, inputs.weights) + mp.exp(start)) * mp.exp(product)


def effective_data(inputs: Inputs) -> mpf:
    """The effective-data law for general weights: d log(y - d) = sum w b D ds / n_eff, dn_eff = sum w D ds.

    Both right-hand sides are constant between two epoch ends of any pools, so the integral over a stretch is
    (sum w b D / sum w D) log(n_eff at its end / n_eff at its start).
    """
    count = len(inputs.weights)
    seen, weights = mpf(inputs.samples_seen), [mpf(w) for w in inputs.weights]
    slopes, worths = _column(inputs.utility, count), rates_of(inputs)
    ends = {seen}
    for weight, size in zip(weights, inputs.sizes, strict=True):
        if weight and not mp.isinf(mpf(size)):
            length = mpf(size) / weight
            ends.update(j * length for j in range(1, int(mp.floor(seen / length)) + 1))
    start, effective, log_excess = mpf(0), mpf(0), mpf(0)
    for end in sorted(ends):
        middle = (start + end) / 2
        values = [
            w * worth(0 if mp.isinf(mpf(size)) else int(mp.floor(middle * w / mpf(size))))
            for w, worth, size in zip(weights, worths, inputs.sizes, strict=True)
        ]
        slope = mp.fsum(v * b for v, b in zip(values, slopes, strict=True))
        if not start:
            effective = end
            log_excess = slope * mp.log(end / mpf(inputs.scale))
        else:
            gained = mp.fsum(values) * (end - start)
            if gained:
                log_excess += slope / mp.fsum(values) * mp.log(1 + gained / effective)
            effective += gained
        start = end
    log_excess += _mixed(inputs.amplitude, inputs.weights, mp.log)
    return _mixed(inputs.floor, inputs.weights) + mp.exp(log_excess)


def difference(law: Any, inputs: Inputs, field: str, index: int | None = None) -> mpf:
    """The derivative of `law` by a central difference in 50 digits: exact to some 30 away from epoch ends."""
    value = getattr(inputs, field)
    middle = mpf(value if index is None else value[index])
    step = mpf(10) ** -18 * (abs(middle) or 1)

    def at(moved: mpf) -> mpf:
        if index is None:
            return law(inputs._replace(**{field: moved}))
        return law(inputs._replace(**{field: [*value[:index], moved, *value[index + 1 :]]}))

    return (at(middle + step) - at(middle - step)) / (2 * step)
