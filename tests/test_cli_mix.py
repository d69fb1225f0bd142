"""`qqt mix` as a user types it: golden numbers, limits that hold, files that load again, one line a mistake."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import Typed, only_error, start

import qqtjax as qqt
from qqtjax.cli import output, words
from qqtjax.cli.mix_prices import prices_text
from qqtjax.errors import InputError
from qqtjax.io.mixes import load_mix
from qqtjax.io.saved import fit_to_dict
from qqtjax.laws.draws import Draws
from qqtjax.mix import CVaR, robust_mix
from qqtjax.mix.constraints import Group
from qqtjax.mix.optimize import optimize_mix
from qqtjax.mix.result import Certificate, Mix, RunnerUp
from qqtjax.mix.text import mixes_text
from qqtjax.plain import to_plain

NAMES = ("web", "books", "code", "chat")
PAPER = ("--published", "datacomp-tmars")


def fitted(metric: str = "first", **changes: Any) -> qqt.FittedLaw:
    """The published law on pools with names that are quick to type."""
    law = qqt.published("datacomp-tmars").utility
    pools = qqt.Pools.of(dict(zip(NAMES, law.pools.sizes, strict=True)))
    return dataclasses.replace(law, pools=pools, metric=metric).with_params(**changes)


SECOND = {"utility": np.array([-0.1, -0.12, -0.09, -0.02]), "floor": 0.05}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixes")
    effective = dataclasses.replace(qqt.published("datacomp-tmars").effective_data, pools=fitted().pools)
    for name, law in {
        "fit": fitted(),
        "second": fitted("second", **SECOND),
        "same": fitted(**SECOND),
        "effective": effective,
        "others": dataclasses.replace(fitted("second"), pools=qqt.Pools.of(dict.fromkeys("abcd", 12.8e6))),
    }.items():
        qqt.save_fit(law, folder / f"{name}.json")
    (folder / "runs.csv").write_text("pool,pool_size,samples_seen,error\nweb,1e6,1e6,0.5\n")
    return folder


@pytest.fixture
def typed(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    """Types commands in a folder with the fits in it."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    return Typed(capsys, monkeypatch)


def one(typed: Typed, *arguments: str) -> dict[str, Any]:
    """The mix that a command prints as JSON, and nothing on standard error."""
    ran = typed("mix", *arguments, "--json")
    assert (ran.status, ran.err) == (0, "")
    (mix,) = ran.document["mixes"]
    return mix


# Numbers


def test_the_published_pools_at_640_million(typed: Typed) -> None:
    ran = typed("mix", *PAPER, "--budget", "640M")
    assert (ran.status, ran.err) == (0, "")
    rows = {line[:8].strip(): line[8:].split() for line in ran.out.splitlines()}
    assert [rows[name][0] for name in ("top 10 %", "10-20 %", "20-30 %")] == ["0.47949", "0.38000", "0.14051"]
    assert ran.out.startswith("640M samples: predicted imagenet1k error 0.63925 ")
    assert "global optimum" in ran.out
    mix = one(typed, *PAPER, "--budget", "640M")
    assert list(mix["weights"].values()) == pytest.approx([0.47949, 0.38, 0.14051, 0], abs=6e-6)
    assert mix["error"] == pytest.approx(0.639246, abs=1e-6)
    assert mix["certificate"]["proof"] == "global"
    assert mix["certificate"]["gap"] <= 1e-9
    assert sum(mix["samples"].values()) == 640_000_000


@pytest.mark.parametrize("law", ["effective_data", pytest.param("released_utility", marks=pytest.mark.slow)])
def test_other_laws_of_the_published_constants(typed: Typed, law: str) -> None:
    mix = one(typed, *PAPER, "--budget", "64M", "--law", law)
    fit = getattr(qqt.published("datacomp-tmars"), law)
    assert mix["law"] == law
    assert mix["error"] == pytest.approx(float(fit.predict(mix["weights"], 64e6)), abs=1e-12)
    assert mix["error"] <= fit.predict({"top 10 %": 1}, 64e6)


