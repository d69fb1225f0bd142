"""Counts as people write them."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qqtjax.errors import InputError
from qqtjax.io.counts import parse_count
from qqtjax.text import show_count

UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("32M", 32e6),
        ("1.28e7", 12.8e6),
        ("0.64B", 640e6),
        (" 12.8 M ", 12.8e6),
        ("5k", 5000.0),
        ("5K", 5000.0),
        ("1G", 1e9),
        (".5T", 5e11),
        ("1e3k", 1e6),
        ("2.", 2.0),
        ("-3", -3.0),
        ("+3", 3.0),
        ("inf", math.inf),
        ("Infinity", math.inf),
        ("-inf", -math.inf),
        (12, 12.0),
        (2.5, 2.5),
    ],
)
def test_known_counts(text, number):
    assert parse_count(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "  ", "M", "32MM", "3 2M", "1,000", "1_000", "nan", "NaN", "e7", "1e", "0x10", "32m", "3%", None],
)
def test_what_is_no_count_is_refused(text):
    with pytest.raises(InputError, match=r"found .*expected"):
        parse_count(text)


@pytest.mark.parametrize("value", [True, math.nan, [1], {}])
def test_values_that_are_no_count_are_refused(value):
    with pytest.raises(InputError, match="expected a number such as 32M"):
        parse_count(value)


def test_a_number_beyond_float_is_refused_rather_than_infinite():
    with pytest.raises(InputError, match="too large"):
        parse_count("1e400")
    with pytest.raises(InputError, match="too large"):
        parse_count("1e300T")


def test_lower_case_m_says_that_m_is_a_million():
    with pytest.raises(InputError, match="M is a million"):
        parse_count("32m")


@given(st.decimals(0, 10**6, places=6, allow_nan=False), st.sampled_from(sorted(UNITS)))
def test_the_float_is_the_nearest_to_what_was_written(digits, suffix):
    assert parse_count(f"{digits:f}{suffix}") == float(Decimal(digits) * UNITS[suffix])


@given(st.floats(allow_nan=False))
def test_every_float_survives_its_own_text(number):
    assert parse_count(repr(number)) == number


@given(st.text(max_size=12))
def test_any_text_gives_a_number_or_an_input_error(text):
    try:
        number = parse_count(text)
    except InputError:
        return
    assert not math.isnan(number)


@pytest.mark.parametrize(
    ("number", "text"), [(12.8e6, "12.8M"), (640e6, "640M"), (1e12, "1T"), (999, "999"), (math.inf, "inf")]
)
def test_counts_in_messages(number, text):
    assert show_count(number) == text
