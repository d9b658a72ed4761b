from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.devices.passerelle_json import (
    DECODER,
    MAX_RECORDS,
    DeviceStatus,
    Refused,
    decode_reading_message,
    parse_reading_message,
    parse_status_message,
)
from gateway.model import (
    CATALOGUE,
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Meal,
    Metric,
    Provenance,
    QuarantineReason,
    SourceKind,
    TimeQuality,
    Unit,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Decoded

SCALE = DeviceId("scale-1")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
LIVE = Contact(SCALE, PARIS, NOW, SourceKind.MQTT, is_live=True)
PROVENANCE = Provenance(SourceKind.MQTT, DECODER)
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "mqtt-reading.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

MASS = {"metric": "body_mass", "value": 71.35, "unit": "kg"}
WHEN = "2026-03-01T07:12:00+01:00"


def decode(document: object, contact: Contact = LIVE) -> Decoded:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode_reading_message(payload, contact, PROVENANCE, frame=0)


def record(**changes: object) -> dict[str, object]:
    return {"record": "r1", "time": WHEN, "measurements": [MASS], **changes}


def measurement(**changes: object) -> dict[str, object]:
    return record(measurements=[{"metric": "glucose_interstitial", **changes}])


ACCEPTED: dict[str, object] = {
    "the smallest with a record": {"record": "17", "measurements": [MASS]},
    "the smallest with a time": {"time": WHEN, "measurements": [MASS]},
    "schema and device named": record(schema="passerelle.reading/1", device="scale-1"),
    "device clock without a zone": record(time="2026-03-01T07:12:00"),
    "UTC with a fraction": record(time="2026-03-01T06:12:00.123456789Z"),
    "decimal text": measurement(value="104", unit="mg/dL"),
    "exponent": measurement(value="1.04e2", unit="mg/dL"),
    "bound with a limit": measurement(bound="below", limit=40, unit="mg/dL"),
    "bound without a limit": measurement(bound="above"),
    "absent": measurement(absent="untrustworthy"),
    "an epoch": record(epoch=3),
    "an array": [record(), record(record="r2")],
    "a weigh-in": record(
        measurements=[MASS, {"metric": "impedance", "value": 512, "unit": "Ohm"}],
        context={"weigh_in": "w9", "user_index": 1, "note": "après le sport"},
    ),
    "every context field": record(
        context={
            "meal": "fasting",
            "carbohydrate_g": 12.5,
            "carbohydrate_kind": "breakfast",
            "exercise_duration_s": 600,
            "exercise_intensity_percent": 40,
            "medication_kind": "rapid_acting_insulin",
            "medication_mg": 4,
            "medication_ml": "0.04",
            "hba1c_percent": 6.8,
            "tester": "self",
            "health": "minor_issue",
            "sample_type": "capillary_whole_blood",
            "sample_location": "finger",
            "is_control_solution": False,
            "trend_mg_dl_min": -1.5,
            "quality_percent": 88,
            "status": ["sensor_temperature_low", "battery_low"],
            "user_index": 0,
            "weigh_in": "w1",
            "is_device_derived": True,
            "note": "x",
        }
    ),
}

MALFORMED = QuarantineReason.MALFORMED
UNSUPPORTED = QuarantineReason.UNSUPPORTED
IDENTITY = QuarantineReason.IDENTITY_MISMATCH
IMPLAUSIBLE = QuarantineReason.IMPLAUSIBLE

# refused by the shape alone: the schema refuses them too
REFUSED: dict[str, tuple[object, QuarantineReason]] = {
    "a bare number": (71.35, MALFORMED),
    "a string": ("unavailable", MALFORMED),
    "null": (None, MALFORMED),
    "an empty array": ([], MALFORMED),
    "too many records": ([record()] * (MAX_RECORDS + 1), MALFORMED),
    "an array of arrays": ([[record()]], MALFORMED),
    "neither record nor time": ({"measurements": [MASS]}, MALFORMED),
    "no measurement": (record(measurements=[]), MALFORMED),
    "measurements missing": ({"record": "r1"}, MALFORMED),
    "measurements an object": (record(measurements=MASS), MALFORMED),
    "an unknown key": (record(contxt={}), MALFORMED),
    "an unknown key in a measurement": (measurement(value=5, unit="mg/dL", colour="red"), MALFORMED),
    "an unknown key in the context": (record(context={"humeur": "bonne"}), MALFORMED),
    "another schema": (record(schema="passerelle.reading/2"), UNSUPPORTED),
    "a person": (record(person="camille"), IDENTITY),
    "a patient": (record(patient="1234"), IDENTITY),
    "a record with a space": (record(record="r 1"), MALFORMED),
    "a record that is a number": (record(record=17), MALFORMED),
    "a record too long": (record(record="x" * 129), MALFORMED),
    "an empty record": (record(record=""), MALFORMED),
    "a null record": (record(record=None), MALFORMED),
    "a date alone": (record(time="2026-03-01"), MALFORMED),
    "a time without seconds": (record(time="2026-03-01T07:12"), MALFORMED),
    "a space for the T": (record(time="2026-03-01 07:12:00"), MALFORMED),
    "epoch seconds": (record(time=1772345520), MALFORMED),
    "a negative epoch": (record(epoch=-1), MALFORMED),
    "a broken epoch": (record(epoch=1.5), MALFORMED),
    "an unknown metric": (record(measurements=[{"metric": "mood", "value": 1, "unit": "%"}]), UNSUPPORTED),
    "an unknown unit": (measurement(value=5, unit="stone"), UNSUPPORTED),
    "a value without a unit": (measurement(value=5), MALFORMED),
    "a boolean value": (measurement(value=True, unit="mg/dL"), MALFORMED),
    "a null value": (measurement(value=None, unit="mg/dL"), MALFORMED),
    "a decimal comma": (measurement(value="5,6", unit="mmol/L"), MALFORMED),
    "a word for a value": (measurement(value="unknown", unit="mg/dL"), MALFORMED),
    "nan as text": (measurement(value="NaN", unit="mg/dL"), MALFORMED),
    "digits of another script": (measurement(value="١٠٤", unit="mg/dL"), MALFORMED),
    "a value and a bound": (measurement(value=5, bound="below", unit="mg/dL"), MALFORMED),
    "nothing measured": (measurement(unit="mg/dL"), MALFORMED),
    "a limit without a unit": (measurement(bound="below", limit=40), MALFORMED),
    "an absent with a unit": (measurement(absent="reserved", unit="mg/dL"), MALFORMED),
    "an unknown bound": (measurement(bound="LO"), MALFORMED),
    "an unknown absence": (measurement(absent="lost"), MALFORMED),
    "user 255": (record(context={"user_index": 255}), MALFORMED),
    "a control solution by number": (record(context={"is_control_solution": 1}), MALFORMED),
    "a note too long": (record(context={"note": "x" * 201}), MALFORMED),
    "an unknown meal": (record(context={"meal": "goûter"}), MALFORMED),
}

# right in shape, refused for what it says: a schema cannot know
REFUSED_BY_MEANING: dict[str, tuple[object, QuarantineReason]] = {
    "another device": (record(device="scale-2"), IDENTITY),
    "the 30th of February": (record(time="2026-02-30T07:12:00"), MALFORMED),
    "hour 25": (record(time="2026-02-03T25:12:00"), MALFORMED),
    "a metric twice": (record(measurements=[MASS, MASS]), MALFORMED),
    "a value of absurd size": (measurement(value=1e300, unit="mg/dL"), MALFORMED),
    "a value of absurd precision": (measurement(value="104.00000000000000000000001", unit="mg/dL"), MALFORMED),
    "a lone surrogate": (record(context={"note": "\ud800"}), MALFORMED),
    "a NUL": (record(context={"note": "a\x00b"}), MALFORMED),
    "negative glucose": (measurement(value=-5, unit="mg/dL"), IMPLAUSIBLE),
    "glucose of 99999": (measurement(value=99999, unit="mg/dL"), IMPLAUSIBLE),
    "mmol/L called mg/dL": (measurement(value=5.6, unit="mg/dL"), IMPLAUSIBLE),
    "glucose in kilograms": (measurement(value=100, unit="kg"), IMPLAUSIBLE),
    "weight 0": (record(measurements=[{**MASS, "value": 0}]), IMPLAUSIBLE),
}

NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "text": b"unavailable",
    "cut off": json.dumps(record()).encode()[:-3],
    "two documents": b"{} {}",
    "nested 10000 deep": b"[" * 10_000,
    "objects nested 10000 deep": b'{"a":' * 10_000,
    "NaN": b'{"record":"r","measurements":[{"metric":"body_mass","value":NaN,"unit":"kg"}]}',
    "Infinity": b'{"record":"r","measurements":[{"metric":"body_mass","value":-Infinity,"unit":"kg"}]}',
    "a key twice": b'{"record":"r","record":"s","measurements":[{"metric":"body_mass","value":70,"unit":"kg"}]}',
    "a thousand digits": b'{"record":"r","epoch":' + b"9" * 1000 + b"}",
    "UTF-16": json.dumps(record()).encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + json.dumps(record()).encode(),
    "Latin-1": '{"record":"é"}'.encode("latin-1"),
    "NUL bytes": b"\x00" * 64,
}


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_by_decoder_and_schema(document: object) -> None:
    """What the schema calls valid is decoded."""
    decoded = decode(document)
    assert (True, ()) == (bool(decoded.readings), decoded.problems)
    VALIDATOR.validate(document)


