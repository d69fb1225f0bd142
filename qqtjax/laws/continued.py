"""A model that is trained on: what earlier training earned, and what repeats of this run still earn.

A run continues from e_i = `seen_before_i` samples of each pool: n_b = sum_i e_i samples at the shares v_i = e_i / n_b,
then n more (`samples_seen`) at the weights w_i, n_T = n_b + n in all. With D_i(k) what a sample is worth on its
(k+1)-th showing (`repetition`), the utility law is then

    log(y - d) = log A0 + sum_i v_i b_i B_i + sum_i w_i b_i C_i,      lo = max(n_b, n0),
    B_i = log(lo / n0) - sum_{j >= 1} (D_i(j-1) - D_i(j)) relu(log(e_i / (j N_i)))           with D at the shares v
    C_i = log(n_T / lo) - sum_{j >= 1} (D_i(j-1) - D_i(j)) relu(log(n_T / max(s_ij, n_b)))   with D at the weights w
    s_ij = n_b + (j N_i - e_i) / w_i,  the samples seen when epoch j of pool i ends (n_b where it ended before).

Ours, derived: earlier epochs keep their decay and epochs in progress go on; of the order of earlier training nothing
is known, so that it counts as mixed evenly at v. For n_b >= n0, B_i is the static law's G_i(n_b; v) and C_i the
integral of D_i ds / s from n_b to n_T. The warm-up, n_b < n0, earns nothing; epochs that ended in it cost what they
cost in the static law, whose first epoch is never decayed. Hence, for all n0, N and dilution:

- seen_before = 0 is the static law, and its limit: the error is continuous in e_i down to 0, and at n_b = n0;
- a static run cut in two (v = w) has the error of the whole run;
- with dilution 0 the log excess is concave in w: V_i(s; w), the worth drawn from pool i since n_b, is concave in w for
  each s, and w_i C_i = w_i log(n_b / lo) + V_i(n_T) / n_T + integral V_i / s^2 ds (by parts), so that the predicted
  error is convex in w. With dilution gamma > 0 it need not be: where k_i epochs ended before, w_i (1 - D_i(k_i)) with
  D_i(k_i) = exp(-lam_i k_i) and lam_i growing as w_i^gamma is not convex beyond lam_i k_i = (1 + gamma) / gamma.

A parameter that is `[P]` (floor, amplitude) is averaged over all samples, those of earlier training included.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.errors import InputError
from qqtjax.laws.repetition import decay, real
from qqtjax.runs import Run


def earlier(seen_before: ArrayLike) -> tuple[Array, Array]:
    """n_b = sum_i e_i and v_i = e_i / n_b: samples of earlier training, `[]`, and its shares, `[P]` (0 before any).

    Args:
        seen_before: e_i, `[P]`, samples.

    Example:
        >>> import numpy as np
        >>> before, shares = earlier(np.array([3e6, 1e6]))
        >>> float(before), shares.tolist()
        (4000000.0, [0.75, 0.25])
    """
    exposure = jnp.asarray(real(seen_before))
    before = jnp.sum(exposure)
    some = before > 0
    return before, jnp.where(some, exposure / jnp.where(some, before, 1.0), 0.0)


def overall_weights(run: Run) -> Array:
    """Shares of all samples, those of earlier training included: w_i + (e_i - n_b w_i) / n_T, `[P]`.

    Example:
        >>> import numpy as np
        >>> overall_weights(Run(weights=np.array([1.0, 0.0]), sizes=np.full(2, 1e6), samples_seen=1e6,
        ...                     seen_before=np.array([0.0, 3e6]))).tolist()
        [0.25, 0.75]
    """
    weights = jnp.asarray(run.weights)
    if run.seen_before is None:
        return weights
    exposure = jnp.asarray(real(run.seen_before))
    before = jnp.sum(exposure)
    total = before + real(run.samples_seen)
    return weights + (exposure - before * weights) / jnp.where(total > 0, total, 1.0)


def lost_exponent_since(
    at_start: Array,
    at_end: Array,
    started: Array,
    grown: Array,
    rate: ArrayLike,
    max_epochs: int,
    decay_shape: ArrayLike | None = None,
) -> Array:
    """What repetition costs in this run: log(n_T / lo) - C_i of the module's formula, by one `lax.scan` over epochs.

        (1 - D(k)) log(n_T / n_b) + sum_{j>k} (D(j-1) - D(j)) relu(log(n_T / s_j)),   k = floor(K_b),
        n_T / s_j = 1 + (K_T - j) / (w n_b / N + j - K_b)

    An epoch that ends just now counts as over, so that derivatives are those from the right in n, w and e.

    Args:
        at_start: K_b = e_i / N_i, `[P]`, epochs before this run, from `epochs_through`.
        at_end: K_T = (e_i + n w_i) / N_i, `[P]`, epochs at its end, from `epochs_through`.
        started: w_i n_b / N_i, `[P]`; 0 where the size is infinite.
        grown: log(n_T / n_b), `[]`; any finite number where n_b = 0.
        rate: lam_i at the weights w, `[P]`, per epoch.
        max_epochs: static scan length, earlier epochs included; a pool with K_T beyond it gives NaN.
        decay_shape: s, or None for the geometric decay.

    Returns:
        `[P]`, log samples. Without earlier training it is `lost_exponent`.

    Example:
        >>> import jax.numpy as jnp
        >>> one_epoch_more = [jnp.array([each]) for each in (1.0, 2.0, 1.0)]
        >>> lost = lost_exponent_since(*one_epoch_more, jnp.log(2.0), rate=jnp.log(jnp.array([2.0])), max_epochs=4)
        >>> round(float(lost[0] / jnp.log(2.0)), 6)  # its second showing is worth a half
        0.5
    """
    before, over = lax.stop_gradient((jnp.floor(at_start), jnp.floor(at_end)))
    fresh = decay(jnp.zeros_like(at_end), rate, decay_shape)

    def step(carried: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], None]:
        total, worth = carried
        ends = (j > before) & (j <= over)
        left = jnp.where(ends, at_end - j, 0.0)
        ended = jnp.where(ends, started + (j - at_start), 1.0)
        coming = decay(j, rate, decay_shape)
        return (total + (worth - coming) * jnp.log1p(left / ended), coming), None

    numbers = jnp.arange(1, max_epochs + 1, dtype=at_end.dtype)
    (total, _), _ = lax.scan(step, (jnp.zeros_like(fresh), fresh), numbers)
    worn = fresh - decay(before, rate, decay_shape)
    # Added, not selected, so that derivatives are NaN too.
    return worn * grown + total + jnp.where(over <= max_epochs, 0.0, jnp.nan)


def refuse_seen_before(law: str, run: Run) -> None:
    """For laws that know runs from scratch only.

    Raises:
        InputError: the run has `seen_before`.
    """
    if run.seen_before is not None:
        raise InputError(
            f"law {law} does not know seen_before: expected a run from scratch (seen_before=None), "
            "or one of the laws utility, effective_samples, power"
        )
