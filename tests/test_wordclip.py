"""The measured runs that come with the package: what they hold, and that the law predicts their mixtures."""

import dataclasses
import hashlib
import json
from importlib import resources

import numpy as np
import pytest

import qqtjax as qqt

FAMILIES = ("C", "R", "V")


def data_bytes(name):
    return (resources.files("qqtjax") / "data" / name).read_bytes()


def test_the_table_is_the_one_that_its_provenance_describes():
    provenance = json.loads(data_bytes("wordclip.json"))
    table = data_bytes("wordclip.csv")
    assert hashlib.sha256(table).hexdigest() == provenance["table"]["sha256"]
    assert len(table) < 1_000_000
    assert table.count(b"\n") == provenance["table"]["rows"] + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_pools_have_early_checkpoints_two_seeds_and_a_large_remainder(family):
    runs = qqt.wordclip(family)
    assert len(runs.pools) == 5
    assert runs.pools.sizes[-1] >= 5 * runs.pools.sizes[:-1].max()
    assert set(runs.seed) == {0, 1, 2}
    for pool in range(len(runs.pools)):
        rows = (runs.source == pool) & (runs.seed == 0)
        assert np.sum(runs.samples_seen[rows] < runs.pools.sizes[pool]) >= 3
    assert np.any(~runs.single & (runs.sizes < runs.pools.sizes).all(axis=1)), "a subsampled union"
    fresh = qqt.wordclip(family, roles=["fresh"])
    assert np.all(fresh.epochs <= 1)


def test_the_runs_that_test_a_prediction_are_younger_than_the_others():
    """A redraw's single pools come first; what they predict is trained later."""
    provenance = json.loads(data_bytes("wordclip.json"))
    assert provenance["redraws"] == {"C": 3, "R": 3, "V": 5}
    trained = provenance["trained"]["V"]
    assert trained["single"]["last"] < trained["mixture"]["first"]
    assert trained["single"]["last"] < trained["optimised"]["first"]


@pytest.mark.parametrize(("family", "redraw"), [("C", 0), ("R", 1), ("V", 4)])
def test_mixtures_that_were_not_fitted_are_predicted_far_better_than_by_the_blind_law(family, redraw):
    runs = qqt.wordclip(family, redraws=[redraw])
    runs = dataclasses.replace(runs.select(runs.samples_seen <= 2e5), eval_size=None)
    alone = runs.select(runs.single)
    fitted, blind = qqt.fit(alone), qqt.fit(alone, qqt.laws.power)
    evidence = qqt.mixture_evidence(fitted, runs, blind=blind)
    assert evidence.held_out
    assert evidence.left_out == 0
    law, without = evidence.scores[:2]
    assert "blind" in without.name
    assert law.mae <= 0.6 * without.mae
