from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.nightscout import (
    DECODER,
    ParsedEntry,
    arrow_of,
    changes,
    delta_between,
    direction_between,
    entry_of,
    entry_v3_of,
    given_identifier,
    id_of,
    instant_of_id,
    is_entry,
    parse_entries,
    record_identifier,
)
from gateway.devices.passerelle_fields import strict_json
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Metric,
    Provenance,
    QuarantineReason,
    Reading,
    SourceKind,
    StoredReading,
    TimeQuality,
    Unit,
)
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, readings_of

PHONE = DeviceId("phone-1")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONTACT = Contact(PHONE, ZoneInfo("Europe/Paris"), NOW, SourceKind.HTTP)
PROVENANCE = Provenance(SourceKind.HTTP, DECODER)
MS = 1772362558581  # 2026-03-01T10:55:58.581Z

# the fields that xDrip+'s uploader writes (NightscoutUploader.populateV1APIBGEntry)
XDRIP = {
    "device": "xDrip-DexcomG5",
    "date": MS,
    "dateString": "2026-03-01T11:55:58.581+0100",
    "sgv": 113,
    "delta": -1.5,
    "direction": "FortyFiveDown",
    "type": "sgv",
    "filtered": 0,
    "unfiltered": 0,
    "rssi": 100,
    "noise": 1,
    "sysTime": "2026-03-01T11:55:58.581+0100",
}


def parse(document: object) -> tuple[ParsedEntry, ...]:
    return parse_entries(strict_json(simplejson.dumps(document, use_decimal=True).encode()))


def reading_of(document: object) -> Reading:
    (entry,) = parse(document)
    assert entry.record is not None, entry.problem
    (reading,) = readings_of(Parsed((entry.record,)), CONTACT, PROVENANCE).readings
    return reading


def stored(reading: Reading) -> StoredReading:
    return StoredReading(reading, None, 1, None)


def reason_of(document: object) -> QuarantineReason:
    (entry,) = parse(document)
    assert entry.problem is not None
    assert entry.record is None
    return entry.problem.reason


def test_an_upload_of_xdrip_becomes_a_reading() -> None:
    """Value, instant, arrow, noise and program are what the phone said."""
    reading = reading_of(XDRIP)
    assert reading.metric is Metric.GLUCOSE_INTERSTITIAL
    assert (reading.value, reading.original_unit) == (Decimal(113), Unit.MG_DL)
    assert reading.effective_at == datetime(2026, 3, 1, 10, 55, 58, 581000, tzinfo=UTC)
    assert reading.utc_offset_min == 60
    assert reading.context == Context(trend_arrow="FortyFiveDown", noise_level=1, recorded_by="xDrip-DexcomG5")


def test_a_follower_reads_what_nightscout_would_tell() -> None:
    """The v1 document holds the fields that followers ask for, with the times in UTC."""
    document = entry_of(stored(reading_of(XDRIP)))
    assert {
        "_id": document["_id"],
        "type": "sgv",
        "sgv": 113,
        "date": MS,
        "dateString": "2026-03-01T10:55:58.581Z",
        "sysTime": "2026-03-01T10:55:58.581Z",
        "utcOffset": 60,
        "device": "xDrip-DexcomG5",
        "direction": "FortyFiveDown",
        "noise": 1,
    } == document
    assert len(str(document["_id"])) == 24


def test_v3_tells_name_and_reception() -> None:
    """A v3 document has no `_id`; an entry without a name is called by its `_id`, one with a name by that."""
    unnamed, named = stored(reading_of(XDRIP)), stored(reading_of({**XDRIP, "identifier": "abc-1"}))
    document = entry_v3_of(unnamed)
    assert "_id" not in document
    assert document["identifier"] == entry_of(unnamed)["_id"]
    assert document["isValid"] is True
    assert document["srvModified"] == document["srvCreated"] == int(NOW.timestamp() * 1000)
    assert entry_v3_of(named)["identifier"] == entry_of(named)["identifier"] == "abc-1"


def test_a_name_leads_back_in_time() -> None:
    """The `_id` holds the second of its entry; other texts do not."""
    assert instant_of_id(id_of(reading_of(XDRIP))) == datetime(2026, 3, 1, 10, 55, 58, tzinfo=UTC)
    assert instant_of_id("abc") is None
    assert instant_of_id("A" * 24) is None


