"""Many least-squares problems through one compiled block: whoever is done leaves, and the next takes its place.

A batch that runs until its slowest lane is done wastes most of its work: lanes need from ten to hundreds of
iterations. Here a block of fixed width advances by a few iterations a call; between calls the host takes out the lanes
that are done and fills their places from the queue. Every call has the same shape, whatever the number of lanes, and
memory is that of the block. What a lane computes does not depend on its neighbours. Several objectives, each with a
queue and a block of its own, go through one call together; one whose queue is empty costs nothing, since its loop ends
before its first iteration.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
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
from qqtjax.laws.law import wide


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


class Queue(NamedTuple):
    """All lanes of one objective, 0 .. count - 1.

    Attributes:
        block: how they are advanced.
        rows: the checkpoints, as `objective.Data` or `arrow.PoolRows`.
        count: number of lanes.
        load: lanes by their numbers.
        take: called with the lanes that leave, one call at a time.
    """

    block: Block
    rows: Any
    count: int
    load: Callable[[np.ndarray], Lanes]
    take: Callable[[Ended], None]


def _many(block: Block, rows: Any, x: Array, lanes: Lanes) -> Quadratic:
    """Objective, gradient and Hessian of every lane."""
    if block.arrow:
        return quadratics(block.objective, rows, x, lanes.error, lanes.importance)

    def one(x: Array, error: Array, importance: Array) -> Quadratic:
        return quadratic(block.objective, x, rows._replace(error=error, importance=importance))

    return jax.vmap(one, in_axes=-1, out_axes=-1)(x, lanes.error, lanes.importance)


@partial(jax.jit, static_argnums=0)
def blank(blocks: tuple[Block, ...], rows: tuple[Any, ...], lanes: tuple[Lanes, ...]) -> tuple[LMState, ...]:
    """Blocks in which every place is free."""

    def one(block: Block, rows: Any, lanes: Lanes) -> LMState:
        shapes = jax.eval_shape(partial(_many, block), rows, lanes.start, lanes)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state = begin(jnp.asarray(lanes.start), zeros.hessian)
        return state._replace(done=jnp.ones_like(state.done))

    return tuple(one(*each) for each in zip(blocks, rows, lanes, strict=True))


def advance(
    blocks: tuple[Block, ...],
    rows: tuple[Any, ...],
    lanes: tuple[Lanes, ...],
    fresh: tuple[ArrayLike, ...],
    states: tuple[LMState, ...],
) -> tuple[LMState, ...]:
    """Move every lane of every block by some iterations, or until all of the block are done.

    Args:
        blocks: how, one for each objective.
        rows: the checkpoints of each, as `objective.Data` or `arrow.PoolRows`.
        lanes: what differs between lanes, for each block.
        fresh: `[L]` which lanes begin at their start, whatever their state, for each block.
        states: of all lanes of each block.

    Returns:
        The states after.
    """
    return tuple(_advanced(*each) for each in zip(blocks, rows, lanes, fresh, states, strict=True))


@functools.cache
def compiled(platform: str) -> Callable[..., tuple[LMState, ...]]:
    """`advance` as one program, for the platform that it will run on."""
    return jax.jit(advance, static_argnums=0, compiler_options=wide(platform))


def _advanced(block: Block, rows: Any, lanes: Lanes, fresh: ArrayLike, state: LMState) -> LMState:
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


def stream(queues: Sequence[Queue], width: int, workers: int, max_iterations: int) -> None:
    """Run all lanes of all queues, each through a block of `width` lanes a worker.

    Args:
        queues: one for each objective; all are advanced in one compiled call.
        width: of a block.
        workers: threads, each with blocks of its own: on a CPU as many as cores, on an accelerator one.
        max_iterations: a lane that needs more leaves unfinished.
    """
    waiting = [iter(range(queue.count)) for queue in queues]
    lock = threading.Lock()

    def work(_: int) -> None:
        # Threads do not inherit the caller's precision.
        with jax.enable_x64(True):
            _work([_Places(*each, width, lock) for each in zip(queues, waiting, strict=True)], max_iterations)

    if workers == 1:
        work(0)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))


class _Places:
    """The places of one block of one worker: which lane is where, and for how long."""

    def __init__(self, queue: Queue, waiting: Iterator[int], width: int, lock: threading.Lock) -> None:
        self.queue, self.waiting, self.width, self.lock = queue, waiting, width, lock
        self.lanes: Lanes = jax.tree.map(lambda leaf: np.repeat(leaf, width, axis=-1), queue.load(np.zeros(1, int)))
        self.lane_at = np.full(width, -1)
        self.age = np.zeros(width, int)

    def empty(self) -> bool:
        return bool(np.all(self.lane_at < 0))

    def fill(self) -> np.ndarray:
        """Let the next lanes in; `[L]` which places are theirs."""
        free = np.flatnonzero(self.lane_at < 0)
        with self.lock:
            entering = np.array(list(itertools.islice(self.waiting, len(free))), int)
        fresh = np.zeros(self.width, bool)
        if len(entering):
            places = free[: len(entering)]
            fresh[places], self.lane_at[places], self.age[places] = True, entering, 0
            # Copied, not written in place: on a CPU the device may still look at the same memory.
            self.lanes = jax.tree.map(partial(_replaced, places), self.lanes, self.queue.load(entering))
        return fresh

    def leave(self, state: LMState, max_iterations: int) -> LMState:
        """Hand over the lanes that are done or too old; the state in which their places are free."""
        self.age += self.queue.block.iterations
        done = np.asarray(state.done)
        leaving = np.flatnonzero((self.lane_at >= 0) & (done | (self.age >= max_iterations)))
        if not len(leaving):
            return state
        ended = Ended(
            self.lane_at[leaving],
            np.asarray(state.x)[:, leaving],
            np.asarray(state.at.objective)[leaving],
            done[leaving],
            np.asarray(state.cosine)[leaving],
        )
        with self.lock:
            self.queue.take(ended)
        self.lane_at[leaving] = -1
        stopped = np.zeros(self.width, bool)
        stopped[leaving] = True
        return state._replace(done=state.done | stopped)


def _work(places: Sequence[_Places], max_iterations: int) -> None:
    blocks = tuple(each.queue.block for each in places)
    rows = jax.tree.map(jnp.asarray, tuple(each.queue.rows for each in places))
    states = blank(blocks, rows, tuple(each.lanes for each in places))
    advanced = compiled(jax.default_backend())
    while True:
        fresh = tuple(each.fill() for each in places)
        if all(each.empty() for each in places):
            return
        states = advanced(blocks, rows, tuple(each.lanes for each in places), fresh, states)
        states = tuple(each.leave(state, max_iterations) for each, state in zip(places, states, strict=True))


def _replaced(places: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    changed = old.copy()
    changed[..., places] = new
    return changed