def test_limits_hold_and_are_named(typed: Typed) -> None:
    limits = ("--cap", "web=.3", "--max-epochs", "20", "--min", "chat=.1")
    mix = one(typed, "fit.json", "--budget", "640M", *limits)
    free = one(typed, "fit.json", "--budget", "640M")
    assert mix["weights"]["web"] == 0.3
    assert mix["epochs"]["books"] == pytest.approx(20)
    assert mix["weights"]["chat"] == 0.1
    assert mix["active"] == ["cap of web (0.3)", "max_epochs of books (20)", "minimum of chat (0.1)"]
    assert mix["error"] > free["error"]
    assert free["active"] == []
    text = typed("mix", "fit.json", "--budget", "640M", *limits).out
    assert "active: cap of web (0.3), max_epochs of books (20)" in text


LIMITS: dict[str, dict[str, Any]] = {
    "--cap web=.3,books=.3 --cap code=.5": {"caps": {"web": 0.3, "books": 0.3, "code": 0.5}},
    "--fix code=.25": {"fixed": {"code": 0.25}},
    "--max-epochs web=12,books=15": {"max_epochs": {"web": 12, "books": 15}},
    "--max-epochs 25 --max-epochs web=5": {"max_epochs": {"web": 5, "books": 25, "code": 25, "chat": 25}},
    "--group a=web+books:...6": {"groups": {"a": Group(("web", "books"), 0, 0.6)}},
    "--group a=web:.2...3 --group b=code+chat:0.5..": {
        "groups": {"a": Group(("web",), 0.2, 0.3), "b": Group(("code", "chat"), 0.5, 1)}
    },
    "--cost web=3,books=1.5 --max-cost 0.6B": {"cost": {"web": 3, "books": 1.5}, "max_cost": 600e6},
    "--reference web=.4,chat=.6 --max-l1 .5": {"reference": {"web": 0.4, "chat": 0.6}, "max_l1": 0.5},
    "--reference web=.4,chat=.6 --l1-penalty .1": {"reference": {"web": 0.4, "chat": 0.6}, "l1_penalty": 0.1},
    "--reference web=.4,code=.6 --max-kl .05": {"reference": {"web": 0.4, "code": 0.6}, "max_kl": 0.05},
    "--reference web=.4,code=.6 --kl-penalty .1": {"reference": {"web": 0.4, "code": 0.6}, "kl_penalty": 0.1},
    "--min-pools 3.5": {"min_pools": 3.5},
    "--seen-before web=100M --seed 3": {"seen_before": {"web": 100e6}, "seed": 3},
    "--sizes web=1.28B": {"sizes": {"web": 1.28e9}},
}


@pytest.mark.parametrize("options", LIMITS)
def test_options_reach_the_library(typed: Typed, options: str) -> None:
    mix = one(typed, "fit.json", "--budget", "640M", *options.split())
    assert mix == optimize_mix(fitted(), 640e6, **LIMITS[options]).to_dict()
    assert mix["weights"] != one(typed, "fit.json", "--budget", "640M")["weights"]


def test_several_budgets_are_one_table(typed: Typed) -> None:
    options = ("fit.json", "--budget", "32M,128M,640M", "--max-epochs", "20")
    ran = typed("mix", *options, "--json")
    found = ran.document["mixes"]
    assert [mix["samples_seen"] for mix in found] == [32e6, 128e6, 640e6]
    for mix, budget in zip(found, ("32M", "128M", "640M"), strict=True):
        assert mix == one(typed, "fit.json", "--budget", budget, "--max-epochs", "20")
    text = typed("mix", *options).out
    assert max(map(len, text.splitlines())) <= 80
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("   ") and line.strip()}
    assert rows["128M"][:2] == ["128M", "0.71833"]
    assert rows["128M"][3:] == ["66.7", "6.67", "33.3", "3.33", ".", "."]
    assert rows["640M"][3:] == ["40", "20", "40", "20", "20", "10"]
    assert "active at 640M: max_epochs of web (20), max_epochs of books (20)\n" in text
    assert "not drawn from: chat" in text