@pytest.mark.parametrize(
    "again",
    [
        {**XDRIP, "date": str(MS)},
        {**XDRIP, "date": MS + 300, "direction": "Flat"},
        {"sgv": 113, "dateString": "2026-03-01T10:55:58.000Z"},
        {"sgv": "113", "sysTime": "2026-03-01T05:55:58-05:00", "_id": "65f1c0ffee65f1c0ffee65f1"},
        {**XDRIP, "app": "AAPS", "utcOffset": 0, "isValid": True},
    ],
    ids=["text", "milliseconds", "dateString", "sysTime", "v3"],
)
def test_one_entry_has_one_name(again: dict[str, object]) -> None:
    """However an entry without a name of its own comes, it is the same record: type and second."""
    assert reading_of(XDRIP).key == reading_of(again).key


def test_a_name_that_we_gave_is_the_record_we_named() -> None:
    """A client that repeats an entry with the identifier of our answer does not make another one of it."""
    first = reading_of(XDRIP)
    assert reading_of({**XDRIP, "identifier": record_identifier(first)}).key == first.key


def test_a_given_identifier_names_the_record() -> None:
    """A v3 identifier, or the UUID that Trio and Loop put into `_id`, is the name, also when the instant changes."""
    uuid = "a5b5f34c-95a3-5bcf-b0c1-92a0c7dcbf6f"
    first = reading_of({**XDRIP, "identifier": uuid})
    assert given_identifier(first.record_key) == uuid
    assert reading_of({**XDRIP, "_id": uuid, "date": MS + 60_000}).key == first.key
    assert reading_of(XDRIP).key != first.key


def test_a_finger_stick_is_capillary() -> None:
    """`mbg` is a meter's value; it has no arrow and no codes of a sensor."""
    reading = reading_of({"mbg": 39, "date": MS, "device": "meter"})
    assert (reading.metric, reading.value) == (Metric.GLUCOSE_CAPILLARY, Decimal(39))
    document = entry_of(stored(reading))
    assert (document["type"], document["mbg"]) == ("mbg", 39)
    assert "direction" not in document
    assert "sgv" not in document


@pytest.mark.parametrize(
    ("sgv", "bound"),
    [(39, Bound(BoundKind.BELOW, Decimal(40))), (401, Bound(BoundKind.ABOVE, Decimal(400)))],
)
def test_lo_and_hi_are_bounds_on_both_ways(sgv: int, bound: Bound) -> None:
    """Dexcom's 39 and 401 are no numbers to average; followers get the same 39 and 401 back."""
    reading = reading_of({**XDRIP, "sgv": sgv})
    assert reading.bound == bound
    assert reading.value is None
    assert entry_of(stored(reading))["sgv"] == sgv


@pytest.mark.parametrize("code", [0, 1, 5, 9, 10, 12])
def test_a_code_of_the_sensor_is_no_glucose(code: int) -> None:
    """Below 13 a sensor speaks of itself; it is kept, never a value, and followers see the same code."""
    reading = reading_of({**XDRIP, "sgv": code})
    assert reading.absent is Absent.UNTRUSTWORTHY
    assert reading.context.status == (f"sensor_code_{code}",)
    assert is_entry(reading)
    assert entry_of(stored(reading))["sgv"] == code


def test_the_error_marker_of_xdrip_is_no_glucose() -> None:
    """38 is xDrip's marker of an error; from another program it is a number."""
    assert reading_of({**XDRIP, "sgv": 38}).absent is Absent.UNTRUSTWORTHY
    assert reading_of({**XDRIP, "sgv": 38, "device": "Juggluco"}).value == Decimal(38)


def test_a_calibration_is_understood_and_not_kept() -> None:
    """`cal` entries, and untyped ones with a slope, are no problem and no reading."""
    said = parse([{"type": "cal", "date": MS, "slope": 900, "intercept": 1, "scale": 1}, {"slope": 1, "date": MS}])
    assert [(None, None, True)] * 2 == [(entry.record, entry.problem, entry.is_ignored) for entry in said]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (7, QuarantineReason.MALFORMED),
        ({}, QuarantineReason.MALFORMED),
        ({"type": "rawbg", "date": MS, "sgv": 100}, QuarantineReason.UNSUPPORTED),
        ({"type": 3, "date": MS, "sgv": 100}, QuarantineReason.MALFORMED),
        ({"type": "sgv", "date": MS, "mbg": 100}, QuarantineReason.MALFORMED),
        ({**XDRIP, "date": MS // 1000}, QuarantineReason.MALFORMED),
        ({**XDRIP, "date": "yesterday"}, QuarantineReason.MALFORMED),
        ({**XDRIP, "date": -MS}, QuarantineReason.MALFORMED),
        ({"sgv": 100}, QuarantineReason.MALFORMED),
        ({"sgv": 100, "dateString": "2026-03-01T10:55:58"}, QuarantineReason.MALFORMED),
        ({"sgv": 100, "dateString": "2026-02-30T10:55:58Z"}, QuarantineReason.MALFORMED),
        ({**XDRIP, "sgv": 5.5}, QuarantineReason.IMPLAUSIBLE),
        ({**XDRIP, "sgv": -1}, QuarantineReason.IMPLAUSIBLE),
        ({**XDRIP, "sgv": "nan"}, QuarantineReason.MALFORMED),
        ({**XDRIP, "sgv": "5,5"}, QuarantineReason.MALFORMED),
        ({**XDRIP, "sgv": True}, QuarantineReason.MALFORMED),
        ({**XDRIP, "units": "mmol/L"}, QuarantineReason.UNSUPPORTED),
        ({**XDRIP, "identifier": "two words"}, QuarantineReason.MALFORMED),
        ({**XDRIP, "identifier": 5}, QuarantineReason.MALFORMED),
    ],
)
def test_what_cannot_be_a_reading_is_set_aside(document: object, reason: QuarantineReason) -> None:
    """Seconds for milliseconds, no zone, mmol/L, broken numbers: a reason, and no guess."""
    assert reason_of(document) is reason


