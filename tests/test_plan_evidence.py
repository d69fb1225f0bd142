"""How well measured mixtures were predicted, on tables whose answer can be worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qqtjax.errors import InputError
from qqtjax.laws import FittedLaw, Seen, UtilityParams, power, utility
from qqtjax.laws.power import PowerParams
from qqtjax.plan import mixture_evidence, plan
from qqtjax.plan.evidence import interpolate
from qqtjax.runs import Pools, Runs

POOLS = Pools.of({"good": 1e6, "poor": 1e6})
TRUTH = FittedLaw(
    utility,
    UtilityParams(
        scale=1e5,
        floor=0.1,
        utility=np.array([-0.2, -0.1]),
        half_life=np.array([1.0, 3.0]),
        reference_size=np.full(2, 1e6),
    ),
    POOLS,
)
BLIND = FittedLaw(power, PowerParams(scale=1e5, floor=0.1, utility=np.array([-0.15, -0.09])), POOLS)
MIXES = np.array([[0.5, 0.5], [0.8, 0.2]])


def table(seen=(5e5, 1e6, 2e6, 4e6, 8e6), seeds=1, noise=None, truth=TRUTH) -> Runs:
    """Two pools alone, their union and a 4:1 mix, measured without noise unless given."""
    seen = np.array(seen)
    weights = np.vstack([np.eye(2), MIXES])
    source = np.repeat(np.tile(np.arange(4), seeds), len(seen))
    n = np.tile(seen, 4 * seeds)
    error = np.array([float(truth.predict(weights[s], each)) for s, each in zip(source, n, strict=True)])
    return Runs(
        pools=POOLS,
        source=source,
        mixes=MIXES,
        mix_sizes=np.full((2, 2), 1e6),
        samples_seen=n,
        error=error if noise is None else error + noise,
        run=np.repeat(np.arange(4 * seeds), len(seen)),
        run_names=tuple(f"run {i}" for i in range(4 * seeds)),
        seed=np.repeat(np.arange(seeds), 4 * len(seen)),
        metric=np.zeros(len(source), int),
    )


def test_the_truth_scores_perfectly_and_the_others_by_hand():
    runs = table()
    found = mixture_evidence(TRUTH, runs, blind=BLIND)
    assert found is not None
    assert (found.mixtures, found.checkpoints, found.left_out, found.budgets) == (2, 10, 0, 5)
    assert found.pairs == 5 * 5  # of 6 pairs a budget, the one of the two single pools is not counted
    own, blind, between = found.scores
    assert own.mae < 1e-12
    assert own.accuracy == 1
    assert own.regret == 0
    assert own.regret_filter == 0
    assert [score.name for score in found.scores] == ["utility", "repetition-blind (power)", "interpolation"]
    mixture = ~runs.single
    measured = runs.error[mixture]
    off = BLIND.predict(runs.weights[mixture], runs.samples_seen[mixture]) - measured
    assert blind.mae == pytest.approx(np.abs(off).mean())
    assert blind.bias == pytest.approx(off.mean())
    mean = runs.weights[mixture] @ np.stack([runs.error[:5], runs.error[5:10]])
    straight = mean[np.arange(10), np.tile(np.arange(5), 2)]
    assert between.mae == pytest.approx(np.abs(straight - measured).mean())
    # Both always choose the best pool alone; it is not the best from some budget on.
    errors = runs.error.reshape(4, 5)
    assert blind.regret == pytest.approx(np.mean(errors[0] - errors.min(0)))
    assert blind.regret > 0
    assert blind.regret_filter == pytest.approx(np.mean(errors[0] - errors[[0, 1, 2]].min(0)))


def test_differences_and_decisions_by_hand():
    found = mixture_evidence(TRUTH, table(seen=[8e6]), blind=BLIND)
    assert found is not None
    weights = np.vstack([np.eye(2), MIXES])
    expected, measured = BLIND.predict(weights, 8e6), TRUTH.predict(weights, 8e6)
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    gaps = [(expected[i] - expected[j], measured[i] - measured[j]) for i, j in pairs]
    assert found.scores[1].mae_difference == pytest.approx(np.mean([abs(a - b) for a, b in gaps]))
    assert found.scores[1].accuracy == pytest.approx(np.mean([np.sign(a) == np.sign(b) for a, b in gaps]))
    assert found.scores[1].accuracy < 1


def test_interpolation_is_linear_in_log_samples_and_averages_seeds():
    runs = table(seeds=2, noise=np.repeat([0.01, -0.01], 20))
    clean = table()
    np.testing.assert_allclose(interpolate(runs)[:20], interpolate(clean), atol=1e-12)
    # Without the checkpoint at 2M of the single pools: halfway in log n between 1M and 4M.
    keep = ~(clean.single & (clean.samples_seen == 2e6))
    thinned = clean.select(keep)
    mixture = ~thinned.single & (thinned.samples_seen == 2e6)
    curves = clean.error.reshape(4, 5)[:2]
    np.testing.assert_allclose(interpolate(thinned)[mixture], MIXES @ (curves[:, 1] + curves[:, 3]) / 2)


def test_rows_outside_a_pools_range_are_left_out_for_everybody():
    runs = table()
    shorter = runs.select(~((runs.source == 1) & (runs.samples_seen > 4e6)))
    found = mixture_evidence(TRUTH, shorter, blind=BLIND)
    assert found is not None
    assert found.left_out == 2
    assert found.checkpoints == 8
    inside = ~shorter.single & (shorter.samples_seen <= 4e6)
    off = BLIND.predict(shorter.weights[inside], shorter.samples_seen[inside]) - shorter.error[inside]
    assert found.scores[1].mae == pytest.approx(np.abs(off).mean())


def test_subsampled_unions_count_as_mixtures_not_as_filters():
    runs = table()
    subsampled = dataclasses.replace(runs, mix_sizes=np.array([[5e5, 5e5], [1e6, 1e6]]))
    found = mixture_evidence(TRUTH, subsampled)
    whole = mixture_evidence(TRUTH, runs)
    assert found is not None
    assert whole is not None
    # The law is told the sizes that the run drew from, so its prediction of the union is now another one.
    assert whole.scores[0].mae < 1e-12 < found.scores[0].mae
    # The only filters left are the two pools alone: no mixture among them can be missed.
    assert found.scores[1].regret_filter == pytest.approx(0)
    assert whole.scores[1].regret_filter > 0


def test_without_mixtures_there_is_no_evidence():
    runs = table()
    assert mixture_evidence(TRUTH, runs.select(runs.single)) is None
    assert plan(TRUTH, 4e6, runs=runs.select(runs.single)).evidence is None


def test_other_pools_or_several_metrics_are_refused():
    runs = table()
    with pytest.raises(InputError, match="are not the law's"):
        mixture_evidence(TRUTH, dataclasses.replace(runs, pools=Pools.of({"a": 1e6, "b": 1e6})))
    with pytest.raises(InputError, match="for_metric"):
        mixture_evidence(TRUTH, dataclasses.replace(runs, metric_names=("error", "other")))


def test_mixtures_that_were_fitted_are_not_passed_off_as_predicted():
    runs = table()
    # More single-pool checkpoints than the table's, or mixtures among the fitted ones, however few in all.
    for checkpoints, mixtures, held_out in ((10, 0, True), (150, 0, True), (11, 1, False), (9, 9, False)):
        seen = Seen((5e5, 8e6), np.full(2, 8.0), checkpoints, 4, mixtures)
        answer = plan(dataclasses.replace(TRUTH, seen=seen), 4e6, runs=runs)
        assert answer.evidence is not None
        assert answer.evidence.held_out == held_out
        assert ("measured mixtures, not fitted" in str(answer)) == held_out


def test_a_reference_law_of_the_same_name_hides_nothing():
    others = {"utility": BLIND, "interpolation": BLIND, "repetition-blind (power)": TRUTH}
    found = mixture_evidence(TRUTH, table(), blind=BLIND, others=others)
    assert found is not None
    names = [score.name for score in found.scores]
    assert names == [
        "utility", "repetition-blind (power)", "utility (2)", "interpolation (2)", "repetition-blind (power) (2)",
        "interpolation",
    ]  # fmt: skip
    assert found.scores[0].mae < 1e-12
    assert found.scores[2].mae == found.scores[1].mae > 0.01
    assert plan(TRUTH, 4e6, runs=table(), reference_laws={"utility": BLIND}).evidence.scores[0].mae < 1e-12  # type: ignore[union-attr]


def test_pairs_measured_as_equal_count_for_nobody():
    flat = dataclasses.replace(table(seen=[8e6]), error=np.array([0.5, 0.4, 0.5, 0.3]))
    found = mixture_evidence(TRUTH, flat, blind=BLIND)
    assert found is not None
    weights = np.vstack([np.eye(2), MIXES])
    expected = TRUTH.predict(weights, 8e6)
    pairs = [(0, 3), (1, 2), (1, 3), (2, 3)]  # without (0, 2), a tie
    right = [(expected[i] < expected[j]) == (flat.error[i] < flat.error[j]) for i, j in pairs]
    assert found.pairs == 5
    assert found.scores[0].accuracy == np.mean(right)
    ties = mixture_evidence(TRUTH, dataclasses.replace(flat, error=np.full(4, 0.5)))
    assert ties is not None
    assert np.isnan(ties.scores[0].accuracy)


def test_the_plan_shows_it():
    answer = plan(TRUTH, 4e6, runs=table(), blind=BLIND, reference_laws={"again": TRUTH})
    assert answer.evidence is not None
    assert [score.name for score in answer.evidence.scores][2] == "again"
    text = str(answer)
    assert "repetition-blind (power)" in text
    assert "interpolation" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert answer.to_dict()["evidence"]["checkpoints"] == 10
