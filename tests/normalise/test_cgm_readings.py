"""Records of continuous sensors become readings: number, bound or reason, placed on the common time scale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.cgm import CGM_STATUS, CgmFeature, CgmRecord
from gateway.devices.ieee11073 import SfloatSpecial
from gateway.model import (
    Absent,
    Bound,
    BoundKind,
    Context,
    DeviceId,
    Metric,
    Provenance,
    Reading,
    SourceKind,
    TimeMethod,
    TimeQuality,
    Unit,
)
from gateway.normalise.cgm import cgm_readings
from gateway.normalise.contact import Contact

START = datetime(2025, 2, 3, 2, 5, 6, tzinfo=UTC)
RECEIVED = datetime(2025, 2, 3, 14, 12, tzinfo=UTC)
CONTACT = Contact(DeviceId("sensor"), ZoneInfo("Europe/Paris"), RECEIVED, SourceKind.BLUETOOTH, epoch=1)
RECORD = CgmRecord(725, Decimal(164), Decimal("-1.3"), Decimal("99.5"), ("rate_of_increase_exceeded",))
FAULTS = ("session_stopped", "sensor_type_incorrect", "sensor_malfunction", "general_fault")


def _reading(record: CgmRecord, contact: Contact = CONTACT, feature: CgmFeature | None = None) -> Reading:
    """The one reading of a record without problems."""
    normalised = cgm_readings(record, START, contact, feature=feature)
    assert normalised.problems == ()
    (reading,) = normalised.readings
    return reading


def test_a_plain_record() -> None:
    """Every field of a good record has its place; trend and warning are both given as sent."""
    expected = Reading(
        device_id=DeviceId("sensor"),
        epoch=1,
        record_key="2025-02-03T02:05:06Z+725",
        metric=Metric.GLUCOSE_INTERSTITIAL,
        effective_at=datetime(2025, 2, 3, 14, 10, 6, tzinfo=UTC),
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=RECEIVED,
        provenance=Provenance(SourceKind.BLUETOOTH, "gatt.2aa7"),
        value=Decimal(164),
        original_value=Decimal(164),
        original_unit=Unit.MG_DL,
        context=Context(
            trend_mg_dl_min=Decimal("-1.3"), quality_percent=Decimal("99.5"), status=("rate_of_increase_exceeded",)
        ),
        time_method=TimeMethod.SESSION,
    )
    (reading,) = cgm_readings(RECORD, START, CONTACT, frame=3).readings
    assert expected == reading
    assert reading.device_time is None
    assert reading.frame == 3


def test_identity_does_not_depend_on_the_zone_of_the_session_start() -> None:
    """The same instant written in another zone names the same record."""
    elsewhere = START.astimezone(timezone(timedelta(hours=9)))
    assert cgm_readings(RECORD, START, CONTACT) == cgm_readings(RECORD, elsewhere, CONTACT)


def test_naive_session_start_is_refused() -> None:
    """A session start without a zone is the caller's mistake."""
    with pytest.raises(ValueError):
        cgm_readings(RECORD, START.replace(tzinfo=None), CONTACT)


def test_feature_tells_the_sample() -> None:
    """Sample type and location come from the feature characteristic; "not available" is silence."""
    feature = CgmFeature((), "interstitial_fluid", "subcutaneous_tissue")
    context = _reading(RECORD, feature=feature).context
    assert (feature.sample_type, feature.sample_location) == (context.sample_type, context.sample_location)
    assert _reading(RECORD, feature=replace(feature, sample_location="not_available")).context.sample_location is None
    assert _reading(RECORD, feature=replace(feature, sample_type="control_solution")).context.is_control_solution