def many_pools() -> qqt.Pools:
    return qqt.Pools.of({f"a pool with quite a long name, number {k}": 1e9 for k in range(40)})


@pytest.mark.parametrize("budget", [20.0, 64e6, 1e12, 1e30])
def test_many_pools_with_long_names_fit_80_columns(budget: float) -> None:
    pools = many_pools()
    weights = np.linspace(0, 1, 40) / 20
    mix = Mix(
        law="utility",
        metric="error",
        pools=pools,
        samples_seen=budget,
        weights=weights,
        error=0.5,
        errors={"first": 0.25, "second": 0.25},
        epochs=budget * weights / pools.sizes,
        certificate=Certificate("duality gap", 1e-100, None, "global"),
        active=tuple(f"cap of {name} (0.1)" for name in pools.names),
        runner_ups=(RunnerUp(f"best single pool {pools.names[0]}", {}, 0.6, False),),
        objective=0.6,
        seen_before=None,
        warnings=("extrapolates: " + "far " * 40,),
    )
    local = dataclasses.replace(
        mix, samples_seen=2 * budget, certificate=Certificate("KKT residual", 0.1, None, "local")
    )
    own = {
        "one_percent_more_unique_samples": -1e-9,
        "ten_percent_longer_half_life": -1e-100,
        "unique_sample_in_samples_seen": budget,
        "enters_at": "inf",
    }
    prices = {"one_percent_more_samples_seen": -1e-3, "horizon": 100 * budget, "pools": dict.fromkeys(pools.names, own)}
    texts = [str(mix), mixes_text([mix, local]), prices_text(prices, mix.to_dict())]
    for text in texts:
        assert max(map(len, text.splitlines())) <= 80, text
        assert pools.names[-1][:20] in text
    assert "others" in texts[0]
    assert "rest" in texts[1]
    assert "local optimum: no first-order move gains more than the gap (KKT residual)" in texts[1]
    assert "and 16 more pools" in texts[2]
    assert "never: not up to" in texts[2]


@pytest.mark.slow
def test_many_pools(typed: Typed) -> None:
    pools = many_pools()
    params = qqt.laws.UtilityParams(
        scale=4e6,
        floor=0.1,
        utility=-np.linspace(0.2, 0.19, len(pools)),
        half_life=np.full(len(pools), 4.0),
        reference_size=pools.sizes,
    )
    qqt.save_fit(qqt.FittedLaw(qqt.laws.utility, params, pools), "many.json")
    for options in (("--budget", "1e12"), ("--budget", "1e11,1e12", "--prices"), ("--budget", "1e30")):
        ran = typed("mix", "many.json", *options)
        assert (ran.status, ran.err) == (0, "")
        assert max(map(len, ran.out.splitlines())) <= 80, options


# Several metrics


def test_several_fits_are_summed_by_factors(typed: Typed) -> None:
    laws = {"first": fitted(), "second": fitted("second", **SECOND)}
    mix = one(typed, "fit.json", "second.json", "--budget", "640M", "--metric-weight", "second=2")
    assert mix["errors"] == {
        name: pytest.approx(float(law.predict(mix["weights"], 640e6))) for name, law in laws.items()
    }
    assert mix["error"] == pytest.approx(mix["errors"]["first"] + 2 * mix["errors"]["second"])
    shares = np.random.default_rng(7).dirichlet(np.ones(4), 2000)
    others = laws["first"].predict(shares, 640e6) + 2 * laws["second"].predict(shares, 640e6)
    assert mix["error"] <= others.min()
    assert mix == optimize_mix(laws, 640e6, metric_weights={"second": 2}).to_dict()
    text = typed("mix", "fit.json", "second.json", "--budget", "640M,64M").out
    assert text.count("first 0.") == 2
    assert text.count("second 0.") == 2


