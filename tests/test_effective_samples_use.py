"""The effective-samples law where the package uses laws: fits, warnings, plans, files, commands."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest

import qqtjax as qqt
from benchmarks import planted
from qqtjax import laws
from qqtjax.checks import check_runs
from qqtjax.cli.main import main
from qqtjax.errors import InputError, QQTWarning
from qqtjax.laws import EffectiveSamplesParams, FittedLaw
from qqtjax.mix import optimize_mix

TRUTH = EffectiveSamplesParams(
    scale=np.array([2e5, 5e4, 4e5, 1e6]), floor=0.15, exponent=0.2, saturation=np.array([3.0, 6.0, 2.0, 9.0])
)


@pytest.fixture(scope="module")
def curves():
    return planted.curves(TRUTH, law=laws.effective_samples)


@pytest.fixture(scope="module")
def fitted(curves):
    return qqt.fit(curves, laws.effective_samples)


def test_one_saturation_for_all_pools(curves, fitted):
    together = dataclasses.replace(TRUTH, saturation=np.full(4, 4.0))
    found = qqt.fit(
        planted.curves(together, law=laws.effective_samples), laws.effective_samples, share={"saturation": True}
    )
    assert np.ndim(found.params.saturation) == 0
    assert found.params.saturation == pytest.approx(4.0, rel=1e-6)
    assert "saturation (R*) = 4" in str(found)
    apart = qqt.fit(curves, laws.effective_samples, share={"saturation": True})
    assert apart.diagnostics.objective > 1e6 * fitted.diagnostics.objective


def test_floors_of_each_pool():
    apart = dataclasses.replace(TRUTH, floor=np.array([0.1, 0.2, 0.3, 0.05]))
    runs = planted.curves(apart, law=laws.effective_samples)
    found = qqt.fit(runs, laws.effective_samples, share={"floor": False})
    np.testing.assert_allclose(found.params.floor, apart.floor, rtol=1e-4)


def test_noise_leaves_finite_standard_errors_near_the_truth():
    noisy = planted.curves(TRUTH, noise=1e-3, rng=np.random.default_rng(3), law=laws.effective_samples)
    found = qqt.fit(noisy, laws.effective_samples)
    assert found.diagnostics.converged
    off = np.abs(found.params.saturation - TRUTH.saturation) / found.diagnostics.standard_errors.saturation
    assert np.all(off < 4)


def test_what_a_table_leaves_open_is_said_in_its_own_words():
    fields = laws.effective_samples.ranges(planted.curves(TRUTH, law=laws.effective_samples))
    once = planted.curves(TRUTH, (0.1, 0.3, 0.6, 0.9), law=laws.effective_samples)
    assert check_runs(once, fields) == ["no checkpoint repeats any pool: the saturations (R*) are not identified"]
    with pytest.warns(QQTWarning, match=r"the saturations \(R\*\) are not identified"):
        found = qqt.fit(once, laws.effective_samples)
    assert sum("saturation of pool" in line for line in found.diagnostics.unidentified) == 4
    (late,) = check_runs(planted.curves(TRUTH, (2.0, 4.0), law=laws.effective_samples), fields)
    assert "scale, saturation, exponent and floor trade off" in late
    few = once.select((once.source != 2) | (once.samples_seen == once.samples_seen.min()))
    assert check_runs(few, fields)[0].endswith("pool 'pool2': scale and saturation are not both identified")
    # The repetition-blind law is not asked about repeats.
    (power,) = check_runs(few, laws.power.ranges(few))
    assert power.endswith("pool 'pool2': utility rests on that alone")


def test_a_saved_fit_reloads_to_the_same_bytes(fitted, tmp_path):
    qqt.save_fit(fitted, tmp_path / "fit.json")
    again = qqt.load_fit(tmp_path / "fit.json")
    assert again.law is laws.effective_samples
    same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), fitted.params, again.params)
    assert jax.tree.all(same)
    assert str(again) == str(fitted)


def test_a_pool_of_unknown_size_cannot_be_resized_once_fitted():
    pools = qqt.Pools.of({"a": 1e6, "web": np.inf})
    params = EffectiveSamplesParams(
        scale=np.array([1e4, 2e4]), floor=0.1, exponent=0.2, saturation=np.array([3.0, 5.0])
    )
    published = FittedLaw(laws.effective_samples, params, pools)
    seen = laws.Seen((1e5, 1e7), np.array([10.0, 0.0]), 10, 2, 0)
    measured = dataclasses.replace(published, seen=seen)
    with pytest.raises(InputError, match="'web' was fitted with an infinite size: its saturation is not known"):
        measured.with_sizes({"web": 1e8})
    # Given constants are taken at their word, and a measured pool may go there and back.
    assert published.with_sizes({"web": 1e8}).pools.sizes[1] == 1e8
    assert measured.with_sizes({"a": np.inf}).with_sizes({"a": 1e6}).pools.sizes[0] == 1e6


class TestPlans:
    def test_pools_are_ranked_by_the_worth_of_their_samples(self, fitted):
        answer = qqt.plan(fitted, 1e8)
        assert list(answer.pools) == ["pool1", "pool0", "pool2", "pool3"]
        given = qqt.plan(fitted, 1e8, order=["pool3", "pool2", "pool1", "pool0"])
        assert next(iter(given.pools)) == "pool3"

    def test_no_tie_of_pools_is_claimed_at_any_scale(self):
        """A loss of some nats is reached long before y - d = 1: budgets below n0 are the usual ones."""
        params = EffectiveSamplesParams(
            scale=np.array([1e14, 1e12]), floor=1.5, exponent=0.1, saturation=np.array([4.0, 10.0])
        )
        pools = qqt.Pools.of({"large": 1e7, "clean": 1e6})
        law = FittedLaw(laws.effective_samples, params, pools, metric="loss")
        answer = qqt.plan(law, [1e6, 1e9])
        assert answer.scale is None
        assert "scale" not in " ".join([str(answer), *answer.warnings])
        assert [row.best.name for row in answer.rows] == ["clean", "all pools"]
        assert all(not row.warnings for row in answer.rows)
        # Where it changes is found below every n0, and both predictions meet there.
        (change,) = (each for each in answer.crossovers if each.decides)
        assert (change.below, change.above) == ("clean", "all pools")
        clean, both = (law.predict(w, change.samples_seen) for w in ({"clean": 1}, {"clean": 1 / 11, "large": 10 / 11}))
        assert clean == pytest.approx(both, rel=1e-10)
        # Without a budget the search still covers what the pools can give.
        reached = qqt.plan(law, target_error=5.0).target
        assert reached.samples_seen is not None
        assert float(law.predict(reached.best.weights, reached.samples_seen)) == pytest.approx(5.0, rel=1e-9)

    def test_a_wanted_error_and_the_mix(self, fitted):
        answer = qqt.plan(fitted, 1e8, target_error=0.4)
        assert float(fitted.predict(answer.target.best.weights, answer.target.samples_seen)) == pytest.approx(0.4)
        row = answer.rows[0]
        assert row.mix.error <= min(option.error for option in row.options)

    def test_other_sizes_and_laws_beside(self, fitted, curves):
        other = qqt.fit(curves)
        answer = qqt.plan(fitted, [1e8], sizes={"pool0": 5e7}, reference_laws={"utility": other})
        assert answer.dilutions == ()
        assert [variant.name for variant in answer.beside] == ["utility"]
        json.dumps(answer.to_dict(), allow_nan=False)

    def test_the_best_mix_equals_a_fine_search(self):
        params = EffectiveSamplesParams(
            scale=np.array([1e4, 3e4]), floor=0.1, exponent=0.3, saturation=np.array([2.0, 5.0])
        )
        law = FittedLaw(laws.effective_samples, params, qqt.Pools.of({"a": 1e5, "b": 1e6}))
        shares = np.linspace(0, 1, 4001)
        errors = law.predict(np.stack([shares, 1 - shares], axis=1), 2e6)
        found = optimize_mix(law, [2e6])
        assert found.weights[0, 0] == pytest.approx(shares[np.argmin(errors)], abs=5e-4)
        assert found.error[0] <= errors.min() + 1e-9


def test_measured_mixtures_are_scored():
    law = FittedLaw(laws.effective_samples, TRUTH, planted.curves(TRUTH, law=laws.effective_samples).pools)
    weights = np.array([[0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]])
    alone, seen = planted.curves(TRUTH, law=laws.effective_samples), np.array([0.5, 2.0, 8.0]) * planted.SIZE
    mixed = {
        "source": 4 + np.repeat([0, 1], 3),
        "samples_seen": np.tile(seen, 2),
        "error": np.concatenate([law.predict(each, seen) for each in weights]),
        "run": 4 + np.repeat([0, 1], 3),
        "seed": np.zeros(6, int),
        "metric": np.zeros(6, int),
    }
    runs = dataclasses.replace(
        alone,
        mixes=weights,
        mix_sizes=np.full((2, 4), planted.SIZE),
        run_names=(*alone.run_names, "half", "all"),
        **{name: np.concatenate([getattr(alone, name), each]) for name, each in mixed.items()},
    )
    found = qqt.mixture_evidence(qqt.fit(alone, laws.effective_samples), runs, blind=qqt.fit(alone, laws.power))
    assert found.scores[0].name == "effective_samples"
    assert found.scores[0].mae < 1e-6 < found.scores[1].mae


@pytest.fixture
def table(tmp_path):
    """A tidy table of exact errors of two pools."""
    law = FittedLaw(
        laws.effective_samples,
        EffectiveSamplesParams(scale=np.array([1e3, 2e2]), floor=0.1, exponent=0.3, saturation=np.array([3.0, 6.0])),
        qqt.Pools.of({"poor": 2e4, "good": 1e4}),
    )
    lines = ["pool,pool_size,samples_seen,error"]
    for pool, size in zip(law.pools.names, law.pools.sizes, strict=True):
        for seen in size * np.array([0.25, 0.5, 1, 2, 4, 8, 16]):
            lines.append(f"{pool},{size:g},{seen:g},{float(law.predict({pool: 1}, seen)):.12f}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_commands_know_it(table, tmp_path, capsys):
    def typed(*arguments):
        status = None
        try:
            main([str(each) for each in arguments])
        except SystemExit as ended:
            status = ended.code
        ran = capsys.readouterr()
        assert not status, ran.err
        return ran.out

    saved = tmp_path / "fit.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", QQTWarning)
        typed("fit", table, "--law", "effective_samples", "--starts", 8, "-o", saved)
        planned = json.loads(typed("plan", table, "--law", "effective_samples", "--starts", 8, "--json"))
    found = qqt.load_fit(saved)
    assert found.law is laws.effective_samples
    np.testing.assert_allclose(found.params.saturation, [3.0, 6.0], rtol=1e-4)
    assert planned["law"] == "effective_samples"
    assert list(planned["pools"]) == ["good", "poor"]
    predicted = json.loads(typed("predict", saved, "--weights", "good=.5,poor=.5", "--samples-seen", "40k", "--json"))
    assert predicted["predictions"][0]["error"] == float(found.predict([0.5, 0.5], 4e4))
    with pytest.raises(SystemExit):
        main(["fit", str(table), "--law", "nonesuch"])
    shown = capsys.readouterr().err
    assert all(law.name in shown for law in laws.ALL)
