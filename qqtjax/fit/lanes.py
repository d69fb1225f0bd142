"""Many least-squares problems through one compiled block: whoever is done leaves, and the next takes its place.

A batch that runs until its slowest lane is done wastes most of its work: lanes need from ten to hundreds of
iterations. Here a block of fixed width advances by a few iterations a call; between calls the host takes out the lanes
that are done and fills their places from the queue. Every call has the same shape, whatever the number of lanes, and
memory is that of the block. What a lane computes does not depend on its neighbours.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from qqtjax.fit.arrow import ARROW, quadratics
from qqtjax.fit.levenberg_marquardt import DENSE, LMState, Quadratic, begin, judge, propose
from qqtjax.fit.objective import Objective, quadratic


class Lanes(NamedTuple):
    """What differs between lanes; lanes are the last axis.

    Attributes:
        start: `[F, L]` where each begins.
        low: `[F, L]` lower bounds.
        high: `[F, L]` upper bounds.
        error: `[..., L]` measured errors, as the rows are stored.
        importance: `[..., L]`.
    """

    start: Any
    low: Any
    high: Any
    error: Any
    importance: Any


class Block(NamedTuple):
    """How a block is advanced; static.

    Attributes:
        objective: what is minimised.
        arrow: are rows stored by pool, and is the Hessian an arrow; else both are dense.
        iterations: most iterations a call.
        tolerance: a lane is done where a step promises less than this share of its objective.
    """

    objective: Objective
    arrow: bool
    iterations: int
    tolerance: float


class Ended(NamedTuple):
    """Lanes that leave.

    Attributes:
        lane: `[N]` which lanes.
        x: `[F, N]` where each ended.
        objective: `[N]` its objective there; infinite where the start failed.
        done: `[N]` did it meet the tolerance.
        cosine: `[N]` as in `LMState`.
    """

    lane: np.ndarray
    x: np.ndarray
    objective: np.ndarray
    done: np.ndarray
    cosine: np.ndarray


def _many(block: Block, rows: Any, x: Array, lanes: Lanes) -> Quadratic:
    """Objective, gradient and Hessian of every lane."""
    if block.arrow:
        return quadratics(block.objective, rows, x, lanes.error, lanes.importance)

    def one(x: Array, error: Array, importance: Array) -> Quadratic:
        return quadratic(block.objective, x, rows._replace(error=error, importance=importance))

    return jax.vmap(one, in_axes=-1, out_axes=-1)(x, lanes.error, lanes.importance)


@partial(jax.jit, static_argnums=0)
def blank(block: Block, rows: Any, lanes: Lanes) -> LMState:
    """A block in which every place is free."""
    shapes = jax.eval_shape(partial(_many, block), rows, lanes.start, lanes)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    state = begin(jnp.asarray(lanes.start), zeros.hessian)
    return state._replace(done=jnp.ones_like(state.done))


@partial(jax.jit, static_argnums=0)
def advance(block: Block, rows: Any, lanes: Lanes, fresh: ArrayLike, state: LMState) -> LMState:
    """Move every lane of a block by some iterations, or until all are done.

    Args:
        block: how.
        rows: the checkpoints, as `objective.Data` or `arrow.PoolRows`.
        lanes: what differs between lanes.
        fresh: `[L]` which lanes begin at their start, whatever their state.
        state: of all lanes.

    Returns:
        The state after.
    """
    step = partial(propose, ARROW) if block.arrow else jax.vmap(partial(propose, DENSE), in_axes=-1, out_axes=-1)
    begun = begin(jnp.asarray(lanes.start), state.at.hessian)
    state = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), begun, state)

    def unfinished(carry: tuple[Array, LMState]) -> Array:
        return (carry[0] < block.iterations) & ~jnp.all(carry[1].done)

    def body(carry: tuple[Array, LMState]) -> tuple[Array, LMState]:
        count, state = carry
        proposal = step(state, lanes.low, lanes.high)
        new = _many(block, rows, proposal.trial, lanes)
        return count + 1, judge(state, proposal, new, block.tolerance)

    return lax.while_loop(unfinished, body, (jnp.asarray(0), state))[1]


def stream(
    block: Block,
    rows: Any,
    count: int,
    load: Callable[[np.ndarray], Lanes],
    width: int,
    workers: int,
    max_iterations: int,
    take: Callable[[Ended], None],
) -> None:
    """Run lanes 0 .. count - 1 through blocks of `width`, one block a worker.

    Args:
        block: how a block is advanced.
        rows: the checkpoints.
        count: number of lanes.
        load: lanes by their numbers.
        width: of a block.
        workers: threads, each with a block of its own: on a CPU as many as cores, on an accelerator one.
        max_iterations: a lane that needs more leaves unfinished.
        take: called with the lanes that leave, one call at a time.
    """
    queue = iter(range(count))
    lock = threading.Lock()

    def work(_: int) -> None:
        # Threads do not inherit the caller's precision.
        with jax.enable_x64(True):
            _work(block, rows, queue, load, width, max_iterations, take, lock)

    if workers == 1:
        work(0)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


def _work(
    block: Block,
    rows: Any,
    queue: Iterator[int],
    load: Callable[[np.ndarray], Lanes],
    width: int,
    max_iterations: int,
    take: Callable[[Ended], None],
    lock: threading.Lock,
) -> None:
    lanes: Lanes = jax.tree.map(lambda leaf: np.repeat(leaf, width, axis=-1), load(np.zeros(1, int)))
    rows = jax.tree.map(jnp.asarray, rows)
    state = blank(block, rows, lanes)
    place_of = np.full(width, -1)
    age = np.zeros(width, int)
    while True:
        free = np.flatnonzero(place_of < 0)
        with lock:
            entering = np.array(list(itertools.islice(queue, len(free))), int)
        fresh = np.zeros(width, bool)
        if len(entering):
            places = free[: len(entering)]
            fresh[places], place_of[places], age[places] = True, entering, 0
            # Copied, not written in place: on a CPU the device may still look at the same memory.
            lanes = jax.tree.map(partial(_replaced, places), lanes, load(entering))
        if np.all(place_of < 0):
            return
        state = advance(block, rows, lanes, fresh, state)
        age += block.iterations
        done = np.asarray(state.done)
        leaving = np.flatnonzero((place_of >= 0) & (done | (age >= max_iterations)))
        if len(leaving):
            ended = Ended(
                place_of[leaving],
                np.asarray(state.x)[:, leaving],
                np.asarray(state.at.objective)[leaving],
                done[leaving],
                np.asarray(state.cosine)[leaving],
            )
            with lock:
                take(ended)
            place_of[leaving] = -1
            stopped = np.zeros(width, bool)
            stopped[leaving] = True
            state = state._replace(done=state.done | stopped)


def _replaced(places: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    changed = old.copy()
    changed[..., places] = new
    return changed