@pytest.mark.parametrize(("document", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_decoder_and_schema(document: object, reason: QuarantineReason) -> None:
    """What has the wrong shape gives a reason, and the schema says no as well."""
    decoded = decode(document)
    assert ((), [reason]) == (decoded.readings, [problem.reason for problem in decoded.problems][:1])
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(("document", "reason"), REFUSED_BY_MEANING.values(), ids=REFUSED_BY_MEANING.keys())
def test_refused_for_what_it_says(document: object, reason: QuarantineReason) -> None:
    """What cannot be true gives no reading and is never clipped."""
    decoded = decode(document)
    assert ((), [reason]) == (decoded.readings, [problem.reason for problem in decoded.problems])


@pytest.mark.parametrize("payload", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_not_our_json(payload: bytes) -> None:
    """Bytes that are not strict JSON are malformed, whatever they are."""
    decoded = decode(payload)
    assert ((), [MALFORMED]) == (decoded.readings, [problem.reason for problem in decoded.problems])


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(payload: bytes) -> None:
    """No byte string makes the decoder raise."""
    assert decode(payload).readings == ()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "record": st.just("r1") | JSON_VALUES,
            "time": st.just(WHEN) | JSON_VALUES,
            "epoch": JSON_VALUES,
            "measurements": st.lists(
                st.fixed_dictionaries(
                    {"metric": st.sampled_from([m.value for m in Metric]) | JSON_VALUES},
                    optional={
                        "value": st.decimals(allow_nan=False).map(str) | JSON_VALUES,
                        "unit": st.sampled_from([u.value for u in Unit]) | JSON_VALUES,
                        "bound": st.just("below") | JSON_VALUES,
                        "limit": JSON_VALUES,
                        "absent": JSON_VALUES,
                    },
                ),
                max_size=3,
            ),
            "context": st.dictionaries(st.sampled_from(["meal", "user_index", "note", "status"]), JSON_VALUES),
        },
    )
)
def test_any_json_gives_readings_or_problems(document: dict[str, Any]) -> None:
    """Whatever fills our keys, there is a plausible reading or a problem, never neither and never an exception."""
    decoded = decode(document)
    assert decoded.readings or decoded.problems
    for reading in decoded.readings:
        assert reading.value is None or CATALOGUE[reading.metric].is_plausible(reading.value)


