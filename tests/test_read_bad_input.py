"""Everything that is wrong with a table is named: file, row and line, column, what was expected."""

import re

import pandas as pd
import pytest

import qqtjax.io.files
from qqtjax.errors import InputError, MissingExtraError
from qqtjax.io import read_runs

HEAD = "pool,pool_size,samples_seen,error"
GOOD = ["a,100,50,.9", "a,100,250,.8"]


@pytest.fixture
def refused(tmp_path):
    """The message with which a table is refused, without its folder."""

    def message(content, name="runs.csv", **options):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        with pytest.raises(InputError) as caught:
            read_runs(path, **options)
        text = str(caught.value)
        assert "\n" not in text
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return text.replace(str(tmp_path) + "/", "")

    return message


def lines(*rows, head=HEAD):
    return "\n".join([head, *rows]) + "\n"


WHERE = "runs.csv, row 3 (line 4), column"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a,100,abc,.7",
            f"{WHERE} 'samples_seen': found 'abc', expected a number such as 32M, 1.28e7 or 0.64B",
        ),
        ("a,100,450,oops", f"{WHERE} 'error': found 'oops', expected a number such as 32M, 1.28e7 or 0.64B"),
        ("a,100,450,nan", f"{WHERE} 'error': found 'nan', expected a number such as 32M, 1.28e7 or 0.64B"),
        ("a,x,450,.7", f"{WHERE} 'pool_size': found 'x', expected a number such as 32M, 1.28e7 or 0.64B"),
        ("a,100,450,", f"{WHERE} 'error': found an empty cell or NaN, expected an error rate in (0, 1]"),
        (
            "a,100,,.7",
            f"{WHERE} 'samples_seen': found an empty cell or NaN, expected a positive number of samples",
        ),
        ("a,100,inf,.7", f"{WHERE} 'samples_seen': found inf, expected a positive number of samples"),
        ("a,100,450,inf", f"{WHERE} 'error': found inf, expected an error rate in (0, 1]"),
        ("a,100,450,0", f"{WHERE} 'error': found 0, expected an error rate in (0, 1]"),
        ("a,100,450,-.5", f"{WHERE} 'error': found -0.5, expected an error rate in (0, 1]"),
        ("a,100,450,1.01", f"{WHERE} 'error': found 1.01, expected an error rate in (0, 1]"),
        (
            "a,100,450,70",
            f"{WHERE} 'error': found 70, expected an error rate in (0, 1] (divide percentages by 100)",
        ),
        ("a,100,0,.7", f"{WHERE} 'samples_seen': found 0, expected a positive number of samples"),
        ("a,100,-5,.7", f"{WHERE} 'samples_seen': found -5, expected a positive number of samples"),
        ("b,0,450,.7", f"{WHERE} 'pool_size': found 0, expected a positive number of samples"),
        ("b,-1,450,.7", f"{WHERE} 'pool_size': found -1, expected a positive number of samples"),
        (
            "b,,450,.7",
            f"{WHERE} 'pool_size': found an empty cell or NaN, expected a positive number of samples",
        ),
        ("a,101,450,.7", f"{WHERE} 'pool_size': found 101, expected 100 as in row 1: one size for pool 'a'"),
        (
            ",100,450,.7",
            f"{WHERE} 'pool': found an empty cell or NaN, expected the name of a pool, or weights",
        ),
        (
            "a,100,250,.7",
            f"{WHERE} 'error': found 0.7, expected 0.8 as in row 2: the same run, seed, metric and samples_seen (250)",
        ),
    ],
)
def test_a_bad_cell_is_named(refused, row, message):
    assert refused(lines(*GOOD, row)).startswith(message)


def test_row_and_line_differ_after_a_blank_line_and_a_long_cell(refused):
    text = refused(f'{HEAD}\n\n"a\nb",100,50,.9\n   \na,100,x,.8\na,100,y,.8\n')
    assert text.startswith("runs.csv, row 2 (line 6), column 'samples_seen': found 'x', expected a number")
    assert text.endswith("(and 1 more row like it)")


