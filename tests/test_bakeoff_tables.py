"""The public tables as the bake-off reads them, and what its permutation test permutes."""

import numpy as np
import pytest

from benchmarks.bakeoff import tables
from benchmarks.bakeoff.permutation import permuted_errors
from qqtjax.bakeoff.splits import held_out, parse_split

ROWS = {
    "openclip": (18, 1, 1),
    "datablations": (76, 1, 1),
    "overtraining": (34, 1, 1),
    "chinchilla": (245, 1, 1),
    "mixinglaws 2Mix": (110, 2, 2),
    "mixinglaws 3Mix": (1060, 3, 3),
    "mixinglaws 3Mix late": (890, 3, 3),
    "slimpajama": (1357, 7, 8),
    "regmix": (768, 17, 3),
}


@pytest.fixture(scope="module")
def public(data_folder):
    return {table.name: table for table in tables.public(data_folder)}


@pytest.mark.parametrize("name", ROWS)
def test_every_table_is_read_whole(public, name):
    table = public[name]
    rows, pools, metrics = ROWS[name]
    assert len(table.runs.metric_names) == metrics
    assert (len(table.runs), len(table.runs.pools)) == (rows * metrics, pools)
    np.testing.assert_allclose(table.runs.weights.sum(axis=1), 1, rtol=1e-12)
    assert np.all(np.isfinite(table.runs.error))
    one = table.runs.for_metric(table.runs.metric_names[0])
    for split in table.splits:
        assert held_out(parse_split(split), one, 1).any(axis=0).sum() >= 3
    assert set(table.marks) <= set(table.splits)


def test_epochs_are_those_of_the_source(public):
    runs = public["datablations"].runs
    assert runs.epochs.max() == pytest.approx(1500)
    assert np.sum(runs.epochs[:, 0] > 8) == 34
    assert np.all(runs.epochs >= 1 - 1e-9)


def test_what_is_permuted_is_the_unique_size_alone(public):
    """Within one size and number of tokens the measured errors change places; nothing else moves."""
    runs = public["datablations"].runs
    found = permuted_errors(runs, 50, seed=0)
    assert found.shape == (51, 76)
    np.testing.assert_array_equal(found[0], runs.error)
    cell = np.stack([runs.model_size, runs.samples_seen])
    for version in found[1:]:
        moved = np.flatnonzero(version != runs.error)
        assert len(moved) > 10
        came_from = np.array([np.flatnonzero(runs.error == version[row])[0] for row in moved])
        np.testing.assert_array_equal(cell[:, moved], cell[:, came_from])
        np.testing.assert_array_equal(np.sort(version), np.sort(runs.error))


def test_the_embedded_runs_need_no_folder():
    assert [len(table.runs.pools) for table in tables.embedded()] == [5, 5, 5]