def test_the_worst_of_several_fits(typed: Typed) -> None:
    ran = typed("mix", "fit.json", "second.json", "--budget", "640M", "--worst-case", "--json")
    (mix,) = ran.document["mixes"]
    assert mix["error"] == max(mix["errors"].values())
    for name in ("fit.json", "second.json"):
        assert mix["error"] >= one(typed, name, "--budget", "640M")["error"]
    laws = {"first": fitted(), "second": fitted("second", **SECOND)}
    assert ran.document["fits"] == {name: fit_to_dict(law) for name, law in laws.items()}


def test_fits_of_one_metric_are_named_by_their_files(typed: Typed) -> None:
    mix = one(typed, "fit.json", "same.json", "--budget", "640M", "--metric-weight", "same=0")
    assert list(mix["errors"]) == ["fit", "same"]
    alone = one(typed, "fit.json", "--budget", "640M")
    assert mix["weights"] == pytest.approx(alone["weights"], abs=1e-5)
    assert mix["error"] == pytest.approx(alone["error"], abs=1e-11)


# Prices


@pytest.mark.slow
def test_one_mix_for_all_draws_of_two_laws(typed: Typed) -> None:
    def drawn(law: qqt.FittedLaw, count: int, seed: int) -> qqt.laws.UtilityParams:
        steps = np.exp(0.2 * np.random.default_rng(seed).normal(size=(2, count, 1)))
        stacked = {name: np.broadcast_to(each, (count, *np.shape(each))) for name, each in vars(law.params).items()
                   if each is not None}  # fmt: skip
        stacked |= {"utility": stacked["utility"] * steps[0], "half_life": stacked["half_life"] * steps[1]}
        return dataclasses.replace(law.params, **stacked)

    typed.monkeypatch.setattr("qqtjax.laws.draws.draw_params", drawn)
    asked = ("--budget", "128M", "--robust", "cvar", "--level", ".5", "--draws", "4", "--seed", "3")
    found = one(typed, "second.json", "same.json", *asked, "--law-weight", "second=3", "--regret")
    laws = [qqt.load_fit(f"{name}.json") for name in ("second", "same")]
    draws = [Draws(law, drawn(law, 4, 3), "", np.inf, ()) for law in laws]
    again = robust_mix({draws[0]: 3.0, draws[1]: 1.0}, 128e6, CVaR(0.5), regret=True)
    assert list(found["weights"].values()) == again.weights.tolist()
    assert found["error"] == again.error
    assert found["metric"] == "CVaR 0.5 of regret over 8 draws of 2 laws"
    assert found["certificate"]["proof"] == "global"


def test_prices_are_what_more_changes(typed: Typed) -> None:
    prices = one(typed, "fit.json", "--budget", "640M", "--prices")["prices"]
    now = one(typed, "fit.json", "--budget", "640M")["error"]
    more = one(typed, "fit.json", "--budget", "646.4M")["error"] - now
    assert prices["one_percent_more_samples_seen"] == pytest.approx(more, rel=0.02)
    for name in ("web", "books"):
        larger = one(typed, "fit.json", "--budget", "640M", "--sizes", f"{name}=12.928M")["error"] - now
        assert prices["pools"][name]["one_percent_more_unique_samples"] == pytest.approx(larger, rel=0.02)
        half_lives = fitted().params.half_life * np.where(np.array(NAMES) == name, 1.1, 1)
        longer = optimize_mix(fitted(half_life=half_lives), 640e6).error - now
        assert prices["pools"][name]["ten_percent_longer_half_life"] == pytest.approx(longer, rel=0.1)
        worth = prices["pools"][name]["unique_sample_in_samples_seen"]
        assert worth == pytest.approx(larger / 0.128e6 / (more / 6.4e6), rel=0.05)
    chat = prices["pools"]["chat"]
    assert (chat["one_percent_more_unique_samples"], chat["unique_sample_in_samples_seen"]) == (0, 0)
    entry = [prices["pools"][name]["enters_at"] for name in NAMES]
    assert entry == pytest.approx([4e6, 38.4e6, 339.35e6, 1040.5e6], rel=1e-4)


