"""Records in words: what a decoder marks on one measurement, and what a withdrawal says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from gateway.model import Absent, Context, DeviceId, Metric, Provenance, SourceKind, Unit
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, ReportedMeasurement, ReportedRecord, readings_of

CONTACT = Contact(DeviceId("scale"), UTC, datetime(2026, 3, 1, 12, tzinfo=UTC), SourceKind.MQTT)
PROVENANCE = Provenance(SourceKind.MQTT, "mqtt.x")
TIME = datetime(2026, 3, 1, 7, 12, tzinfo=UTC)
MEASUREMENTS = (
    ReportedMeasurement(Metric.BODY_MASS, Decimal("71.3"), Unit.KG),
    ReportedMeasurement(Metric.BODY_FAT_PERCENTAGE, Decimal("18.4"), Unit.PERCENT, is_device_derived=True),
    ReportedMeasurement(Metric.IMPEDANCE, Decimal(512), Unit.OHM),
)


def test_what_a_formula_made_is_marked_beside_what_was_measured() -> None:
    """Of one record only the computed measurements are marked; the rest of the context is the same for all."""
    context = Context(user_name="ada", weigh_in="w")
    record = ReportedRecord("w", 0, TIME, MEASUREMENTS, context)
    readings = readings_of(Parsed((record,)), CONTACT, PROVENANCE).readings
    assert [False, True, False] == [reading.context.is_device_derived for reading in readings]
    assert {("ada", "w")} == {(reading.context.user_name, reading.context.weigh_in) for reading in readings}


def test_a_withdrawal_names_the_same_record_and_holds_no_value() -> None:
    """Whatever numbers come with it, it is an absence under the key of the record, at the record's time."""
    record = ReportedRecord("w", 0, TIME, MEASUREMENTS)
    told = readings_of(Parsed((record,)), CONTACT, PROVENANCE).readings
    taken_back = readings_of(Parsed((record._replace(is_withdrawn=True),)), CONTACT, PROVENANCE).readings
    assert [reading.key for reading in told] == [reading.key for reading in taken_back]
    assert {(None, None, Absent.WITHDRAWN, TIME)} == {
        (one.value, one.original_value, one.absent, one.effective_at) for one in taken_back
    }
