"""Tables as others lay them out: told by their columns or named, with the checks of the tidy form."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from qqtjax.errors import InputError, QQTWarning
from qqtjax.io import read_runs
from qqtjax.io.read import FRESH, LAYOUTS, OPENCLIP, REPEATED, WEIGHTED, layout_of

MIXTURES = """\
index,w_web,w_code,params,tokens,loss_web,code_loss
a,0.75,0.25,1e6,2e6,3.0,4.0
a,0.75,0.25,1e6,4e6,2.5,
b,0.667,0.334,2e6,4e6,2.0,3.5
"""
CHINCHILLA = "C,N,D,loss\n6e15,1e7,1e8,3.5\n6e16,1e8,1e8,3.0\n"
REPEATS = """\
name,params,tokens,unique_tokens,epochs,val_loss,train_set
x,1e8,4e9,1e9,4,3.1,c4
y,1e8,4e9,4e9,1,3.0,c4
z,1e8,4e9,2e9,2,3.3,books
"""
CLIP = """\
run,arch,params_m,dataset,unique_samples,samples_seen,total_samples,imagenet_top1,vtab_acc,lr
p,ViT-B-32,151,LAION-80M,8e7,1e9,3e9,0.4,0.3,1e-3
p,ViT-B-32,151,LAION-80M,8e7,3e9,3e9,0.5,,1e-3
q,ViT-L-14,428,LAION-400M,4e8,3e9,3e9,0.7,0.6,1e-3
"""
RATIOS = "run,name,web,code\nr1,one,0.5,0.5\nr2,two,0.9,0.1\nr3,three,1,0\n"
METRICS = "run,mmlu_bpb,web\nr2,1.2,0.9\nr1,1.1,0.8\n"
ENDLESS = pytest.mark.filterwarnings("ignore:.*taken to never repeat")


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "runs.csv"
        path.write_text(text)
        return read_runs(path, **options)

    return read_text


@pytest.fixture
def pair(tmp_path):
    def write(ratios=RATIOS, metrics=METRICS):
        (tmp_path / "ratios.csv").write_text(ratios)
        (tmp_path / "metrics.csv").write_text(metrics)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("text", "layout"), [(MIXTURES, WEIGHTED), (CHINCHILLA, FRESH), (REPEATS, REPEATED), (CLIP, OPENCLIP)]
)
def test_a_layout_is_told_by_its_columns_and_is_no_other(text, layout):
    columns = text.splitlines()[0].split(",")
    assert [each for each in LAYOUTS if each.matches(columns)] == [layout]
    assert layout_of(pd.DataFrame(columns=columns), layout.name) is layout


@pytest.mark.parametrize(
    "columns",
    [
        ["pool", "pool_size", "samples_seen", "loss"],
        ["pool", "pool_size", "samples_seen", "loss", "model_size", "epochs"],
        ["weights", "samples_seen", "loss", "model_size", "epochs"],
        ["weight_a", "weight_b", "samples_seen", "loss", "model_size"],
        ["Step", "top10 - val/loss", "top20 - val/loss"],
    ],
)
def test_the_tidy_form_and_a_tracker_export_are_none_of_them(columns):
    assert not [layout.name for layout in LAYOUTS if layout.matches(columns)]


def test_mixtures(read):
    runs = read(MIXTURES, pools={"web": 1e6, "code": "2M"})
    assert runs.metric_names == ("loss_web", "code_loss")
    assert runs.error.tolist() == [3.0, 2.5, 2.0, 4.0, 3.5]
    np.testing.assert_allclose(runs.weights[:3], [[0.75, 0.25], [0.75, 0.25], [0.667 / 1.001, 0.334 / 1.001]])
    np.testing.assert_allclose(runs.epochs[1], [3.0, 0.5])
    assert runs.model_size is not None
    assert runs.model_size.tolist() == [1e6, 1e6, 2e6, 1e6, 2e6]
    assert [runs.run_names[run] for run in runs.run] == ["a", "a", "b", "a", "b"]


def test_weights_that_are_rounded_sum_to_one_and_others_are_refused(read):
    sizes = {"web": 1, "code": 1}
    np.testing.assert_allclose(read(MIXTURES, pools=sizes).weights.sum(axis=1), 1, rtol=1e-14)
    with pytest.raises(InputError, match=r"row 3 \(line 4\), column 'w_web \.\.': found 0.667, expected 1, to 1%"):
        read(MIXTURES.replace("0.667,", "0.333,"), pools=sizes)


def test_pools_without_a_size_never_repeat_and_that_is_said(read):
    with pytest.warns(QQTWarning, match="no size of code: taken to never repeat"):
        runs = read(MIXTURES, pools={"web": 1e6})
    assert runs.pools.names == ("web", "code")
    assert runs.pools.sizes.tolist() == [1e6, np.inf]


@ENDLESS
def test_samples_seen_of_mixtures_are_tokens_steps_or_said(read):
    bare = "w1,w2,loss\n.5,.5,3\n1,0,2\n"
    assert read(bare, samples_seen=1e9).samples_seen.tolist() == [1e9, 1e9]
    assert read(bare, samples_seen=1e9).run_names == ("row 1", "row 2")
    stepped = "step,w1,w2,loss\n10,.5,.5,3\n20,1,0,2\n"
    assert read(stepped, samples_per_step=8).samples_seen.tolist() == [80, 160]
    for text, options, message in [
        (bare, {}, "no column of samples seen.*samples_seen="),
        (stepped, {}, "no column of samples seen.*samples_per_step="),
        (MIXTURES, {"samples_seen": 1e9}, "column 'tokens': samples are there"),
        (bare, {"samples_seen": -1.0}, "samples_seen=-1.0: expected a positive"),
    ]:
        with pytest.raises(InputError, match=message):
            read(text, **options)


def test_model_size_samples_and_loss(read):
    with pytest.warns(QQTWarning, match="no size of data"):
        runs = read(CHINCHILLA)
    assert runs.pools.sizes.tolist() == [np.inf]
    assert runs.samples_seen.tolist() == [1e8, 1e8]
    assert runs.model_size is not None
    assert runs.model_size.tolist() == [1e7, 1e8]
    # Without D it is C / (6 N).
    made = read("params,flop,loss\n1e7,6e15,3.5\n1e8,6e16,3.0\n", pools={"c4": "1B"})
    assert made.pools.names == ("c4",)
    assert made.samples_seen.tolist() == [1e8, 1e8]
    assert made.run_names == ("row 1", "row 2")


def test_runs_on_subsets_of_a_pool(read):
    runs = read(REPEATS)
    assert runs.pools.names == ("c4", "books")
    assert runs.pools.sizes.tolist() == [4e9, 2e9]
    assert runs.epochs.max(axis=1).tolist() == [4.0, 1.0, 2.0]
    assert runs.sizes[np.arange(3), [0, 0, 1]].tolist() == [1e9, 4e9, 2e9]
    assert runs.run_names == ("x", "y", "z")
    # Epochs alone say as much.
    assert read(REPEATS.replace("unique_tokens", "spare")).epochs.max(axis=1).tolist() == [4.0, 1.0, 2.0]
    larger = read(REPEATS, pools={"c4": 8e9, "books": 2e9})
    assert larger.pools.sizes.tolist() == [8e9, 2e9]
    assert larger.epochs.max(axis=1).tolist() == [4.0, 1.0, 2.0]


def test_results_of_clip_models(read):
    runs = read(CLIP)
    assert runs.metric_names == ("imagenet_top1", "vtab_acc")
    np.testing.assert_allclose(runs.error, [0.6, 0.5, 0.3, 0.7, 0.4])
    assert runs.pools.names == ("LAION-80M", "LAION-400M")
    assert runs.model_size is not None
    assert runs.model_size.tolist() == [151e6, 151e6, 428e6, 151e6, 428e6]
    assert runs.annealed is not None
    assert runs.annealed.tolist() == [False, True, True, False, True]
    assert read(CLIP, metric="vtab_acc").error.tolist() == pytest.approx([0.7, 0.4])
    bare = "architecture,dataset,samples_seen,acc1\nViT-B-32,web,1e9,.4\n"
    assert read(bare, pools={"web": 1e8}).epochs.tolist() == [[10.0]]
    with pytest.raises(InputError, match="'web' has no size; expected a column unique_samples, or pools="):
        read(bare)
    with pytest.warns(QQTWarning, match="ViT-B-32, ViT-L-14 without model sizes"):
        read(CLIP.replace("params_m", "spare"))


def test_a_pair_of_ratios_and_metrics(pair):
    folder = pair()
    with pytest.warns(QQTWarning, match="1 of 3 runs have no metrics"):
        runs = read_runs(folder, samples_seen=4e6, pools={"web": 1e6, "code": 1e6})
    assert runs.metric_names == ("mmlu_bpb", "web")
    assert runs.error.tolist() == [1.2, 1.1, 0.9, 0.8]
    np.testing.assert_allclose(runs.weights, [[0.9, 0.1], [0.5, 0.5]] * 2)
    np.testing.assert_allclose(runs.epochs[0], [3.6, 0.4])
    assert [runs.run_names[run] for run in runs.run[:2]] == ["r2", "r1"]


@pytest.mark.parametrize(
    ("ratios", "metrics", "message"),
    [
        (
            RATIOS + "r1,four,.5,.5\n",
            METRICS,
            r"ratios.csv, row 4 \(line 5\), column 'run': found 'r1'",
        ),
        (RATIOS, METRICS + "r9,1,1\n", r"metrics.csv, row 3 \(line 4\), column 'run': found 'r9', expected a run of"),
        (
            RATIOS,
            METRICS.replace("1.1", "-1"),
            r"row 2 \(line 3\), column 'mmlu_bpb': found -1, expected",
        ),
        (
            RATIOS.replace("0.9,0.1", "0.9,0.3"),
            METRICS,
            r"ratios.csv, row 2 \(line 3\), column 'web \.\.': found 1.2",
        ),
        (RATIOS.replace("0.9,0.1", "0.9,x"), METRICS, r"ratios.csv, row 2 \(line 3\), column 'code': found 'x'"),
        (RATIOS.replace("run,", "id,"), METRICS, "no column run, run_id or index in both"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*have no metrics")
def test_what_is_wrong_with_a_pair_is_named_in_its_own_file(pair, ratios, metrics, message):
    with pytest.raises(InputError, match=message):
        read_runs(pair(ratios, metrics), samples_seen=4e6, pools={"web": 1e6, "code": 1e6})


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            CHINCHILLA.replace("3.0", "-3"),
            {},
            r"runs.csv, row 2 \(line 3\), column 'loss': found -3",
        ),
        (CHINCHILLA.replace("1e7", "many"), {}, r"row 1 \(line 2\), column 'N': found 'many'"),
        (CHINCHILLA, {"pools": {"a": 1, "b": 1}}, "pools= has 2 pools, expected one"),
        (CHINCHILLA, {"format": "regmix"}, r"no columns of weights \(w_<pool>\)"),
        (CHINCHILLA, {"format": "openclip"}, "expected architecture, dataset, samples_seen and top-1"),
        (CHINCHILLA, {"format": "datablations"}, "expected tokens, unique_tokens"),
        (REPEATS.replace("tokens", "words"), {"format": "chinchilla"}, "expected model size"),
        (CHINCHILLA, {"format": "chinchila"}, "did you mean 'chinchilla'"),
        (CHINCHILLA, {"samples_per_step": 8}, "samples_per_step= does not apply"),
        (CHINCHILLA, {"metric": "los"}, "none of los was measured; there are loss.*did you mean 'loss'"),
        (
            REPEATS.replace("1e9,4,", "1e9,5,"),
            {},
            r"row 1 \(line 2\), column 'epochs': found 5, expected",
        ),
        (
            REPEATS,
            {"pools": {"c4": 2e9, "books": 2e9}},
            r"row 2 \(line 3\), column 'unique_tokens': found 4e\+09, expected",
        ),
        (
            REPEATS.replace("1e9", "0"),
            {},
            r"row 1 \(line 2\), column 'unique_tokens': found 0, expected",
        ),
        (CLIP.replace("0.5,", "50,"), {}, r"row 2 \(line 3\), column 'imagenet_top1': found 50, .*divide percentages"),
        (MIXTURES.replace("0.25,1e6,2e6", "-0.25,1e6,2e6"), {}, r"row 1 \(line 2\), column 'w_code': found -0.25"),
    ],
)
@ENDLESS
def test_what_is_wrong_is_named_by_row_and_by_the_column_of_the_table(read, text, options, message):
    with pytest.raises(InputError, match=message):
        read(text, **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*(without model sizes|taken to never repeat)")
def test_every_public_table_is_read(data_folder):
    """Rows, pools and metrics as `data/README.md` counts them."""
    for name, rows, pools, metrics in [
        ("chinchilla/runs.csv", 245, 1, 1),
        ("overtraining/runs.csv", 34, 1, 8),
        ("datablations/final_runs.csv", 255, 1, 1),
        ("openclip/final_runs.csv", 18, 3, 4),
        ("mixinglaws/2Mix.csv", 110, 2, 2),
        ("regmix/train_1m.csv", 512, 17, 13),
        ("regmix/test_1m.csv", 256, 17, 13),
    ]:
        runs = read_runs(data_folder / name, samples_seen=1e9 if name.startswith("regmix") else None)
        assert (len(runs), len(runs.pools), len(runs.metric_names)) == (rows * metrics, pools, metrics), name
    # Seven points stand twice; some losses are missing.
    assert len(read_runs(data_folder / "datablations" / "val_curves.csv")) == 2791 - 7
    assert len(read_runs(data_folder / "openclip" / "learning_curves.csv")) == 2 * 926 - 32
    assert len(read_runs(data_folder / "mixinglaws" / "3Mix.csv")) == 3 * 1088 - 28 - 9
    assert len(read_runs(data_folder / "slimpajama" / "mixture_runs.csv")) == 8 * 1665 - 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        final = read_runs(data_folder / "datablations" / "final_runs.csv")
    table = pd.read_csv(data_folder / "datablations" / "final_runs.csv")
    np.testing.assert_allclose(final.epochs[:, 0], table["epochs"], rtol=1e-6)