def test_prices_as_a_table(typed: Typed) -> None:
    text = typed("mix", "fit.json", "--budget", "640M", "--prices", "--max-epochs", "12.5").out
    assert max(map(len, text.splitlines())) <= 80
    assert "1 % more samples seen: not within the limits on epochs" in text
    text = typed("mix", "fit.json", "--budget", "64M,640M", "--prices").out
    assert text.count("38.4M") == 2
    assert "\n\n64M samples: what would change" in text
    assert "\n\n640M samples: what would change" in text


# Schedules


def test_a_schedule_comes_close_to_the_best_order(typed: Typed) -> None:
    ran = typed("mix", *PAPER, "--budget", "640M", "--schedule", "16", "--json")
    assert (ran.status, ran.err) == (0, "")
    (found,) = ran.document["schedules"]
    assert "mixes" not in ran.document
    assert 0 <= found["error"] - 0.660457 <= 2e-4
    assert found["best_first_error"] == pytest.approx(0.660457, abs=2e-6)
    assert found["error"] < found["static_error"]
    assert np.shape(found["weights"]) == (16, 4)
    assert np.sum(found["weights"], axis=1) == pytest.approx(np.ones(16))
    assert [note.split(":")[0] for note in ran.document["notes"]] == [
        "schedules are planned with dilution 0",
        "the law was never validated on data whose order was planned",
    ]
    text = typed("mix", *PAPER, "--budget", "640M", "--schedule", "16").out
    assert "The law was never validated on data whose order was planned." in text
    assert "schedules are planned with dilution 0: the law does not say" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_law_without_dilution_needs_no_note(typed: Typed) -> None:
    qqt.save_fit(fitted(dilution=0.0), "undiluted.json")
    options = ("undiluted.json", "--budget", "640M", "--schedule", "16")
    assert "dilution" not in typed("mix", *options).out
    assert len(typed("mix", *options, "--json").document["notes"]) == 1


# Mistakes