def test_one_bad_entry_takes_no_other_with_it() -> None:
    """An array gives one answer per element, in order, and no value stands in a sentence."""
    said = parse([XDRIP, {**XDRIP, "sgv": 4321.5, "date": "x"}, {"type": "cal", "date": MS}])
    assert [0, 1, 2] == [entry.index for entry in said]
    assert [True, False, False] == [entry.record is not None for entry in said]
    assert said[1].problem is not None
    assert "4321" not in said[1].problem.detail


def test_a_deleted_entry_is_withdrawn() -> None:
    """v3 marks a deleted document `isValid: false`: the same record, taken back; followers see no value."""
    reading = reading_of({**XDRIP, "isValid": False})
    assert reading.key == reading_of(XDRIP).key
    assert reading.absent is Absent.WITHDRAWN
    assert not is_entry(reading)
    document = entry_v3_of(stored(reading))
    assert document["isValid"] is False
    assert "sgv" not in document


def test_what_stands_around_a_value_never_keeps_it_out() -> None:
    """Odd directions, noise levels and device names are dropped or cut; the glucose stays."""
    odd = {**XDRIP, "direction": 9, "noise": 77, "device": "x" * 90 + "\n", "trend": 4}
    assert reading_of(odd).context == Context(trend_arrow="Flat", recorded_by="x" * 64)


def test_other_readings_of_a_person_are_told_too() -> None:
    """A sensor over Bluetooth: whole mg/dL, an arrow from its rate, a name made of its whole identity."""
    base = reading_of(XDRIP)
    own = replace(
        base,
        device_id=DeviceId("cgm-1"),
        record_key="12",
        value=Decimal("109.895099"),
        original_value=Decimal("6.1"),
        original_unit=Unit.MMOL_L,
        context=Context(trend_mg_dl_min=Decimal("-2.5")),
    )
    document = entry_of(stored(own))
    assert (document["sgv"], document["direction"], document["device"]) == (110, "SingleDown", "cgm-1")
    assert id_of(own) != id_of(replace(own, device_id=DeviceId("cgm-2")))
    with pytest.raises(ValueError, match="no place"):
        entry_of(stored(replace(own, metric=Metric.BODY_MASS)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"time_quality": TimeQuality.UNKNOWN}, False),
        ({"context": Context(is_control_solution=True)}, False),
        ({"value": None, "absent": Absent.NOT_A_NUMBER}, False),
        ({"value": None, "bound": Bound(BoundKind.BELOW)}, True),
        ({}, True),
    ],
)
def test_followers_are_told_of_results_alone(change: dict[str, object], expected: bool) -> None:
    """No control solution, nothing without a time, nothing without a statement."""
    assert is_entry(replace(reading_of(XDRIP), **change)) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rate", "word"),
    [
        (None, "NONE"),
        ("0", "Flat"),
        ("1", "Flat"),
        ("-1.1", "FortyFiveDown"),
        ("2", "FortyFiveUp"),
        ("2.1", "SingleUp"),
        ("-3", "SingleDown"),
        ("3.1", "DoubleUp"),
        ("-9", "DoubleDown"),
    ],
)
def test_an_arrow_for_a_rate(rate: str | None, word: str) -> None:
    """Beyond 1, 2 and 3 mg/dL per minute, on both sides."""
    assert word == arrow_of(None if rate is None else Decimal(rate))


