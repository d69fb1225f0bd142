"""What holds for every pool, mixture and budget."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qqtjax import laws
from qqtjax.laws import PowerParams, UtilityParams
from qqtjax.runs import Run

POOLS = 4
SCANS = 64
LAWS = {
    "utility": (laws.utility, None),
    "utility by scan": (laws.utility, SCANS),
    "released_utility": (laws.released_utility, None),
    "effective_data": (laws.effective_data, SCANS),
    "power": (laws.power, None),
}
quick = partial(settings, max_examples=25, deadline=None, derandomize=True)


def numbers(low: float, high: float) -> Any:
    """Floats drawn evenly in the logarithm."""
    return st.floats(np.log10(low), np.log10(high)).map(lambda power: float(10**power))


def each_pool(values: Any) -> Any:
    return st.lists(values, min_size=POOLS, max_size=POOLS).map(np.array)


shares = each_pool(st.one_of(st.just(0.0), st.floats(0.001, 1))).filter(lambda drawn: drawn.sum() > 0)
weights = shares.map(lambda drawn: drawn / drawn.sum())


@st.composite
def parameters(draw: Any, most_dilution: float = 2.0, floor: float | None = None) -> UtilityParams:
    return UtilityParams(
        scale=draw(numbers(1e4, 1e8)),
        floor=draw(st.floats(0, 0.5)) if floor is None else floor,
        utility=-draw(each_pool(numbers(1e-3, 1))),
        half_life=draw(each_pool(numbers(0.1, 1e6))),
        reference_size=draw(each_pool(numbers(1e5, 1e7))),
        dilution=draw(st.floats(0, most_dilution)),
    )


@partial(jax.jit, static_argnums=(0, 3))
def _errors(law: laws.Law, params: Any, runs: Run, max_epochs: int | None) -> jax.Array:
    return jax.vmap(lambda run: law(params, run, max_epochs))(runs)


def errors(case: str, params: UtilityParams, weights: Any, sizes: Any, seen: Any) -> np.ndarray:
    """Predictions for rows of weights and samples seen, always eight, so that each law is compiled once."""
    law, max_epochs = LAWS[case]
    values = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    if law is laws.power:
        names = ("scale", "floor", "utility", "amplitude")
        values = PowerParams(**{name: getattr(values, name) for name in names})
    seen = np.asarray(seen, np.float64)
    rows, used = 8, max(seen.size, np.shape(weights)[0] if np.ndim(weights) == 2 else 1)
    runs = Run(
        weights=np.resize(np.broadcast_to(weights, (used, POOLS)), (rows, POOLS)),
        sizes=np.resize(np.broadcast_to(sizes, (used, POOLS)), (rows, POOLS)),
        samples_seen=np.resize(np.broadcast_to(seen, (used,)), rows),
    )
    with jax.enable_x64(True):
        return np.asarray(_errors(law, values, runs, max_epochs))[:used]


sizes = each_pool(numbers(1e5, 1e7))


def budget(weights: np.ndarray, sizes: np.ndarray, epochs: Any) -> Any:
    """Samples seen when the most repeated pool has been through so many epochs."""
    return np.asarray(epochs) / np.max(weights / sizes)


@pytest.mark.parametrize("case", LAWS)
@quick()
@given(
    params=parameters(),
    weights=weights,
    sizes=sizes,
    epochs=st.lists(numbers(1e-3, 60), min_size=8, max_size=8),
)
def test_more_samples_never_hurt(case: str, params: Any, weights: Any, sizes: Any, epochs: list[float]):
    found = errors(case, params, weights, sizes, budget(weights, sizes, sorted(epochs)))
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) <= 4e-15 * found[:-1])
    floor = 0.0 if case == "released_utility" else params.floor
    assert np.all(found >= floor)


@pytest.mark.parametrize("case", LAWS)
@quick()
@given(
    params=parameters(),
    weights=weights,
    sizes=sizes,
    epochs=numbers(1e-2, 60),
    order=st.permutations(range(POOLS)),
)
def test_the_order_of_the_pools_does_not_matter(
    case: str, params: Any, weights: Any, sizes: Any, epochs: float, order: list[int]
):
    seen = budget(weights, sizes, epochs)
    moved = UtilityParams(
        scale=params.scale,
        floor=params.floor,
        utility=params.utility[order],
        half_life=params.half_life[order],
        reference_size=params.reference_size[order],
        dilution=params.dilution,
    )
    np.testing.assert_allclose(
        errors(case, moved, weights[order], sizes[order], seen),
        errors(case, params, weights, sizes, seen),
        rtol=1e-12,
    )


@quick(max_examples=60)
@given(
    params=parameters(most_dilution=1.0, floor=0.0),
    ends=st.tuples(weights, weights),
    sizes=sizes,
    epochs=numbers(1e-2, 1e5),
)
def test_the_best_mix_is_a_concave_programme(params: Any, ends: Any, sizes: Any, epochs: float):
    """-log(y - d) = sum_i w_i |b_i| G_i is concave in w for dilutions in [0, 1]."""
    first, last = ends
    along = np.linspace(0, 1, 8)[:, None]
    seen = budget(np.maximum(first, last), sizes, epochs)
    gain = -np.log(errors("utility", params, (1 - along) * first + along * last, sizes, seen))
    chord = (1 - along[:, 0]) * gain[0] + along[:, 0] * gain[-1]
    assert np.all(gain - chord >= -1e-12 * np.max(1 + np.abs(gain)))


@quick(max_examples=60)
@given(params=parameters(floor=0.0), ends=st.tuples(weights, weights), sizes=sizes, epochs=numbers(1e-2, 0.999))
def test_before_any_repeat_the_log_excess_is_linear_in_the_weights(params: Any, ends: Any, sizes: Any, epochs: float):
    first, last = ends
    along = np.linspace(0, 1, 8)[:, None]
    seen = budget(np.maximum(first, last), sizes, epochs)
    gain = -np.log(errors("utility", params, (1 - along) * first + along * last, sizes, seen))
    chord = (1 - along[:, 0]) * gain[0] + along[:, 0] * gain[-1]
    np.testing.assert_allclose(gain, chord, rtol=1e-12, atol=1e-12)


@quick()
@given(params=parameters(), weights=weights, sizes=sizes, epochs=numbers(1, 60), factor=numbers(1.01, 10))
def test_fresher_and_hardier_pools_never_hurt(params: Any, weights: Any, sizes: Any, epochs: float, factor: float):
    """More unique samples, or a longer half-life, at the same budget."""
    seen = budget(weights, sizes, epochs)
    base = errors("utility", params, weights, sizes, seen)
    larger = errors("utility", params, weights, sizes * factor, seen)
    longer = UtilityParams(
        scale=params.scale,
        floor=params.floor,
        utility=params.utility,
        half_life=params.half_life * factor,
        reference_size=params.reference_size,
        dilution=params.dilution,
    )
    assert larger <= base * (1 + 4e-15)
    assert errors("utility", longer, weights, sizes, seen) <= base * (1 + 4e-15)


@quick()
@given(
    params=parameters(floor=0.0),
    weights=weights,
    sizes=sizes,
    epochs=numbers(1e-2, 60),
    factor=numbers(1e-3, 1e3),
)
def test_only_ratios_of_counts_matter(params: Any, weights: Any, sizes: Any, epochs: float, factor: float):
    """Counting in thousands of samples, scale and reference sizes too, changes nothing."""
    seen = budget(weights, sizes, epochs)
    scaled = UtilityParams(
        scale=params.scale * factor,
        floor=params.floor,
        utility=params.utility,
        half_life=params.half_life,
        reference_size=params.reference_size * factor,
        dilution=params.dilution,
    )
    for case in ("utility", "effective_data"):
        np.testing.assert_allclose(
            errors(case, scaled, weights, sizes * factor, seen * factor),
            errors(case, params, weights, sizes, seen),
            rtol=1e-11,
        )