MISTAKES = [
    ("", "FIT and --published", "one of them"),
    ("fit.json --published datacomp-tmars --budget 1M", "FIT and --published"),
    ("fit.json", "--budget", "missing", "640M"),
    ("fit.json --budget", "--budget", "requires an argument"),
    ("fit.json --budget=", "--budget", "empty"),
    ("fit.json --budget 0", "--budget", "'0'", "positive"),
    ("fit.json --budget -5M", "--budget", "positive"),
    ("fit.json --budget inf", "--budget", "positive"),
    ("fit.json --budget 1e400", "--budget", "1e400", "too large"),
    ("fit.json --budget 1e31", "budget 1e+31", "up to 1e+30"),
    ("fit.json --budget x", "--budget", "'x'"),
    ("fit.json --budget 1M --robust mean", "first: draws", "no standard errors"),
    ("fit.json --budget 1M --robust most", "--robust", "'most'", "cvar"),
    ("fit.json --budget 1M --draws 8", "--draws", "needs --robust"),
    ("fit.json --budget 1M --robust mean --level .5", "--level", "--robust cvar"),
    ("fit.json --budget 1M --robust cvar --level 1", "--level", "found 1", "below 1"),
    ("fit.json --budget 1M --robust worst --draws 0", "--draws", "found 0", "from 1"),
    ("fit.json --budget 1M --robust worst --prices", "--robust", "--prices"),
    ("nowhere.json --budget 1M", "nowhere.json", "no such file"),
    ("runs.csv --budget 1M", "runs.csv: measured runs", "qqt fit runs.csv -o fit.json"),
    ("wordclip-R --budget 1M", "wordclip-R: measured runs", "qqt fit wordclip-R -o fit.json"),
    (". --budget 1M", "measured runs", "qqt fit . -o fit.json"),
    ("fit.json --law power --budget 1M", "--law", "--published"),
    ("--published nothing --budget 1M", "--published", "datacomp-tmars"),
    ("--published datacomp-tmars --law power --budget 1M", "--law", "effective_data"),
    ("fit.json --budget 1M --cap web=1.4", "--cap of web 1.4", "from 0 to 1"),
    ("fit.json --budget 1M --cap web=x", "--cap: web", "'x'"),
    ("fit.json --budget 1M --cap web", "--cap", "'web'"),
    ("fit.json --budget 1M --cap book=.5", "--cap: unknown pool 'book'", "did you mean 'books'?"),
    ("fit.json --budget 1M --cap web=.5 --cap web=.6", "--cap", "'web' is given twice"),
    ("fit.json --budget 1M --min web=-1", "--min of web -1"),
    ("fit.json --budget 1M --fix cod=.1", "--fix: unknown pool 'cod'", "did you mean 'code'?"),
    ("fit.json --budget 1M --max-epochs 0", "--max-epochs of all pools", "above 0"),
    ("fit.json --budget 1M --max-epochs boks=2", "--max-epochs: unknown pool 'boks'", "did you mean 'books'?"),
    ("fit.json --budget 1M --max-epochs 2 --max-epochs 3", "--max-epochs", "twice"),
    ("fit.json --budget 1M --group a", "--group", "NAME=POOL+POOL:LOW..HIGH"),
    ("fit.json --budget 1M --group a=web+books:.5", "--group a", "LOW..HIGH"),
    ("fit.json --budget 1M --group a=web+books:..", "--group a", "LOW..HIGH"),
    ("fit.json --budget 1M --group a=web+boks:...5", "--group a: unknown pool 'boks'", "did you mean 'books'?"),
    ("fit.json --budget 1M --group a=web+web:...5", "--group a", "twice"),
    ("fit.json --budget 1M --group a=web:.5...4", "--group a", "above"),
    ("fit.json --budget 1M --group a=web:0..x", "--group a", "'x'"),
    ("fit.json --budget 1M --cost web=3", "--cost without --max-cost"),
    ("fit.json --budget 1M --max-cost 3", "--max-cost without --cost"),
    ("fit.json --budget 1M --cost web=-3 --max-cost 1", "--cost of web -3"),
    ("fit.json --budget 1M --reference web=1", "--reference without a distance", "--max-kl"),
    ("fit.json --budget 1M --reference web=.4 --max-kl 1", "--reference", "sum to 0.4"),
    ("fit.json --budget 1M --reference webb=1 --max-kl 1", "--reference: unknown pool 'webb'", "'web'?"),
    ("fit.json --budget 1M --reference nofile.json --max-kl 1", "--reference: nofile.json: no such file"),
    ("fit.json --budget 1M --reference fit.json --max-kl 1", "--reference: fit.json: not a mix"),
    ("fit.json --budget 1M --max-kl 1", "--max-kl without --reference"),
    ("fit.json --budget 1M --reference web=1 --l1-penalty -1", "--l1-penalty -1"),
    ("fit.json --budget 1M --min-pools 5", "--min-pools 5", "at most 4"),
    ("fit.json --budget 1M --sizes wb=5", "--sizes", "did you mean 'web'?"),
    ("fit.json --budget 1M --sizes web=0", "--sizes: web", "positive"),
    ("fit.json --budget 1M --seen-before web=-1", "--seen-before: web", "-1"),
    ("effective.json --budget 1M --seen-before web=1", "--seen-before", "effective_data"),
    ("fit.json --budget 640M --max-epochs 2", "--max-epochs 2 of web", "at most 102.4M of the budget of 640M"),
    ("fit.json --budget 64M,640M --max-epochs 2", "at most 102.4M of the budget of 640M"),
    ("fit.json --budget 1M --cap web=.2,books=.2,code=.2,chat=.2", "cap 0.2 of web", "come to 0.8 or less"),
    ("fit.json --budget 640M --schedule 16 --cap web=.5", "--schedule", "--cap"),
    ("fit.json --budget 640M --schedule 16 --min-pools 2 --prices", "--schedule", "--min-pools, --prices"),
    ("fit.json --budget 640M --schedule 0", "--schedule", "1"),
    ("fit.json --budget 1M --schedule 16", "--schedule", "4M"),
    ("effective.json --budget 640M --schedule 4", "--schedule", "'effective_data'"),
    ("fit.json second.json --budget 640M --schedule 4", "--schedule", "several fits"),
    ("effective.json --budget 640M --prices", "--prices", "'effective_data'"),
    ("fit.json --budget 640M --prices --min-pools 2", "--prices", "more than single pools"),
    ("fit.json second.json --budget 640M --prices", "--prices", "several fits"),
    ("fit.json --budget 640M --worst-case", "--worst-case", "two or more fits"),
    ("fit.json --budget 640M --metric-weight first=1", "--metric-weight", "two or more fits"),
    ("fit.json second.json --budget 1M --metric-weight third=1", "--metric-weight", "'third'", "first, second"),
    ("fit.json second.json --budget 1M --metric-weight first=-1", "--metric-weight", "-1"),
    ("fit.json second.json --budget 1M --metric-weight first=1 --worst-case", "--metric-weight and --worst-case"),
    ("fit.json others.json --budget 1M", "'second'", "same pools"),
    ("fit.json fit.json --budget 1M", "fit.json: given twice"),
    ("fit.json --budget 1M -o nowhere/mix.json", "-o", "nowhere"),
    ("fit.json --budget 1M --bogus", "--bogus", "qqt mix --help"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0])