@pytest.mark.parametrize(
    ("status", "glucose", "bound"),
    [
        ("result_below_device_range", Decimal(40), Bound(BoundKind.BELOW, Decimal(40))),
        ("result_above_device_range", Decimal("4E+2"), Bound(BoundKind.ABOVE, Decimal(400))),
        ("result_above_device_range", SfloatSpecial.POS_INF, Bound(BoundKind.ABOVE)),
        ("result_below_device_range", SfloatSpecial.NAN, Bound(BoundKind.BELOW)),
        ("result_below_device_range", Decimal(0), Bound(BoundKind.BELOW)),
        ("result_below_device_range", Decimal(-1), Bound(BoundKind.BELOW)),
        ("result_below_device_range", Decimal(70), Bound(BoundKind.BELOW, Decimal(70))),
        ("result_below_device_range", Decimal(71), Bound(BoundKind.BELOW)),
        ("result_below_device_range", Decimal(400), Bound(BoundKind.BELOW)),
        ("result_above_device_range", Decimal(250), Bound(BoundKind.ABOVE, Decimal(250))),
        ("result_above_device_range", Decimal(249), Bound(BoundKind.ABOVE)),
        ("result_above_device_range", Decimal(40), Bound(BoundKind.ABOVE)),
        ("battery_low", SfloatSpecial.POS_INF, Bound(BoundKind.ABOVE)),
        ("battery_low", SfloatSpecial.NEG_INF, Bound(BoundKind.BELOW)),
    ],
)
def test_bounds(status: str, glucose: Decimal | SfloatSpecial, bound: Bound) -> None:
    """Outside the sensor's range the number is at most a limit, where it can be one, and never a value."""
    reading = _reading(replace(RECORD, glucose_mg_dl=glucose, status=(status,)))
    assert (bound, None, None) == (reading.bound, reading.value, reading.absent)


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_make_the_value_untrustworthy(fault: str) -> None:
    """A number of a faulty or stopped sensor is kept as sent and used for nothing."""
    reading = _reading(replace(RECORD, status=(fault,)))
    assert (Absent.UNTRUSTWORTHY, None, Decimal(164)) == (reading.absent, reading.value, reading.original_value)
    infinite = _reading(replace(RECORD, glucose_mg_dl=SfloatSpecial.POS_INF, status=(fault,)))
    assert Absent.UNTRUSTWORTHY is infinite.absent


@pytest.mark.parametrize("fault", FAULTS)
def test_out_of_range_outranks_a_fault(fault: str) -> None:
    """A sensor that reports a malfunction because the result is out of range still says LO."""
    reading = _reading(replace(RECORD, glucose_mg_dl=Decimal(40), status=("result_below_device_range", fault)))
    assert Bound(BoundKind.BELOW, Decimal(40)) == reading.bound


@pytest.mark.parametrize(
    ("status", "glucose"),
    [
        (("result_above_device_range", "result_below_device_range"), Decimal(164)),
        (("result_above_device_range",), SfloatSpecial.NEG_INF),
    ],
)
def test_contradictions_are_untrustworthy(status: tuple[str, ...], glucose: Decimal | SfloatSpecial) -> None:
    """High and low at once says nothing about the person."""
    reading = _reading(replace(RECORD, glucose_mg_dl=glucose, status=status))
    assert Absent.UNTRUSTWORTHY is reading.absent


@pytest.mark.parametrize(
    "name", sorted({name for name in CGM_STATUS if name is not None and "device_range" not in name} - set(FAULTS))
)
def test_other_status_leaves_the_value_in_force(name: str) -> None:
    """Alerts, calibration advice and the like are told beside the number."""
    reading = _reading(replace(RECORD, status=(name,)))
    assert (Decimal(164), (name,)) == (reading.value, reading.context.status)


@pytest.mark.parametrize(
    ("special", "absent"),
    [
        (SfloatSpecial.NAN, Absent.NOT_A_NUMBER),
        (SfloatSpecial.NRES, Absent.NOT_AT_THIS_RESOLUTION),
        (SfloatSpecial.RESERVED, Absent.RESERVED),
    ],
)
def test_no_number(special: SfloatSpecial, absent: Absent) -> None:
    """A special says why there is no number; a special trend or quality is left out."""
    reading = _reading(CgmRecord(725, special, special, special))
    assert (absent, None) == (reading.absent, reading.original_value)
    assert Context() == reading.context