@given(st.decimals(min_value=2, max_value=500, places=3))
def test_numbers_are_exact(mass_kg: Decimal) -> None:
    """A JSON number or text arrives as exactly the decimal that was written."""
    as_number = f'{{"record":"r","measurements":[{{"metric":"body_mass","value":{mass_kg},"unit":"kg"}}]}}'.encode()
    as_text = as_number.replace(str(mass_kg).encode(), f'"{mass_kg}"'.encode())
    assert [str(mass_kg)] * 2 == [str(decode(payload).readings[0].value) for payload in (as_number, as_text)]


def test_values_are_converted_and_the_original_kept() -> None:
    """Pounds become kilograms exactly; what the device sent stays beside it."""
    (reading,) = decode(record(measurements=[{"metric": "body_mass", "value": 157.3, "unit": "lb"}])).readings
    assert (Decimal("157.3") * Decimal("0.45359237"), Decimal("157.3"), Unit.LB) == (
        reading.value,
        reading.original_value,
        reading.original_unit,
    )


def test_an_instant_with_a_zone() -> None:
    """A time with an offset is that instant, with the owner's offset there."""
    (reading,) = decode(record()).readings
    assert (datetime(2026, 3, 1, 6, 12, tzinfo=UTC), 60, TimeQuality.DEVICE, None) == (
        reading.effective_at,
        reading.utc_offset_min,
        reading.time_quality,
        reading.device_time,
    )