def test_mistakes_are_one_line(typed: Typed, mistake: tuple[str, ...]) -> None:
    before = sorted(Path.cwd().iterdir())
    only_error(typed("mix", *mistake[0].split()), *mistake[1:])
    assert sorted(Path.cwd().iterdir()) == before


def test_below_the_scale_there_is_a_warning(typed: Typed) -> None:
    said = "2M samples are below the scale of 4M"
    ran = typed("mix", "fit.json", "--budget", "2M", "--json")
    assert ran.status == 0
    assert ran.err.startswith(f"qqt: warning: {said}")
    assert ran.err.count("\n") == 1
    assert any(said in line for line in ran.document["mixes"][0]["warnings"])
    ran = typed("mix", "fit.json", "--budget", "2M,64M")
    assert (ran.out + ran.err).count(said) == 1


# Files


def test_a_mix_is_written_whole_and_loads_again(typed: Typed) -> None:
    options = ("mix", "fit.json", "--budget", "640M", "--max-epochs", "20")
    ran = typed(*options, "-o", "mix.json")
    assert ran.err == "qqt: wrote mix.json\n"
    assert ran.out.startswith("640M samples")
    document = typed(*options, "--json")
    assert Path("mix.json").read_text() == document.out == typed(*options, "-o", "-").out
    assert (document.document["schema"], document.document["schema_version"]) == ("qqtjax.mix", 1)
    assert document.document["fits"] == {"first": fit_to_dict(fitted())}
    weights = load_mix("mix.json")
    assert weights == document.document["mixes"][0]["weights"]
    assert weights == to_plain(dict(zip(NAMES, optimize_mix(fitted(), 640e6, max_epochs=20).weights, strict=True)))


def test_a_fit_on_standard_input(typed: Typed) -> None:
    expected = typed("mix", "fit.json", "--budget", "64M", "--json").out
    assert typed("mix", "-", "--budget", "64M", "--json", stdin=Path("fit.json").read_text()).out == expected


def test_predict_and_reference_take_a_mix(typed: Typed) -> None:
    typed("mix", "fit.json", "--budget", "640M", "-o", "mix.json")
    (mix,) = json.loads(Path("mix.json").read_text())["mixes"]
    predicted = typed("predict", "fit.json", "--weights", "mix.json", "--samples-seen", "640M", "--json").document
    assert predicted["weights"] == pytest.approx(mix["weights"], rel=1e-14)
    assert predicted["predictions"][0]["error"] == pytest.approx(mix["error"], abs=1e-12)
    # Nothing may change: the best mix of another budget is the reference.
    near = one(typed, "fit.json", "--budget", "64M", "--reference", "mix.json", "--max-l1", "0")
    assert near["weights"] == pytest.approx(mix["weights"], abs=1e-9)
    only_error(typed("predict", "fit.json", "--weights", "fit.json", "--samples-seen", "1M"), "--weights: fit.json")


