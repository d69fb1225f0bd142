"""The tables that come with the package."""

import json
from importlib import resources

import numpy as np
import pytest

from qqtjax.errors import InputError
from qqtjax.io.tables import published, wordclip


@pytest.mark.parametrize(("family", "first"), [("C", "C00"), ("R", "R1"), ("V", "V1")])
def test_wordclip_has_single_pools_and_mixtures(family, first):
    runs = wordclip(family)
    assert runs.pools.names[0] == first
    assert runs.single.any()
    assert (~runs.single).any()
    assert set(runs.seed.tolist()) >= {0, 1}
    alone = wordclip(family, roles=["single"])
    assert alone.single.all()
    assert len(alone) == runs.single.sum()
    mixed = wordclip(family, roles="mixture")
    assert not mixed.single.any()
    assert mixed.pools.names == alone.pools.names == runs.pools.names
    assert (mixed.pools.sizes == runs.pools.sizes).all()


def test_wordclip_runs_are_told_apart_by_setting_and_seed():
    runs = wordclip("C")
    for run in range(len(runs.run_names)):
        rows = runs.run == run
        assert len(set(runs.seed[rows].tolist())) == len(set(runs.source[rows].tolist())) == 1


def test_wordclip_subsampled_unions_have_smaller_pools():
    runs = wordclip("R")
    shares = runs.mix_sizes / runs.pools.sizes
    assert {0.25, 0.5, 1.0} <= set(np.round(shares[:, 0], 6).tolist())


def test_wordclip_fresh_runs_come_only_when_asked_for():
    fresh = wordclip("C", roles=["fresh"])
    assert set(fresh.pools.names) - set(wordclip("C").pools.names)
    assert (fresh.epochs.max(axis=1) <= 1).all()


def test_wordclip_redraws_are_other_runs_of_the_same_settings():
    first, second, every = (wordclip("R", redraws=redraws) for redraws in ([0], [1], None))
    assert set(first.run_names).isdisjoint(second.run_names)
    assert set(every.run_names) > {*first.run_names, *second.run_names}
    assert every.pools.names == first.pools.names
    assert len(np.unique(every.mixes, axis=0)) == len(np.unique(first.mixes, axis=0))
    with pytest.raises(InputError, match="redraw 7 of family R: expected one of 0, 1, 2"):
        wordclip("R", redraws=[7])


def test_wordclip_optimised_weights_come_only_when_asked_for():
    chosen = wordclip("V", roles="optimised", redraws=[0])
    assert not set(chosen.run_names) & set(wordclip("V").run_names)
    assert set(chosen.seed.tolist()) == {0, 1, 2}


def test_wordclip_unknown_family_or_role():
    with pytest.raises(InputError, match="unknown family 'S' of word-CLIP; the families are C, R, V"):
        wordclip("S")
    with pytest.raises(InputError, match=r"unknown role 'mixtures' .*did you mean 'mixture'"):
        wordclip("C", roles=["mixtures"])


def test_published_constants():
    constants = published()
    law = constants.utility
    assert law.pools.names == ("top 10 %", "10-20 %", "20-30 %", "30-40 %")
    assert law.pools.sizes.tolist() == [12.8e6] * 4
    assert law.params.scale == 4e6
    assert law.params.floor == 0.1
    assert law.params.utility.tolist() == [-0.16, -0.125, -0.1, -0.085]
    other = constants.effective_data
    assert other.params.scale == 1e5 / 0.022
    assert other.params.floor == 0.1
    assert other.params.half_life.tolist() == [4.0, 4.363636363636363, 2.909090909090909, 1.4545454545454546]
    assert constants.budgets == (32e6, 64e6, 128e6, 640e6)
    assert "2404.07177" in constants.source
    assert constants.check.utility == {"utility": -0.12000000000000001, "effective_data": -0.141969696969697}
    assert constants.check.subsample == 0.25


def test_published_laws_give_the_figures_of_the_released_code_and_of_the_equation():
    constants = published()
    assert round(float(constants.released_utility.predict({"top 10 %": 1}, 128e6)), 4) == 0.7127
    assert round(float(constants.utility.predict({"top 10 %": 1}, 128e6)), 4) == 0.7361
    assert round(float(constants.effective_data.predict({"top 10 %": 1}, 128e6)), 4) == 0.7137


def test_published_constants_are_those_of_the_released_file(golden):
    released = json.loads((golden / "released_code.json").read_text())["parameter_values"]
    laws = {"tmars_imagenet1k_utility": "utility", "tmars_imagenet1k_data": "effective_data"}
    constants = published()
    for name, law in laws.items():
        params = getattr(constants, law).params
        *b, check_b = released[name]["b_values"]
        *tau, check_tau = released[name]["c_values"]
        assert params.utility.tolist() == b
        assert params.half_life.tolist() == tau
        assert params.scale == 1e5 / released[name]["best_a"]
        assert constants.check.utility[law] == check_b
        assert constants.check.half_life[law] == check_tau


def test_the_published_scale_is_the_normaliser_over_a():
    table = json.loads((resources.files("qqtjax") / "data" / "published.json").read_text())["tables"]["datacomp-tmars"]
    for law in table["laws"].values():
        assert law["scale"] == pytest.approx(table["normaliser"] / law["a"], rel=1e-15)


def test_unknown_constants():
    with pytest.raises(InputError, match="unknown constants 'datacomp'; there are datacomp-tmars; did you mean"):
        published("datacomp")