def test_a_wall_clock_without_a_zone() -> None:
    """A time without an offset is the device's wall clock in the owner's zone."""
    (reading,) = decode(record(time="2026-02-28T07:12:00")).readings
    assert (datetime(2026, 2, 28, 6, 12, tzinfo=UTC), datetime(2026, 2, 28, 7, 12)) == (  # noqa: DTZ001
        reading.effective_at,
        reading.device_time,
    )


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-03-01T12:25:00Z"])
def test_a_clock_that_cannot_be_right(time: str) -> None:
    """A wrong clock keeps the reading, with an unknown time and the device's own words."""
    (reading,) = decode(record(time=time)).readings
    assert (TimeQuality.UNKNOWN, NOW, datetime.fromisoformat(time).replace(tzinfo=None)) == (
        reading.time_quality,
        reading.effective_at,
        reading.device_time,
    )


def test_no_time_is_now_unless_retained() -> None:
    """Without a time the reception counts, except for a retained message, which is old news."""
    document = {"record": "r1", "measurements": [MASS]}
    retained = Contact(SCALE, PARIS, NOW, SourceKind.MQTT)
    assert [TimeQuality.RECEIVED, TimeQuality.UNKNOWN] == [
        decode(document, contact).readings[0].time_quality for contact in (LIVE, retained)
    ]


def test_the_same_instant_has_the_same_key() -> None:
    """A record without a number is named by its instant, however it is written; the wall clock by itself."""
    keys = [
        parse_reading_message(json.dumps({"time": time, "measurements": [MASS]}).encode(), SCALE).records[0].record_key
        for time in (WHEN, "2026-03-01T06:12:00Z", "2026-03-01T07:12:00")
    ]
    assert ["t2026-03-01T06:12:00Z", "t2026-03-01T06:12:00Z", "t2026-03-01T07:12:00"] == keys


def test_bounds_and_absences() -> None:
    """LO and HI are bounds at the converted limit; a failed measurement is an absence."""
    decoded = decode(
        record(
            measurements=[
                {"metric": "glucose_interstitial", "bound": "below", "limit": 2.2, "unit": "mmol/L"},
                {"metric": "glucose_capillary", "bound": "above"},
                {"metric": "body_mass", "absent": "unsuccessful"},
            ]
        )
    )
    assert [
        (None, Bound(BoundKind.BELOW, Decimal("39.634298")), None),
        (None, Bound(BoundKind.ABOVE), None),
        (None, None, Absent.UNSUCCESSFUL),
    ] == [(reading.value, reading.bound, reading.absent) for reading in decoded.readings]


def test_context_is_taken_over() -> None:
    """The context object arrives field by field."""
    context = {"meal": "fasting", "is_control_solution": True, "status": ["b", "a"], "medication_ml": "0.04"}
    (reading,) = decode(record(context=context)).readings
    assert (
        Context(meal=Meal.FASTING, is_control_solution=True, status=("a", "b"), medication_ml=Decimal("0.04"))
        == reading.context
    )


def test_one_bad_measurement_leaves_its_neighbours() -> None:
    """An implausible impedance does not take the weight with it, and is named without its value."""
    decoded = decode(record(measurements=[MASS, {"metric": "impedance", "value": 77777, "unit": "Ohm"}]))
    assert ([Metric.BODY_MASS], [IMPLAUSIBLE]) == (
        [reading.metric for reading in decoded.readings],
        [problem.reason for problem in decoded.problems],
    )
    assert "77777" not in decoded.problems[0].detail