def test_an_arrow_between_neighbours() -> None:
    """Five minutes apart: the rate; too near, too far, or of two devices: none."""
    first = reading_of(XDRIP)

    def after(minutes: float, mg_dl: int) -> Reading:
        return replace(first, effective_at=first.effective_at + timedelta(minutes=minutes), value=Decimal(mg_dl))

    assert direction_between(first, after(5, 126)) == "SingleUp"
    assert direction_between(first, after(5, 113)) == "Flat"
    assert direction_between(first, after(1, 126)) == "NONE"
    assert direction_between(first, after(60, 126)) == "NONE"
    assert direction_between(first, replace(after(5, 126), device_id=DeviceId("other"))) == "NONE"
    assert [delta_between(first, after(*each)) for each in ((5, 126), (10, 126), (3, 114), (2, 126))] == [
        13,
        Decimal("6.5"),
        Decimal("1.67"),
        None,
    ]


def test_a_change_is_told_against_the_nearest_older_value() -> None:
    """A sensor of every minute is compared with three minutes before, one with a hole with nothing."""
    first = reading_of(XDRIP)
    minutely = [
        replace(
            first, record_key=str(n), effective_at=first.effective_at + timedelta(minutes=n), value=Decimal(100 + n)
        )
        for n in (0, 1, 2, 3, 4, 30)
    ]
    assert {minutely[3].key: (5, "Flat"), minutely[4].key: (5, "Flat")} == changes(minutely)


NUMBERS = st.decimals(13, 999, places=1) | st.integers(0, 999).map(Decimal)
TEXTS = st.text(max_size=70)
ENTRIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["sgv", "mbg"]), "date": st.integers(1_200_000_000_000, MS + 3_000_000), "v": NUMBERS},
    optional={
        "direction": st.sampled_from(["Flat", "NOT COMPUTABLE", "DoubleUp"]),
        "noise": st.integers(0, 5),
        "device": TEXTS,
        "identifier": st.from_regex(r"[!-~]{1,120}", fullmatch=True),
    },
)


@given(ENTRIES)
def test_what_was_told_is_read_again_the_same(entry: dict[str, object]) -> None:
    """parse(entry_of(x)) and parse(entry_v3_of(x)) are x: value, bound, code, instant, name, arrow, noise, program."""
    document = {**entry, str(entry["type"]): entry["v"]}
    (parsed,) = parse(document)
    if parsed.record is None:
        return
    found = readings_of(Parsed((parsed.record,)), CONTACT, PROVENANCE).readings
    if not found:  # a finger-stick outside what can be measured
        return
    reading = found[0]
    if "direction" not in document and reading.metric is Metric.GLUCOSE_INTERSTITIAL:
        document["direction"] = "NONE"  # what was not said is told as NONE
        reading = reading_of(document)
    if reading.context.recorded_by is None:
        reading = replace(reading, context=replace(reading.context, recorded_by=PHONE))
    if reading.metric is Metric.GLUCOSE_CAPILLARY:
        context = replace(reading.context, trend_arrow=None, noise_level=None)
        reading = replace(reading, context=context)
    assert reading == reading_of(entry_of(stored(reading)))
    assert reading == reading_of(entry_v3_of(stored(reading)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["type", "sgv", "mbg", "date", "dateString", "sysTime", "identifier", "_id", "isValid", "noise", "direction"]
SCALARS = st.none() | st.booleans() | st.text() | st.decimals() | st.integers().map(Decimal) | st.just(Decimal(MS))


@given(JSON | st.lists(st.dictionaries(st.sampled_from(FIELDS), SCALARS | st.sampled_from(["sgv", "mbg"]))))
def test_any_document_gets_an_answer_per_element(document: object) -> None:
    """No JSON raises; every element is a record, a problem or ignored, and exactly one of them."""
    said = parse_entries(document)
    assert len(said) == (len(document) if isinstance(document, list) else 1)
    for entry in said:
        assert (entry.record is not None) + (entry.problem is not None) + entry.is_ignored == 1
        if entry.record is not None:
            assert entry.identifier is not None
            readings_of(Parsed((entry.record,)), CONTACT, PROVENANCE)


def test_order_does_not_matter() -> None:
    """Any order of an upload gives the same records."""
    uploads = [XDRIP, {**XDRIP, "date": MS + 300_000}, {"mbg": 100, "date": MS}]
    expected = sorted(reading_of(each).key for each in uploads)
    for order in permutations(uploads):
        found = [entry.record.record_key for entry in parse(list(order)) if entry.record is not None]
        assert len(expected) == len(set(found))


def test_documents_are_json() -> None:
    """A document holds texts, booleans, whole numbers, and a Decimal only where the source sent decimals."""
    assert json.loads(json.dumps(entry_v3_of(stored(reading_of(XDRIP)))))["sgv"] == 113
    assert entry_of(stored(reading_of({**XDRIP, "sgv": Decimal("113.4")})))["sgv"] == Decimal("113.4")
