"""What a table leaves open."""

import numpy as np
import pandas as pd
import pytest

from qqtjax.checks import check_runs
from qqtjax.io import read_runs


def table(**pools):
    """One row a checkpoint from `pool=[epochs]`, all pools of 100 samples."""
    rows = [(pool, 100.0, 100 * k, 0.5) for pool, epochs in pools.items() for k in epochs]
    return pd.DataFrame(rows, columns=["pool", "pool_size", "samples_seen", "error"])


def warned(frame, **options):
    return check_runs(read_runs(frame, **options))


def test_nothing_to_say():
    assert check_runs(read_runs(table(a=[0.5, 3], b=[0.25, 0.5, 2]))) == []


def test_one_checkpoint():
    (text,) = warned(table(a=[0.5, 3], b=[0.5]))
    assert text.startswith("one checkpoint only of pool 'b'")


def test_two_seeds_at_one_count_are_one_checkpoint():
    frame = pd.concat([table(a=[0.5, 3], b=[0.5]).assign(seed=seed) for seed in (0, 1)])
    (text,) = warned(frame)
    assert "one checkpoint only of pool 'b'" in text


def test_no_repeated_epoch():
    (text,) = warned(table(a=[0.5, 1], b=[0.25, 0.75]))
    assert text == "no checkpoint repeats any pool: the half-lives (tau) are not identified"


def test_an_infinite_pool_is_never_repeated():
    (text,) = warned(table(a=[0.5, 4]).assign(pool_size=np.inf))
    assert "no checkpoint repeats any pool" in text


def test_no_checkpoint_inside_the_first_epoch():
    (text,) = warned(table(a=[1, 4], b=[2, 4]))
    assert text.startswith("no checkpoint inside the first epoch of any pool: ")
    (text,) = warned(table(a=[0.5, 4], b=[1, 4], c=[2, 4]))
    assert text.startswith("no checkpoint inside the first epoch of pools 'b', 'c': ")


def test_a_pool_that_nothing_uses():
    (text,) = warned(table(a=[0.5, 4]), pools={"a": 100, "b": 100})
    assert text == "no checkpoint uses pool 'b'"


def test_mixtures_count_for_each_of_their_pools():
    mixed = pd.DataFrame([{"samples_seen": n, "error": 0.4, "weights": "a=.5 b=.5"} for n in (100.0, 500.0)])
    frame = pd.concat([table(a=[1, 4], b=[1]), mixed], ignore_index=True)
    assert check_runs(read_runs(frame)) == []


@pytest.mark.parametrize(("annealed", "count"), [([True, False], 1), ([False, False], 2)])
def test_checkpoints_that_were_not_annealed(annealed, count):
    (text,) = warned(table(a=[0.5, 3]).assign(annealed=annealed))
    assert text.startswith(f"{count} of 2 checkpoints did not end their own learning-rate schedule")


def test_annealed_checkpoints_need_no_warning():
    assert check_runs(read_runs(table(a=[0.5, 3]).assign(annealed=True))) == []


def test_long_lists_of_pools_are_cut():
    (text,) = warned(table(a=[0.5, 3], **{f"p{k}": [2, 3] for k in range(8)}))
    assert "pools 'p0', 'p1', 'p2', 'p3', 'p4' and 3 more: " in text