def test_one_bad_record_leaves_its_neighbours() -> None:
    """In an array only the refused records are lost, and the problem says which."""
    decoded = decode([record(), record(record=5), record(record="r3")])
    assert (["r1", "r3"], True) == (
        [reading.record_key for reading in decoded.readings],
        decoded.problems[0].detail.startswith("record 1: "),
    )


@pytest.mark.parametrize("document", [value for value, _ in REFUSED.values() if isinstance(value, dict)])
def test_problems_quote_nothing(document: dict[str, Any]) -> None:
    """A problem's sentence never repeats what was in the message."""
    secret = "71.35"
    for problem in decode(document).problems:
        assert secret not in problem.detail


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"online", DeviceStatus(is_online=True)),
        (b"offline", DeviceStatus(is_online=False)),
        (b'{"availability":"online","battery_percent":80}', DeviceStatus(is_online=True, battery_percent=80)),
        (b'{"battery_percent":0}', DeviceStatus(battery_percent=0)),
        (
            b'{"manufacturer":"Aut\\u00e9","model":"S1","serial":"9","firmware":"1.2"}',
            DeviceStatus(manufacturer="Auté", model="S1", serial="9", firmware="1.2"),
        ),
    ],
)
def test_status(payload: bytes, expected: DeviceStatus) -> None:
    """A status is a word or an object."""
    assert expected == parse_status_message(payload)


@pytest.mark.parametrize("payload", [b"", b"ONLINE", b"[]", b'{"battery_percent":101}', b'{"mood":1}', b'{"model":""}'])
def test_status_refused(payload: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(Refused):
        parse_status_message(payload)


def test_the_schema_lists_what_the_decoder_knows() -> None:
    """Metrics, units, absences and limits of the schema are those of the program."""
    definitions = SCHEMA["$defs"]
    properties = definitions["measurement"]["properties"]
    assert [metric.value for metric in Metric] == properties["metric"]["enum"]
    assert [unit.value for unit in Unit] == properties["unit"]["enum"]
    assert [absent.value for absent in Absent] == properties["absent"]["enum"]
    assert set(Context.__slots__) == definitions["context"]["properties"].keys()
    assert MAX_RECORDS == SCHEMA["oneOf"][1]["maxItems"]


def test_reading_is_placed_by_the_owners_zone_in_summer() -> None:
    """The offset is the owner's at the instant of measurement, not at reception."""
    contact = Contact(SCALE, PARIS, NOW + timedelta(days=200), SourceKind.MQTT, is_live=True)
    (reading,) = decode(record(time="2026-07-01T06:00:00Z"), contact).readings
    assert 120 == reading.utc_offset_min


@pytest.mark.parametrize("number", ["1e9999999999999999999", '"1e9999999999999999999"', "-1e-99999999999999999"])
def test_a_number_beyond_all_bounds_is_refused(number: str) -> None:
    """An exponent that no arithmetic can hold is refused like any other bad number, in readings and in status."""
    payload = f'{{"record":"1","measurements":[{{"metric":"body_mass","value":{number},"unit":"kg"}}]}}'.encode()
    parsed = parse_reading_message(payload, DeviceId("scale"))
    assert ((), 1) == (parsed.records, len(parsed.problems))
    with pytest.raises(Refused):
        parse_status_message(f'{{"status":"online","battery_percent":{number}}}'.encode())


def test_a_hub_whose_clock_cannot_be_right_does_not_doubt_the_device() -> None:
    """A Pi that boots in 1970 keeps the instant that the device says, and knows nothing of a live one without time."""
    boot = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    contact = Contact(DeviceId("scale"), UTC, boot, SourceKind.MQTT, is_live=True, clock_is_trusted=False)
    provenance = Provenance(SourceKind.MQTT, "mqtt.passerelle")
    measurement = b'"measurements":[{"metric":"body_mass","value":70.5,"unit":"kg"}]'
    for extra, expected in (
        (b'"record":"1","time":"2026-03-02T07:00:00+01:00",', TimeQuality.DEVICE),
        (b'"record":"2",', TimeQuality.UNKNOWN),
    ):
        decoded = decode_reading_message(b"{" + extra + measurement + b"}", contact, provenance)
        assert [expected] == [reading.time_quality for reading in decoded.readings]
