"""Words and numbers in two languages."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import DepartureState, DeviceKind, Meal, Unit
from gateway.web import texts
from gateway.web.texts import LANGUAGES, Texts, choose_language

FR, EN = Texts("fr"), Texts("en")
TEMPLATES = Path(texts.__file__).parent / "templates"


@pytest.mark.parametrize(
    ("value", "decimals", "french", "english"),
    [
        ("70.45", 1, "70,4", "70.4"),
        ("70.55", 1, "70,6", "70.6"),
        ("70.5", 2, "70,50", "70.50"),
        ("5.5000", 1, "5,5", "5.5"),
        ("119.5", 0, "120", "120"),
        ("120.5", 0, "120", "120"),
        ("0.04", 1, "0,0", "0.0"),
        ("1234.5", 1, "1234,5", "1234.5"),
    ],
)
def test_numbers(value: str, decimals: int, french: str, english: str) -> None:
    """Rounded half to even, with the language's decimal sign and exactly the decimals asked for."""
    assert [french, english] == [text.number(Decimal(value), decimals) for text in (FR, EN)]


@pytest.mark.parametrize(
    ("value", "french", "english"),
    [("0.34", "+0,3", "+0.3"), ("-0.36", "−0,4", "−0.4"), ("0.04", "0,0", "0.0"), ("-0.04", "0,0", "0.0")],
)
def test_signed_numbers(value: str, french: str, english: str) -> None:
    """A change has a true minus sign or a plus; what rounds to nothing has neither."""
    assert [french, english] == [text.signed(Decimal(value), 1) for text in (FR, EN)]


@pytest.mark.parametrize(
    ("value", "french"),
    [
        (None, "–"),
        ("0", "0 %"),
        ("0.01", "<0,1 %"),
        ("0.05", "<0,1 %"),
        ("0.1", "0,1 %"),
        ("9.94", "9,9 %"),
        ("9.97", "10 %"),
        ("10", "10 %"),
        ("69.4", "69 %"),
        ("100", "100 %"),
    ],
)
def test_percents(value: str | None, french: str) -> None:
    """Whole, one decimal below ten, a trace is never shown as nothing, unknown is a dash."""
    shown = FR.percent(None if value is None else Decimal(value))
    assert french == shown.replace("\u202f", " ")
    assert french.replace(",", ".") == EN.percent(None if value is None else Decimal(value)).replace("\u00a0", " ")


def test_a_figure_read_against_a_minimum_is_not_rounded_up() -> None:
    """69.97 % of sensor time is not 70 %."""
    assert ["70 %", "69 %"] == [
        EN.percent(Decimal("69.97"), is_floored=floored).replace("\u00a0", " ") for floored in (False, True)
    ]


@pytest.mark.parametrize(
    ("unit", "french", "english"),
    [(Unit.MG_DL, "100", "100"), (Unit.MMOL_L, "5,6", "5.6"), (Unit.G_L, "1,00", "1.00")],
)
def test_glucose(unit: Unit, french: str, english: str) -> None:
    """mg/dL whole, mmol/L with one decimal, g/L with two."""
    assert [french, english] == [text.glucose(Decimal(100), unit) for text in (FR, EN)]


@given(st.decimals("0.6", "55.5", places=1))
def test_a_value_in_mmol_is_shown_as_it_was_measured(value: Decimal) -> None:
    """What a meter showed in mmol/L is what the page shows, after the way through the canonical unit."""
    assert str(value) == EN.glucose(value * Decimal("18.01559"), Unit.MMOL_L)


@pytest.mark.parametrize(
    ("age", "french", "english"),
    [
        (timedelta(seconds=-5), "à l'instant", "just now"),
        (timedelta(seconds=59), "à l'instant", "just now"),
        (timedelta(minutes=1), "il y a 1 min", "1 min ago"),
        (timedelta(minutes=59, seconds=59), "il y a 59 min", "59 min ago"),
        (timedelta(hours=1), "il y a 1 h", "1 h ago"),
        (timedelta(hours=47), "il y a 47 h", "47 h ago"),
        (timedelta(hours=48), "il y a 2 jours", "2 days ago"),
    ],
)
def test_ages(age: timedelta, french: str, english: str) -> None:
    """How long ago, in the largest unit that still says something."""
    assert [french, english] == [text.ago(age) for text in (FR, EN)]


def test_dates() -> None:
    """Short dates and the 24-hour clock, without help from the machine's locale."""
    assert ["1 mars", "1 Mar"] == [text.day(date(2026, 3, 1)) for text in (FR, EN)]
    assert ["17:05", "17:05"] == [text.clock(datetime(2026, 3, 1, 17, 5)) for text in (FR, EN)]  # noqa: DTZ001
    assert 12 == len({FR.day(date(2026, month, 1)) for month in range(1, 13)})


@pytest.mark.parametrize("language", LANGUAGES)
def test_everything_has_words(language: str) -> None:
    """Every meal mark, kind of device and state of a departure has words of its own in both languages."""
    text = Texts(language)
    for words in (
        [text.meal(meal) for meal in Meal],
        [text.kind(kind) for kind in DeviceKind],
        [text.state(state) for state in DepartureState],
    ):
        assert all(words)
        assert len(words) == len(set(words))
    for kind in ("body_mass", "glucose_capillary", "glucose_mean_14d", "gmi_14d"):
        assert "_" not in text.sent_kind(kind)
    assert "glucose mean 90d" == text.sent_kind("glucose_mean_90d")


def test_the_templates_use_words_that_exist() -> None:
    """No sentence is missing, in either language, and none is left over from an older page."""
    source = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    used = set(re.findall(r"\bt\('([a-z_]+)'\)", source))
    for name in used:
        assert all(Texts(language)(name) for language in LANGUAGES), name


@pytest.mark.parametrize(
    ("wish", "accept", "expected"),
    [
        (None, "", "fr"),
        ("en", "fr", "en"),
        ("de", "en", "en"),
        (None, "EN-us", "en"),
        (None, "de-DE,en;q=0.3", "en"),
        (None, ";;,,x", "fr"),
    ],
)
def test_choosing_a_language(wish: str | None, accept: str, expected: str) -> None:
    """A wish, else the browser's first known language, else the house's."""
    assert expected == choose_language(wish, accept, "fr")


@given(st.none() | st.text(), st.text())
def test_any_wish_ends_in_a_language(wish: str | None, accept: str) -> None:
    """Whatever a browser says, the page has a language."""
    assert choose_language(wish, accept, "fr") in LANGUAGES


@pytest.mark.parametrize(("value", "french"), [("69.250", "69,25"), ("126", "126"), ("120", "120"), ("6.0", "6")])
def test_exact_values(value: str, french: str) -> None:
    """What was sent is shown with all its digits, without zeros that say nothing."""
    assert [french, french.replace(",", ".")] == [text.exact(Decimal(value)) for text in (FR, EN)]