GOOD = {"schema": "qqtjax.mix", "schema_version": 1, "mixes": [{"weights": {"web": 0.25, "books": 0.75}}]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: not JSON"),
        ("\0", "not JSON"),
        ("[1]", "not a mix"),
        (json.dumps({**GOOD, "schema": "qqtjax.fit"}), "not a mix"),
        (json.dumps({**GOOD, "schema_version": 2}), "schema version 2"),
        (json.dumps({**GOOD, "mixes": GOOD["mixes"] * 2}), "mixes of 2 budgets"),
        (json.dumps({**GOOD, "mixes": []}), "damaged"),
        (json.dumps({**GOOD, "mixes": None}), "damaged"),
        (json.dumps({**GOOD, "mixes": [{"weights": [1]}]}), "damaged"),
        (json.dumps({**GOOD, "schedules": [{}]}), "schedule"),
        (json.dumps({**GOOD, "mixes": [{"weights": {}}]}), "sum to 0"),
        (json.dumps({**GOOD, "mixes": [{"weights": {"web": 0.5}}]}), "sum to 0.5"),
        (json.dumps({**GOOD, "mixes": [{"weights": {"web": -1, "books": 2}}]}), "pool 'web': found -1"),
        (json.dumps({**GOOD, "mixes": [{"weights": {"web": "1"}}]}), "pool 'web': found '1'"),
        (json.dumps({**GOOD, "mixes": [{"weights": {"web": True}}]}), "pool 'web': found True"),
        (json.dumps({**GOOD, "mixes": [{"weights": {"web": float("nan")}}]}), "pool 'web': found nan"),
    ],
)
def test_damaged_mixes_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mix.json"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        load_mix(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path, said in ((tmp_path / "binary", "cannot be read"), (tmp_path, "cannot be read"), ("no", "no such file")):
        with pytest.raises(InputError, match=said):
            load_mix(path)
    file = tmp_path / "mix.json"
    file.write_text(json.dumps(GOOD))
    assert load_mix(file) == {"web": 0.25, "books": 0.75}


# The program


def test_help_has_groups_and_examples(typed: Typed) -> None:
    typed.monkeypatch.setenv("COLUMNS", "80")
    ran = typed("mix", "--help")
    assert (ran.status, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    places = [ran.out.index(f"\n{each}:\n") for each in ("Question", "Limits on the weights", "Output", "Examples")]
    assert places == sorted(places)
    assert "text=web+books:0.2..0.6" in ran.out
    assert "  mix " in typed("--help").out


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("caps of caps 2: expected", "--cap of caps 2: expected"),
        ("minimums of a 2: expected", "--min of a 2: expected"),
        ("max_epochs 2 of a: at most", "--max-epochs 2 of a: at most"),
        ("no weights satisfy cap of a (0.1) and max_kl 0.1", "no weights satisfy cap of a (0.1) and --max-kl 0.1"),
        ("reference law 'x': its pools", "reference law 'x': its pools"),
        ("reference: weights sum to 2", "--reference: weights sum to 2"),
        ("pass max_epochs= or so", "pass max_epochs= or so"),
    ],
)
def test_messages_name_the_options_of_a_mix(message: str, expected: str) -> None:
    assert words.as_options(message) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
def test_ctrl_c_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    budgets = ",".join(f"{20 + k}M" for k in range(3000))
    with start(
        "mix", folder / "fit.json", "--budget", budgets, "--min-pools", "2", "-o", tmp_path / "m.json"
    ) as process:
        assert process.stderr is not None
        # On a busy machine the stages before are slow enough for a line of their own.
        while not (line := process.stderr.readline()).startswith("qqt: finding the best mix at "):
            assert line.startswith("qqt: ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("qqt: interrupted\n")
    assert list(tmp_path.iterdir()) == []