def test_the_first_of_many_is_named_and_the_rest_counted(refused):
    text = refused(lines(*GOOD, *(f"a,100,{n},2" for n in range(300, 310))))
    assert text.startswith(f"{WHERE} 'error': found 2, ")
    assert text.endswith("(and 9 more rows like it)")


def test_suffixes_elsewhere_do_not_hide_the_culprit(refused):
    text = refused(lines("a,12.8M,1M,.9", "a,12.8M,2M,.8", "a,12.8M,3Q,.7"))
    assert text == f"{WHERE} 'samples_seen': found '3Q', expected a suffix among k, M, B, G and T (M is a million)"


def test_accuracy_of_one_and_loss_of_zero(refused):
    head = HEAD.replace("error", "accuracy")
    assert refused(lines(*GOOD, "a,100,450,1", head=head)).startswith(
        f"{WHERE} 'accuracy': found 1, expected an accuracy in [0, 1)"
    )
    text = refused(lines(*GOOD, "a,100,450,0", head=HEAD.replace("error", "loss")))
    assert text == f"{WHERE} 'loss': found 0, expected a finite loss > 0"


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("seed", "1.5", "found 1.5, expected a whole number"),
        ("eval_size", "0", "found 0, expected a positive number of examples"),
        ("eval_size", "", "found an empty cell or NaN, expected a positive number of examples"),
        ("model_size", "-1", "found -1, expected a positive number of parameters"),
        ("annealed", "maybe", "found 'maybe', expected true or false"),
        ("annealed", "", "found an empty cell or NaN, expected true or false"),
        ("metric", "", "found an empty cell or NaN, expected the name of a metric"),
        ("subsample", "0", "found 0, expected a share in (0, 1]"),
        ("subsample", "1.5", "found 1.5, expected a share in (0, 1]"),
    ],
)
def test_a_bad_optional_cell_is_named(refused, column, cell, expected):
    text = refused(lines(*(f"{row},1" for row in GOOD), f"a,100,450,.7,{cell}", head=f"{HEAD},{column}"))
    assert text == f"{WHERE} {column!r}: {expected}"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (
            "pool,pool_size,sample_seen,error",
            "runs.csv: no column 'samples_seen'; the columns are pool, pool_size, sample_seen, error; "
            "did you mean 'sample_seen'?",
        ),
        (
            "pool,pool_size,samples_seen,errors",
            "runs.csv: no column 'error' (or 'accuracy', or 'loss'); the columns are pool, pool_size, "
            "samples_seen, errors; did you mean 'errors'?",
        ),
        (
            "Pool,pool_size,samples_seen,error",
            "runs.csv: no column 'pool'; the columns are Pool, pool_size, ",
        ),
        ("pool,size,samples_seen,error", "runs.csv: no column 'pool_size'; the columns are pool, size, "),
        ("pool,pool,samples_seen,error", "runs.csv: two columns are named 'pool', expected distinct names"),
    ],
)
def test_a_bad_header_is_named(refused, head, message):
    assert refused(lines(*GOOD, head=head)).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "runs.csv: empty file, expected a table with a header"),
        ("\n \n", "runs.csv: empty file, expected a table with a header"),
        (HEAD + "\n", "runs.csv: a header but no data rows, expected one row a checkpoint"),
        (
            b"\x89PNG\r\n\x1a\n\0\0",
            "runs.csv: binary file (byte 0x00 on line 3), expected CSV or JSON lines in UTF-8",
        ),
        (
            b"pool,error\n\xff,1\n",
            "runs.csv: binary file (byte 0xff on line 2), expected CSV or JSON lines in UTF-8",
        ),
        (
            lines(*GOOD, "a,100,450,.7,5"),
            "runs.csv, row 3 (line 4): found 5 fields, expected 4 as in the header",
        ),
        (lines("a,100,50,.9,5", "a,100,150,.8,5"), "runs.csv, row 1 (line 2): found 5 fields, expected 4"),
        (lines(*GOOD, '"a,100,450,.7'), "runs.csv, row 3 (line 4): a quote that is never closed"),
        ("x" * 200_000, "runs.csv: not a CSV: field larger than field limit (131072)"),
    ],
)
def test_a_file_that_is_no_table(refused, content, message):
    assert refused(content).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"pool": "a"}\n\n{"pool" "b"}\n',
            "runs.jsonl, row 2 (line 3): not JSON (Expecting ':' delimiter), ",
        ),
        ('{"pool": "a"}\n[1]\n', "runs.jsonl, row 2 (line 2): a JSON list, expected one object a line"),
        ('[\n{"pool": "a"}\n]\n', "runs.jsonl, row 1 (line 1): not JSON"),
        (
            '{"pool": "a", "pool_size": 1, "samples_seen": 1, "error": 0.5}\n\n'
            '{"pool": "a", "pool_size": 1, "samples_seen": 2, "error": [1]}\n',
            "runs.jsonl, row 2 (line 3), column 'error': found '[1]', expected a number",
        ),
        (
            '{"pool": "a", "pool_size": 1, "samples_seen": 1, "error": true}\n',
            "runs.jsonl, row 1 (line 1), column 'error': found True, expected a number",
        ),
        (
            '{"pool": "a", "pool_size": 1, "samples_seen": 1, "error": NaN}\n',
            "runs.jsonl, row 1 (line 1), column 'error': found an empty cell or NaN, expected an error rate",
        ),
    ],
)
def test_bad_json_lines(refused, content, message):
    assert refused(content, "runs.jsonl").startswith(message)


