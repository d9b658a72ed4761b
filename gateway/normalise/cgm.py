"""Records of continuous glucose sensors (2AA7) -> `Reading`s."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.devices.cgm import CgmFeature, CgmRecord
from gateway.devices.ieee11073 import SfloatSpecial, shifted
from gateway.errors import Implausible
from gateway.model import Absent, Bound, BoundKind, Context, Metric, Provenance, Reading, TimeMethod, TimeQuality, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.glucose import absent_of, bound_kinds
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import CLOCK_TOLERANCE, Placed, place_instant, place_reception

__all__ = ["cgm_readings"]

_DECODER = "gatt.2aa7"
_METRIC = Metric.GLUCOSE_INTERSTITIAL
_UNTRUSTWORTHY = frozenset({"session_stopped", "sensor_type_incorrect", "sensor_malfunction", "general_fault"})
_OUT_OF_RANGE = frozenset({"result_below_device_range", "result_above_device_range"})
_HIGHEST_LOWER_END = Decimal(70)
_LOWEST_UPPER_END = Decimal(250)


def cgm_readings(
    record: CgmRecord,
    session_start: datetime,
    contact: Contact,
    *,
    feature: CgmFeature | None = None,
    frame: int | None = None,
) -> Normalised:
    """One reading for one record of a sensor, or none and the reason.

    A warning bit "below / above what the sensor can measure" makes a bound, and it outranks a malfunction (sensors set
    both at once). Its limit is the number sent with it, where that lies near an end of the ranges that sensors have (at
    most 70, at least 250 mg/dL). Without it, a stopped session, a wrong sensor type, a malfunction or a general fault
    make the number untrustworthy. Trend and number are both given as sent, even where they contradict the warnings. A
    negative or implausible number gives no reading: the caller quarantines the bytes.

    The instant is the session start plus the record's offset, plus the measured clock offset where that is above the
    tolerance. `device_time` stays empty: a sensor counts minutes and has no wall clock.

    Args:
        record: the record.
        session_start: aware; together with the record's offset it is the record's identity.
        contact: when and how it was received.
        feature: what the sensor said about its sample, if read.
        frame: index of the raw payload in the batch.

    Raises:
        ValueError: `session_start` is naive.
    """
    if session_start.utcoffset() is None:
        raise ValueError("the session start needs its zone")
    value, bound, absent = None, _bound(record), None
    sent = _number(record.glucose_mg_dl)
    if bound is None:
        absent = _refusal(record)
    if bound is None and absent is None and sent is not None:
        if sent < 0:
            return Normalised(problems=(f"{_METRIC.value} is negative",))
        try:
            value = to_canonical(_METRIC, sent, Unit.MG_DL)
        except Implausible as error:
            return Normalised(problems=(str(error),))
    original_value = sent if sent is not None and sent >= 0 else None
    start = session_start.astimezone(UTC)
    placed = _placed(start, record.time_offset_min, contact)
    reading = Reading(
        device_id=contact.device_id,
        epoch=contact.epoch,
        record_key=f"{start:%Y-%m-%dT%H:%M:%SZ}+{record.time_offset_min}",
        metric=_METRIC,
        effective_at=placed.effective_at,
        utc_offset_min=placed.utc_offset_min,
        time_quality=placed.quality,
        time_method=placed.method,
        received_at=contact.received_at,
        provenance=Provenance(contact.source, _DECODER),
        value=value,
        bound=bound,
        absent=absent,
        original_value=original_value,
        original_unit=None if original_value is None else Unit.MG_DL,
        context=_context(record, feature),
        frame=frame,
    )
    return Normalised((reading,))


def _bound(record: CgmRecord) -> Bound | None:
    kinds = bound_kinds(record.status, record.glucose_mg_dl)
    if len(kinds) != 1:
        return None
    if _OUT_OF_RANGE.isdisjoint(record.status) and not _UNTRUSTWORTHY.isdisjoint(record.status):
        return None
    (kind,) = kinds
    return Bound(kind, _limit(kind, record.glucose_mg_dl))


def _limit(kind: BoundKind, sent: Decimal | SfloatSpecial) -> Decimal | None:
    """The number sent with a warning bit, where it can be an end of a sensor's range and not some last result."""
    number = _number(sent)
    if number is None or not _METRIC.info.is_plausible(number):
        return None
    is_an_end = number <= _HIGHEST_LOWER_END if kind is BoundKind.BELOW else number >= _LOWEST_UPPER_END
    return number if is_an_end else None


def _refusal(record: CgmRecord) -> Absent | None:
    contradicts = len(bound_kinds(record.status, record.glucose_mg_dl)) == len(BoundKind)
    if contradicts or not _UNTRUSTWORTHY.isdisjoint(record.status):
        return Absent.UNTRUSTWORTHY
    return absent_of(record.glucose_mg_dl)


def _placed(start: datetime, time_offset_min: int, contact: Contact) -> Placed:
    offset = contact.clock_offset
    is_corrected = offset is not None and abs(offset) > CLOCK_TOLERANCE
    try:
        instant = start + timedelta(minutes=time_offset_min)
        if is_corrected and offset is not None:
            instant += offset
    except OverflowError:
        return place_reception(
            contact.received_at, contact.zone, is_live=contact.is_live, clock_is_trusted=contact.clock_is_trusted
        )
    placed = place_instant(
        instant,
        contact.received_at,
        contact.zone,
        is_live=contact.is_live,
        clock_is_trusted=contact.clock_is_trusted,
    )
    if placed.quality is not TimeQuality.DEVICE:
        return placed
    if is_corrected:
        return placed._replace(quality=TimeQuality.CORRECTED, method=TimeMethod.OFFSET_MEASURED)
    return placed._replace(method=TimeMethod.SESSION)


def _context(record: CgmRecord, feature: CgmFeature | None) -> Context:
    sample_type = feature.sample_type if feature is not None else None
    location = feature.sample_location if feature is not None else None
    return Context(
        sample_type=sample_type,
        sample_location=None if location == "not_available" else location,
        is_control_solution="control_solution" in (sample_type, location),
        trend_mg_dl_min=_number(record.trend_mg_dl_min),
        quality_percent=_number(record.quality_percent),
        status=record.status,
    )


def _number(sent: Decimal | SfloatSpecial | None) -> Decimal | None:
    return shifted(sent) if isinstance(sent, Decimal) else None
