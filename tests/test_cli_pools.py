"""`qqt pools` as a user types it: quantile, flexrand, select, and what they say of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import Ran, Typed, only_error

import qqtjax as qqt
from qqtjax.cli import output
from qqtjax.io.saved import fit_to_dict
from qqtjax.laws import UtilityParams
from qqtjax.pools.flexrand import flexrand
from qqtjax.pools.partition import Partition
from qqtjax.runs import Pools

SAMPLES = 600


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Typed:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(output, "PATIENCE", 1e6)
    return Typed(capsys, monkeypatch)


@pytest.fixture
def table(tmp_path: Path, rng: np.random.Generator) -> pd.DataFrame:
    """Scores of samples, as Parquet, CSV, JSON lines and .npy."""
    found = pd.DataFrame(
        {
            "uid": [f"s{row}" for row in range(SAMPLES)],
            "clip": rng.normal(0.25, 0.05, SAMPLES).round(6),
            "class": rng.integers(0, 3, SAMPLES),
        }
    )
    found.to_parquet(tmp_path / "scores.parquet")
    found.to_csv(tmp_path / "scores.csv", index=False)
    found.to_json(tmp_path / "scores.jsonl", orient="records", lines=True)
    np.save(tmp_path / "scores.npy", found["clip"].to_numpy())
    return found


def made(typed: Typed, *more: str) -> Ran:
    """Pools top20, 20-50 and 50-100 in pools.parquet."""
    ask = ("--column", "clip", "--id", "uid", "--edges", ".2,.5,1", "-o", "pools.parquet")
    return typed("pools", "quantile", "scores.parquet", *ask, *more)


@pytest.mark.usefixtures("table")
def test_the_group_says_what_there_is(typed: Typed) -> None:
    for words in (("pools",), ("pools", "--help")):
        ran = typed(*words)
        assert ran.status == 0
        assert all(name in ran.out for name in ("quantile", "flexrand", "select"))
    only_error(typed("pools", "quantil"), "no such command 'quantil'")


@pytest.mark.parametrize("command", ["quantile", "flexrand", "select"])
def test_help_fits_80_columns_and_has_examples(typed: Typed, command: str) -> None:
    typed.monkeypatch.setenv("COLUMNS", "80")
    ran = typed("pools", command, "--help")
    assert ran.status == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    assert f"  qqt pools {command} " in ran.out
    assert "Output:" in ran.out


def test_quantile_writes_pools_and_a_table_to_fill_in(typed: Typed, table: pd.DataFrame) -> None:
    ran = made(typed, "--table", "runs.csv")
    assert ran.status == 0
    assert "600 samples in 3 pools" in ran.out
    assert ran.err == "qqt: wrote pools.parquet\n"
    written = pd.read_parquet("pools.parquet")
    assert written["sample"].tolist() == table["uid"].tolist()
    assert written["pool"].value_counts().to_dict() == {"top20": 120, "20-50": 180, "50-100": 300}
    best = set(table.sort_values("clip", ascending=False)["uid"].head(120))
    assert set(written["sample"][written["pool"] == "top20"]) == best
    assert pd.read_csv("runs.csv")[["pool", "pool_size"]].to_numpy().tolist() == [
        ["top20", 120], ["20-50", 180], ["50-100", 300],
    ]  # fmt: skip


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("file", ["scores.parquet", "scores.csv", "scores.jsonl", "scores.npy"])
def test_all_formats_give_the_same_pools(typed: Typed, file: str) -> None:
    column = () if file.endswith("npy") else ("--column", "clip")
    ran = typed("pools", "quantile", file, *column, "--edges", ".2,.5", "--json")
    assert ran.status == 0
    document = ran.document
    assert document["schema"] == "qqtjax.partition"
    assert [pool["pool_size"] for pool in document["pools"]] == [120, 180]
    assert document["in_no_pool"] == 300
    values = np.sort(np.load("scores.npy"))[::-1]
    assert document["pools"][0]["lowest"] == pytest.approx(values[119])


def test_scores_come_through_a_pipe(typed: Typed, table: pd.DataFrame) -> None:
    ran = typed("pools", "quantile", "-", "--edges", ".5", "--ascending", "--names", "easy", "--json",
                stdin=table[["clip"]].to_csv(index=False))  # fmt: skip
    assert ran.document["pools"][0]["pool"] == "easy"
    assert ran.document["pools"][0]["highest"] == pytest.approx(np.sort(table["clip"])[299])


MISTAKES = {
    "no edges": (("scores.csv", "--column", "clip"), "--edges: missing"),
    "edges that fall": (("scores.csv", "--column", "clip", "--edges", ".5,.2"), "--edges: edges [0.5, 0.2]: expected"),
    "another count of names": (
        ("scores.csv", "--column", "clip", "--edges", ".5", "--names", "a,b"),
        "--names: 2 names: expected one for each of 1 pools",
    ),
    "no such file": (("none.parquet", "--column", "clip", "--edges", ".5"), "none.parquet: no such file"),
    "no such column": (("scores.parquet", "--column", "clp", "--edges", ".5"), "did you mean 'clip'?"),
    "no such column in text": (("scores.csv", "--column", "clp", "--edges", ".5"), "did you mean 'clip'?"),
    "a choice of columns": (("scores.csv", "--edges", ".5"), "--column: missing, expected one of uid, clip, class"),
    "a column of an array": (
        ("scores.npy", "--column", "clip", "--edges", ".5"),
        "--column: scores.npy has no columns",
    ),
    "NaN": (("nan.csv", "--column", "clip", "--edges", ".5"), "nan.csv, row 2 (line 3), column 'clip': found an empty"),
    "NaN in Parquet": (
        ("nan.parquet", "--column", "clip", "--edges", ".5"),
        "nan.parquet, row 2, column 'clip': found",
    ),
    "NaN in an array": (("nan.npy", "--edges", ".5"), "nan.npy, row 2: found nan, expected a finite number"),
    "a matrix": (("matrix.npy", "--edges", ".5"), "matrix.npy: shape (2, 2) of float64, expected one number a sample"),
    "no array": (("text.npy", "--edges", ".5"), "text.npy: not a .npy file of numbers"),
    "an id twice": (("twice.csv", "--column", "clip", "--id", "uid", "--edges", ".5"), "its id 'a' is given 2 times"),
    "an empty id": (("nan.csv", "--column", "uid", "--id", "clip", "--edges", ".5"), "column 'uid'"),
    "no Parquet": (("text.parquet", "--column", "clip", "--edges", ".5"), "text.parquet: not a Parquet file"),
    "Parquet as text": (("scores.csv", "--column", "clip", "--edges", ".5", "-o", "-"), "-o: found -"),
    "no folder": (("scores.csv", "--column", "clip", "--edges", ".5", "-o", "no/x"), "there is no folder no"),
}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(typed: Typed, tmp_path: Path, name: str) -> None:
    broken = pd.DataFrame({"uid": ["a", "b", "c"], "clip": [0.1, np.nan, 0.3]})
    broken.to_csv(tmp_path / "nan.csv", index=False)
    broken.to_parquet(tmp_path / "nan.parquet")
    np.save(tmp_path / "nan.npy", broken["clip"].to_numpy())
    np.save(tmp_path / "matrix.npy", np.eye(2))
    (tmp_path / "text.npy").write_text("0.1\n")
    (tmp_path / "text.parquet").write_text("clip\n0.1\n")
    (tmp_path / "twice.csv").write_text("uid,clip\na,0.1\na,0.2\n")
    before = sorted(each.name for each in tmp_path.iterdir())
    arguments, message = MISTAKES[name]
    only_error(typed("pools", "quantile", *arguments), message)
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_flexrand_keeps_what_the_library_keeps(typed: Typed, table: pd.DataFrame) -> None:
    ask = ("--column", "clip", "--id", "uid", "--label", "class", "--keep", ".3", "--split", ".75", "--seed", "4")
    ran = typed("pools", "flexrand", "scores.parquet", *ask, "-o", "kept.parquet", "--json")
    assert ran.status == 0
    expected = flexrand(Partition.by_label(table["class"], table["clip"], table["uid"]), 0.3, 0.75, seed=4)
    assert pd.read_parquet("kept.parquet")["sample"].tolist() == expected.ids.tolist()
    assert ran.document["kept"] == 180
    assert [pool["pool"] for pool in ran.document["pools"]] == ["0", "1", "2"]
    first = Path("kept.parquet").read_bytes()
    typed("pools", "flexrand", "scores.csv", *ask, "-o", "again.parquet")
    assert Path("again.parquet").read_bytes() == first
    assert "all" in typed("pools", "flexrand", "scores.npy", "--keep", ".3", "--split", ".5", "--released").out


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keep", ".3"), "--split: missing"),
        (("--split", ".3"), "--keep: missing"),
        (("--keep", "1.3", "--split", ".3"), "--keep, --split: keep 1.3: expected a share from 0 to 1"),
        (("--keep", ".3", "--split", "1"), "split 1: expected a share above 0 and below 1"),
        (("--keep", ".3", "--split", ".5", "--label", "clas"), "did you mean 'class'?"),
    ],
)
def test_flexrand_refuses(typed: Typed, arguments: tuple[str, ...], message: str) -> None:
    only_error(typed("pools", "flexrand", "scores.csv", "--column", "clip", *arguments), message)


def fitted(sizes: dict[str, float]) -> qqt.FittedLaw:
    params = UtilityParams(
        scale=50.0,
        floor=0.05,
        utility=np.array([-0.3, -0.2, -0.1]),
        half_life=np.array([3.0, 4.0, 5.0]),
        reference_size=np.array(list(sizes.values())),
    )
    return qqt.FittedLaw(qqt.laws.utility, params, Pools.of(sizes))


SIZES = {"top20": 120.0, "20-50": 180.0, "50-100": 300.0}


@pytest.fixture
def planned(typed: Typed, table: pd.DataFrame, tmp_path: Path) -> Typed:
    """Pools, and what select reads of a plan at two budgets and of a mix at one."""
    made(typed)
    (tmp_path / "fit.json").write_text(json.dumps(fit_to_dict(fitted(SIZES))))
    mix = recipe("mix", 900.0, {"top20": 0.6, "20-50": 0.4}) | {"samples_seen": 900.0, "sizes": SIZES}
    (tmp_path / "mix.json").write_text(json.dumps({"schema": "qqtjax.mix", "mixes": [mix]}))
    rows = [
        {
            "samples_seen": seen,
            "best": recipe("top20", seen, {"top20": 1.0}),
            "mix": recipe("mix", seen, {"top20": 0.5, "20-50": 0.3, "50-100": 0.2}),
            "options": [recipe("top20", seen, {"top20": 1.0}), recipe("two", seen, {"top20": 0.4, "20-50": 0.6})],
        }
        for seen in (300.0, 3000.0)
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"schema": "qqtjax.plan", "pools": SIZES, "rows": rows}))
    return typed


def recipe(name: str, seen: float, weights: dict[str, float]) -> dict:
    every = {pool: weights.get(pool, 0.0) for pool in SIZES}
    return {"name": name, "weights": every, "samples": {pool: round(share * seen) for pool, share in every.items()}}


def test_select_draws_what_a_plan_trains_on(planned: Typed) -> None:
    draws_the_plan(planned)


@pytest.mark.slow
def test_select_draws_what_a_plan_and_a_mix_that_were_made_train_on(planned: Typed) -> None:
    assert planned("plan", "fit.json", "--budgets", "300,3000", "-o", "plan.json").status == 0
    draws_the_plan(planned)
    assert planned("mix", "fit.json", "--budget", "900", "-o", "mix.json").status == 0
    draws_the_mix(planned)


def draws_the_plan(planned: Typed) -> None:
    plan = json.loads(Path("plan.json").read_text())
    for option, budget in ((None, "300"), ("mix", "3000"), (plan["rows"][0]["options"][1]["name"], "300")):
        ask = ("--budget", budget, *(() if option is None else ("--option", option)))
        ran = planned("pools", "select", "pools.parquet", "--plan", "plan.json", *ask, "-o", "kept.parquet", "--json")
        assert ran.status == 0
        row = next(each for each in plan["rows"] if each["samples_seen"] == float(budget))
        named = {each["name"]: each for each in row["options"]}
        recipe = row["best"] if option is None else row["mix"] if option == "mix" else named[option]
        kept = pd.read_parquet("kept.parquet")
        for pool in ran.document["pools"]:
            seen = recipe["samples"].get(pool["pool"], 0)
            assert pool["kept"] == min(pool["pool_size"], seen)
            assert pool["kept"] * pool["epochs"] == pytest.approx(seen)
            mine = kept[kept["pool"] == pool["pool"]]
            assert len(mine) == pool["kept"]
            assert (mine["epochs"] == pool["epochs"]).all()
        assert (kept["epochs"]).sum() == pytest.approx(float(budget))


def test_select_reads_a_mix_and_a_pipe(planned: Typed) -> None:
    draws_the_mix(planned)


def draws_the_mix(planned: Typed) -> None:
    mix = json.loads(Path("mix.json").read_text())["mixes"][0]
    ran = planned("pools", "select", "pools.parquet", "--plan", "mix.json", "--order", "hardest", "--json")
    piped = planned("pools", "select", "pools.parquet", "--plan", "-", "--order", "hardest", "--json",
                    stdin=Path("mix.json").read_text())  # fmt: skip
    assert piped.document == ran.document
    assert sum(pool["kept"] * pool["epochs"] for pool in ran.document["pools"]) == pytest.approx(900)
    assert [round(pool["kept"] * pool["epochs"]) for pool in ran.document["pools"]] == list(mix["samples"].values())


def test_select_warns_of_pools_of_other_sizes(planned: Typed) -> None:
    planned("pools", "quantile", "scores.csv", "--column", "clip", "--edges", ".1,.5,1", "--names",
            "top20,20-50,50-100", "-o", "other.parquet")  # fmt: skip
    ran = planned("pools", "select", "other.parquet", "--plan", "mix.json")
    assert ran.status == 0
    assert "warning: pool 'top20' has 60 samples, but was planned for with 120" in ran.err


def test_select_keeps_by_rules(typed: Typed, table: pd.DataFrame) -> None:
    made(typed)
    values = table.set_index("uid")["clip"]

    def kept(*ask: str) -> pd.Series:
        assert typed("pools", "select", "pools.parquet", *ask, "-o", "kept.parquet").status == 0
        return pd.read_parquet("kept.parquet")["sample"]

    assert set(kept("--top", ".3")) == set(values.sort_values(ascending=False).index[:180])
    assert set(kept("--at-least", ".28")) == set(values[values >= 0.28].index)
    assert len(kept("--keep", ".3")) == 180
    counts = pd.read_parquet("kept.parquet")["pool"].value_counts().to_dict()
    assert counts == {"top20": 36, "20-50": 54, "50-100": 90}
    kept("--keep", ".3", "--balance", "1")
    assert set(pd.read_parquet("kept.parquet")["pool"].value_counts()) == {60}
    easiest = kept("--counts", "top20=7", "--order", "easiest")
    assert sorted(values[easiest]) == sorted(values.sort_values(ascending=False)[:120])[:7]
    first = kept("--counts", "top20=7,20-50=9", "--seed", "1").tolist()
    assert kept("--counts", "top20=7,20-50=9", "--seed", "1").tolist() == first
    assert kept("--counts", "top20=7,20-50=9", "--seed", "2").tolist() != first


SELECT_MISTAKES = {
    "no rule": ((), "no rule: expected one of --plan, --counts"),
    "two rules": (("--top", ".1", "--keep", ".1"), "--keep, --top: expected one of"),
    "a budget without a plan": (("--top", ".1", "--budget", "3"), "--budget: applies to --plan"),
    "a floor without a share": (("--top", ".1", "--balance", ".3"), "--balance: applies to --keep"),
    "an order of a threshold": (("--top", ".1", "--order", "random"), "--order: --top keeps the highest"),
    "an order": (("--keep", ".1", "--order", "hard"), "--order: found 'hard', expected one of hardest"),
    "too many": (("--counts", "top20=121"), "--counts: pool 'top20': 121 samples to keep"),
    "a part of a sample": (("--counts", "top20=1.5"), "pool 'top20': 1.5 samples to keep"),
    "an unknown pool": (("--counts", "top2=1"), "unknown pool 'top2'"),
    "a share": (("--top", "2"), "--top: share 2: expected a share from 0 to 1"),
    "no plan": (("--plan", "none.json"), "error: none.json: no such file"),
    "no JSON": (("--plan", "scores.csv"), "error: scores.csv: line 1: not JSON"),
    "another JSON": (("--plan", "fit.json"), "error: fit.json: neither a plan nor a mix"),
    "several budgets": (("--plan", "plan.json"), "error: --budget: missing; plan.json has 300, 3k"),
    "another budget": (("--plan", "plan.json", "--budget", "4k"), "--budget: plan.json has no 4k; it has 300, 3k"),
    "another option": (("--plan", "plan.json", "--budget", "300", "--option", "bset"), "did you mean 'best'?"),
    "an option of a mix": (("--plan", "mix.json", "--option", "mix"), "--option: mix.json is a mix"),
    "damaged": (("--plan", "damaged.json"), "error: damaged.json: damaged"),
}


@pytest.mark.parametrize("name", SELECT_MISTAKES)
def test_select_refuses(planned: Typed, name: str) -> None:
    Path("damaged.json").write_text(json.dumps({"schema": "qqtjax.plan"}))
    arguments, message = SELECT_MISTAKES[name]
    only_error(planned("pools", "select", "pools.parquet", *arguments), message)


def test_select_needs_pools(typed: Typed, table: pd.DataFrame) -> None:
    only_error(typed("pools", "select", "scores.parquet", "--top", ".1"), "scores.parquet: not what qqt pools quantile")
    only_error(typed("pools", "select", "none.parquet", "--top", ".1"), "none.parquet: no such file")