def test_bad_parquet(refused):
    assert refused(b"PAR1 but no more", "runs.parquet").startswith("runs.parquet: not a Parquet file: ")
    assert refused(b"", "runs.parquet").startswith("runs.parquet: empty file")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "runs.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'qqtjax[parquet]'")):
        read_runs(tmp_path / "runs.parquet")


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "runs.csv").write_text("x")
    with pytest.raises(InputError, match=r"run\.csv: no such file or folder; did you mean 'runs\.csv'\?"):
        read_runs(tmp_path / "run.csv")
    with pytest.raises(InputError, match=r"no such file or folder$"):
        read_runs(tmp_path / "nowhere" / "run.csv")


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(qqtjax.io.files.Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"runs\.csv: cannot be read: Permission denied"):
        read_runs(tmp_path / "runs.csv")


def test_data_frames_count_rows_from_one():
    table = pd.DataFrame({"pool": "a", "pool_size": 100, "samples_seen": [50, 250], "error": [0.9, 1.8]}, [7, 8])
    with pytest.raises(InputError, match=r"^DataFrame, row 2, column 'error': found 1\.8, expected an error rate"):
        read_runs(table)
    with pytest.raises(InputError, match=r"^DataFrame: no rows"):
        read_runs(table[:0])


def test_what_is_no_source():
    with pytest.raises(InputError, match=r"runs given as int: expected a path, '-' "):
        read_runs(3)
    with pytest.raises(InputError, match=r"format='cvs': expected one of .*did you mean 'csv'"):
        read_runs("runs.csv", format="cvs")
    with pytest.raises(InputError, match="value='err': expected one of error, accuracy, loss"):
        read_runs(pd.DataFrame({"error": [1]}), value="err")


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ({"a": 0}, "pools=, pool 'a': found 0, expected a positive number of samples"),
        ({"a": "x"}, "pools=, pool 'a': found 'x', expected a number"),
        (
            {"a": 101},
            "runs.csv, row 1 (line 2), column 'pool_size': found 100, expected 101 as given by pools=",
        ),
    ],
)
def test_bad_sizes_in_the_argument(refused, pools, message):
    assert refused(lines(*GOOD), pools=pools).startswith(message)


def test_a_pool_without_any_size(refused):
    text = refused("pool,samples_seen,error\na,50,.9\nab,250,.8\n", pools={"a": 100})
    assert text.startswith(
        "runs.csv, row 2 (line 3), column 'pool': pool 'ab' has no size; the pools are a; "
        "did you mean 'a'? (a new pool needs its size: a column 'size_ab' or pools={'ab': samples})"
    )