@pytest.mark.parametrize("glucose", [Decimal(-1), Decimal(0), Decimal(9), Decimal(1001)])
def test_impossible_numbers_give_no_reading(glucose: Decimal) -> None:
    """A negative or implausible number is a problem and no reading."""
    normalised = cgm_readings(replace(RECORD, glucose_mg_dl=glucose), START, CONTACT)
    assert normalised.readings == ()
    assert len(normalised.problems) == 1


@pytest.mark.parametrize(
    ("offset_s", "moved_s", "quality"),
    [
        (60, 0, TimeQuality.DEVICE),
        (-60, 0, TimeQuality.DEVICE),
        (61, 61, TimeQuality.CORRECTED),
        (-3600, -3600, TimeQuality.CORRECTED),
    ],
)
def test_clock_offset_above_the_tolerance_corrects(offset_s: int, moved_s: int, quality: TimeQuality) -> None:
    """A sensor whose time line is off by more than a minute is corrected; its identity stays."""
    reading = _reading(RECORD, replace(CONTACT, clock_offset=timedelta(seconds=offset_s)))
    plain = _reading(RECORD)
    assert (plain.effective_at + timedelta(seconds=moved_s), quality) == (reading.effective_at, reading.time_quality)
    assert plain.key == reading.key


def test_time_line_that_cannot_be_true() -> None:
    """A record of the future is unknown when stored, and reception when live."""
    future = replace(RECORD, time_offset_min=0xFFFF)
    stored = _reading(future)
    assert (TimeQuality.UNKNOWN, stored.received_at) == (stored.time_quality, stored.effective_at)
    assert TimeQuality.RECEIVED is _reading(future, replace(CONTACT, is_live=True)).time_quality
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    (reading,) = cgm_readings(RECORD, end, replace(CONTACT, clock_offset=timedelta(days=9))).readings
    assert TimeQuality.UNKNOWN is reading.time_quality


def test_offset_of_the_person_follows_daylight_saving() -> None:
    """A session across the change of clocks has the person's offset of each instant."""
    start = datetime(2025, 3, 30, 0, 30, tzinfo=UTC)
    contact = replace(CONTACT, received_at=start + timedelta(hours=3))
    expected = [60, 120]
    assert expected == [
        cgm_readings(replace(RECORD, time_offset_min=minute), start, contact).readings[0].utc_offset_min
        for minute in (29, 30)
    ]


@given(
    st.one_of(st.sampled_from(SfloatSpecial), st.builds(Decimal, st.integers(-2048, 2047))),
    st.integers(-8, 7),
    st.sets(st.sampled_from([name for name in CGM_STATUS if name is not None])),
    st.integers(0, 0xFFFF),
)
def test_every_record_is_a_reading_or_a_problem(
    glucose: Decimal | SfloatSpecial, exponent: int, status: set[str], offset_min: int
) -> None:
    """Whatever a sensor says, there is exactly one reading or exactly one problem."""
    number = glucose.scaleb(exponent) if isinstance(glucose, Decimal) else glucose
    record = CgmRecord(offset_min, number, status=tuple(sorted(status)))
    normalised = cgm_readings(record, START, CONTACT)
    assert len(normalised.readings) + len(normalised.problems) == 1
    for reading in normalised.readings:
        assert reading.value is None or not {*FAULTS, "result_below_device_range"} & status


def test_untrusted_clock_does_not_make_a_record_unknown() -> None:
    """A hub that does not know the time believes the session's own time line."""
    early = replace(CONTACT, received_at=datetime(1970, 1, 1, tzinfo=UTC), clock_is_trusted=False)
    reading = _reading(RECORD, early)
    assert (_reading(RECORD).effective_at, TimeQuality.DEVICE) == (reading.effective_at, reading.time_quality)
