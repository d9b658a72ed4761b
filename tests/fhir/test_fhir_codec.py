"""FHIR JSON in and out: exact decimals, nothing empty, strict by default."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from fhir_samples import sample
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.fhir.r4 import (
    Bundle,
    CodeableConcept,
    Device,
    FhirError,
    Observation,
    OperationOutcome,
    OperationOutcomeIssue,
    OtherResource,
    Quantity,
    format_datetime,
    from_json,
    from_json_as,
    parse_datetime,
    to_json,
)

JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
AROUND_A_VALUE = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":#}}'
PLAUSIBLE = st.decimals(min_value="-1e20", max_value="1e20", allow_nan=False, allow_infinity=False, places=9)


def observation_with(value: Decimal) -> Observation:
    return Observation(status="final", code=CodeableConcept(text="x"), valueQuantity=Quantity(value=value))


@given(st.one_of(PLAUSIBLE, st.builds(Decimal, st.sampled_from(["-0.0", "1E+2", "1E-9", "6.10", "0E-7", "-7E1"]))))
def test_a_decimal_keeps_its_value_through_json_without_exponent(value: Decimal) -> None:
    """A quantity comes back exactly as it was, written as a plain JSON number, never as a negative zero."""
    text = to_json(Quantity(value=value))
    written = text.removeprefix('{"value":').removesuffix("}")
    assert JSON_NUMBER.fullmatch(written)
    assert not re.fullmatch(r"-0(\.0*)?", written)
    again = from_json_as(Observation, to_json(observation_with(value))).valueQuantity
    assert again is not None
    assert value == again.value


def test_trailing_zeros_of_a_decimal_survive() -> None:
    """The precision that a device stated is written and read back."""
    text = to_json(observation_with(Decimal("6.10")))
    assert '"value":6.10}' in text
    found = from_json_as(Observation, text).valueQuantity
    assert found is not None
    assert str(found.value) == "6.10"


@pytest.mark.parametrize("number", ["1e2", "1E+2", "100", "100.0"])
def test_exponents_are_read_but_not_written(number: str) -> None:
    """JSON allows exponents, so that we read them; we write plain digits."""
    text = (
        f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueQuantity":{{"value":{number}}}}}'
    )
    found = from_json_as(Observation, text)
    assert found.valueQuantity is not None
    assert Decimal(100) == found.valueQuantity.value
    assert "e" not in to_json(found).split('"value":')[1].lower()


@pytest.mark.parametrize("value", ['"71"', "true", "NaN", "1e999", "1e-999", "[1]", "Infinity", "1" * 60])
def test_a_quantity_that_is_no_reasonable_number_is_refused(value: str) -> None:
    """Strings, booleans, specials and absurd exponents are not decimals."""
    text = (
        f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueQuantity":{{"value":{value}}}}}'
    )
    with pytest.raises(FhirError):
        from_json(text)


def test_a_float_cannot_be_built_into_a_quantity() -> None:
    """No measured value ever passes through a binary float."""
    with pytest.raises(ValidationError):
        Quantity.model_validate({"value": 6.1})


@pytest.mark.parametrize("name", ["body_mass", "glucose_capillary", "glucose_mean", "gmi"])
def test_a_bundle_survives_the_round_trip(name: str) -> None:
    """Reading what we wrote gives the same resource and the same text."""
    bundle = sample(name)
    text = to_json(bundle)
    assert bundle == from_json(text)
    assert bundle == from_json_as(Bundle, text.encode())
    assert text == to_json(from_json(text))


def test_output_holds_no_null_no_empty_array_and_no_space() -> None:
    """FHIR JSON forbids nulls and empty arrays; ours is compact and keeps accents."""
    text = to_json(sample("glucose_capillary"))
    assert "null" not in text
    assert "[]" not in text
    assert "{}" not in text
    assert '": ' not in text
    assert "glycémie" in text
    assert text.startswith('{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:')


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"x"',
        b"<html>",
        b'{"resourceType":"Bundle"',
        b'{"resourceType":"Bundle"}',
        b'{"type":"transaction"}',
        b'{"resourceType":7}',
        b'{"resourceType":"Bundle","type":"heap"}',
        b'{"resourceType":"Bundle","type":"batch","type":"transaction"}',
        b'{"resourceType":"Bundle","type":"transaction","total":"4"}',
        b'{"resourceType":"Bundle","type":"transaction","entry":{}}',
        b'{"a":' * 100_000,
        b'{"resourceType":"Observation","status":"final","code":{},"effectiveDateTime":"yesterday"}',
        b'{"resourceType":"Observation","status":"finished","code":{}}',
        b'{"resourceType":"Observation","status":"final","code":{"text":""}}',
    ],
)
def test_anything_else_is_a_fhir_error(text: bytes) -> None:
    """What is not a resource of the subset raises FhirError and nothing else, leniently read or not."""
    with pytest.raises(FhirError):
        from_json(text)
    with pytest.raises(FhirError):
        from_json(text, lenient=True)


@given(st.binary(max_size=64) | st.text(max_size=64))
def test_no_text_makes_the_reader_raise_anything_else(text: bytes | str) -> None:
    """Any input is a resource or a FhirError."""
    with contextlib.suppress(FhirError):
        from_json(text)


def test_unknown_elements_are_refused_with_their_path_or_dropped_when_lenient() -> None:
    """A mistyped element cannot be sent; an element that a server added does not stop us from reading."""
    text = to_json(sample("body_mass"))
    odd = text.replace('"status":"final"', '"status":"final","valueSampledDatum":{"x":[71.2]},"_status":{}', 1)
    with pytest.raises(FhirError) as caught:
        from_json(odd)
    assert (caught.value.problems[0][1], len(caught.value.problems)) == ("unknown element", 2)
    assert "71.2" not in str(caught.value)
    assert "valueSampledDatum" in caught.value.problems[0][0]
    assert sample("body_mass") == from_json(odd, lenient=True)


def test_a_missing_element_stays_an_error_when_reading_leniently() -> None:
    """Leniency forgives additions, not gaps."""
    with pytest.raises(FhirError, match="status"):
        from_json('{"resourceType":"Observation","code":{},"odd":1}', lenient=True)


def test_resource_types_outside_the_subset_are_kept_as_they_came() -> None:
    """A bundle may hold anything; the rules, not the reader, say what is not acceptable."""
    text = '{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Basic","n":1.50}}]}'
    bundle = from_json_as(Bundle, text)
    assert isinstance(bundle.entry[0].resource, OtherResource)
    assert text == to_json(bundle)


def test_the_wrong_resource_type_is_a_fhir_error() -> None:
    """Asking for a Bundle never gives something else."""
    with pytest.raises(FhirError, match="expected Bundle"):
        from_json_as(Bundle, '{"resourceType":"Patient"}')


def test_an_outcome_inside_a_response_entry_is_read() -> None:
    """A transaction-response may carry an OperationOutcome per entry."""
    text = (
        '{"resourceType":"Bundle","type":"transaction-response","entry":[{"response":{"status":"422","outcome":'
        '{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"no"}]}}}]}'
    )
    response = from_json_as(Bundle, text).entry[0].response
    assert response is not None
    issue = OperationOutcomeIssue(severity="error", code="invalid", diagnostics="no")
    assert OperationOutcome(issue=(issue,)) == response.outcome


def test_a_resource_cannot_be_changed() -> None:
    """Resources are values."""
    device = Device(manufacturer="A")
    with pytest.raises(ValidationError):
        device.manufacturer = "B"


@given(
    st.datetimes(min_value=datetime(2005, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 (zone added below)
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_a_datetime_keeps_its_instant_with_any_offset(moment: datetime, offset_min: int) -> None:
    """Written with the person's offset, a dateTime is still the same instant, to the second."""
    instant = moment.replace(tzinfo=UTC)
    text = format_datetime(instant, offset_min)
    assert instant.replace(microsecond=0) == parse_datetime(text)
    observation = Observation(status="final", code=CodeableConcept(text="x"), effectiveDateTime=text)
    assert text == observation.effectiveDateTime
    assert (instant + timedelta(minutes=offset_min)).strftime("%Y-%m-%dT%H:%M:%S") == text[:19]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T07:12:05+01:00", datetime(2026, 3, 2, 6, 12, 5, tzinfo=UTC)),
        ("2026-03-02T06:12:05Z", datetime(2026, 3, 2, 6, 12, 5, tzinfo=UTC)),
        ("2026-03-02T06:12:05.123456789Z", datetime(2026, 3, 2, 6, 12, 5, 123456, tzinfo=UTC)),
        ("2026-03-02T06:12:05.5Z", datetime(2026, 3, 2, 6, 12, 5, 500000, tzinfo=UTC)),
        ("2026-03-02", None),
        ("2026-02-30T06:12:05Z", None),
        ("2026-03-02T06:12:05", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
    ],
)
def test_only_full_datetimes_are_instants(text: str, expected: datetime | None) -> None:
    """A partial dateTime is not an instant."""
    assert expected == parse_datetime(text)
