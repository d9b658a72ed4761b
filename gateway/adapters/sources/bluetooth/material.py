"""From what a procedure wants kept to the batch that the intake takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

from gateway.adapters.sources.bluetooth.live import LIVE_INTERVAL, HeardSample, LiveSamples, is_live
from gateway.adapters.sources.bluetooth.weigh_ins import WeighIns
from gateway.devices.blood_pressure import BloodPressureMeasurement
from gateway.devices.heart_rate import HeartRateMeasurement
from gateway.devices.procedures import (
    BroadcastWeight,
    CgmSample,
    ClockChange,
    CompositionSample,
    Frame,
    GlucoseRecord,
    Keep,
    Record,
    VitalSample,
    WeightSample,
)
from gateway.devices.pulse_oximeter import PlxContinuousMeasurement, PlxSpotCheck
from gateway.devices.thermometer import TemperatureMeasurement
from gateway.model import (
    Batch,
    Checkpoint,
    DeviceId,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
)
from gateway.normalise.broadcast import broadcast_readings
from gateway.normalise.cgm import cgm_readings
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.glucose import glucose_readings
from gateway.normalise.scale import body_composition_readings, weight_readings
from gateway.normalise.times import CLOCK_TOLERANCE
from gateway.normalise.vital_signs import (
    blood_pressure_readings,
    continuous_oximetry_readings,
    heart_rate_readings,
    spot_check_readings,
    temperature_readings,
)

__all__ = ["Material"]


@dataclass(slots=True)
class Material:
    """Turns the records of one contact into batches.

    Attributes:
        device_id: which device.
        zone: its owner's zone.
        clock_offset: our local time minus the device's at this contact; None: not measured.
        clock_change: when we set the device's clock before this contact, and by how much; None: never.
        live_interval: how far apart the readings of a stream are.
        source: whose radio heard it: ours, or another program's that publishes it.
    """

    device_id: DeviceId
    zone: tzinfo
    clock_offset: timedelta | None = None
    clock_change: ClockChange | None = None
    live_interval: timedelta = LIVE_INTERVAL
    source: SourceKind = SourceKind.BLUETOOTH
    _weigh_ins: WeighIns = field(default_factory=WeighIns, repr=False)
    _live: LiveSamples = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._live = LiveSamples(self.live_interval)

    def batch(self, keep: Keep, received_at: datetime, *, clock_is_trusted: bool = True) -> Batch:
        """Everything of `keep`, with every payload; of a stream what stays of an interval that it ends.

        Args:
            keep: what a procedure wants kept.
            received_at: aware, UTC, gateway clock.
            clock_is_trusted: whether `received_at` can be right.
        """
        contact = Contact(
            self.device_id,
            self.zone,
            received_at,
            self.source,
            keep.epoch,
            clock_offset=self.clock_offset if clock_is_trusted else None,
            clock_is_trusted=clock_is_trusted,
        )
        heard: list[tuple[Record, Contact]] = []
        for record in keep.records:
            if isinstance(record, VitalSample) and is_live(record):
                heard += _picked(self._live.add(record, contact))
            else:
                heard.append((record, contact))
        return self._batch(heard, keep, contact)

    def rest(self) -> Batch:
        """What a stream has left open; for the end of a contact."""
        heard = _picked(self._live.flush())
        return self._batch(heard, Keep(), heard[0][1]) if heard else Batch()

    def _batch(self, heard: Iterable[tuple[Record, Contact]], keep: Keep, contact: Contact) -> Batch:
        frames: list[RawFrame] = []
        places: dict[Frame, int] = {}
        readings: list[Reading] = []
        quarantined: list[Quarantined] = []

        def place(frame: Frame, received_at: datetime) -> int:
            if frame not in places:
                places[frame] = len(frames)
                frames.append(RawFrame(self.device_id, self.source, frame.char, frame.payload, received_at))
            return places[frame]

        for record, at_contact in heard:
            at = [place(frame, at_contact.received_at) for frame in record.frames]
            normalised = self._normalised(record, at_contact, at[0] if at else None)
            readings.extend(normalised.readings)
            if normalised.problems and at:
                reason = QuarantineReason.IMPLAUSIBLE
                if isinstance(record, GlucoseRecord) and record.context is not None and record.context.is_ketone:
                    reason = QuarantineReason.UNSUPPORTED
                quarantined.append(Quarantined(frames[at[0]], reason, "; ".join(normalised.problems)))
        for spoiled in keep.spoiled:
            raw = frames[place(spoiled.frame, contact.received_at)]
            quarantined.append(Quarantined(raw, QuarantineReason.MALFORMED, spoiled.detail))
        for frame in keep.loose:
            place(frame, contact.received_at)
        marks = (*(() if keep.mark is None else (keep.mark,)), *keep.facts)
        checkpoints = tuple(Checkpoint(self.device_id, mark.name, mark.state) for mark in marks)
        return Batch(tuple(readings), tuple(frames), tuple(quarantined), checkpoints)

    def _normalised(self, record: Record, contact: Contact, frame: int | None) -> Normalised:
        match record:
            case GlucoseRecord(measurement, context, _, current_offset_min):
                if record.clock_offset is not None and contact.clock_is_trusted:
                    contact = replace(contact, clock_offset=record.clock_offset)
                elif current_offset_min in {None, measurement.time_offset_min}:  # else its own clocks tell the change
                    contact = self._by_clock_then(measurement.user_time, contact)
                return glucose_readings(
                    measurement,
                    context,
                    contact,
                    current_offset_min=current_offset_min,
                    occurrence=record.occurrence,
                    is_undecided=record.is_undecided,
                    decoder=record.decoder,
                    frame=frame,
                )
            case BroadcastWeight():
                return broadcast_readings(
                    weigh_in=record.weigh_in,
                    mass=record.mass,
                    mass_unit=record.unit,
                    raw_weight=record.raw_weight,
                    impedance_ohm=record.impedance_ohm,
                    time_stamp=record.time_stamp,
                    contact=replace(contact, clock_offset=None, is_live=record.is_live),
                    is_unusual=record.is_unusual,
                    impedance_250_khz_ohm=record.impedance_250_khz_ohm,
                    heart_rate_per_min=record.heart_rate_per_min,
                    sent_at=record.sent_at,
                    profile=record.profile,
                    is_proven=record.is_proven,
                    frame=frame,
                )
            case CgmSample(sample, session_start, feature):
                # the session start was told to the sensor; a wall clock it may also have says nothing about it
                no_clock = replace(contact, clock_offset=None)
                return cgm_readings(sample, session_start, no_clock, feature=feature, frame=frame)
            case WeightSample(weight):
                contact = self._by_clock_then(weight.time_stamp, contact)
                weigh_in = self._weigh_ins.settle(record, contact)
                return weight_readings(weigh_in.filled(weight), weigh_in.contact, weigh_in=weigh_in.name, frame=frame)
            case CompositionSample(composition):
                contact = self._by_clock_then(composition.time_stamp, contact)
                weigh_in = self._weigh_ins.settle(record, contact)
                return body_composition_readings(
                    weigh_in.filled(composition), weigh_in.contact, weigh_in=weigh_in.name, frame=frame
                )
            case VitalSample():
                vital = record.measurement
                if isinstance(vital, BloodPressureMeasurement | TemperatureMeasurement | PlxSpotCheck):
                    contact = self._by_clock_then(vital.time_stamp, contact)
                return _vital_sign(record, contact, frame)

    def _by_clock_then(self, device_time: datetime | None, contact: Contact) -> Contact:
        """`contact` with the error that the clock had when it stamped `device_time`, before we set it.

        Only while the clock still is as we set it: one that has been moved again since says nothing about then.
        """
        change, offset = self.clock_change, contact.clock_offset
        if change is None or device_time is None or offset is None or abs(offset) > CLOCK_TOLERANCE:
            return contact
        return replace(contact, clock_offset=change.offset) if change.is_before(device_time) else contact


def _vital_sign(sample: VitalSample, contact: Contact, frame: int | None) -> Normalised:
    match sample.measurement:
        case BloodPressureMeasurement() as pressure:
            return blood_pressure_readings(pressure, contact, frame=frame)
        case TemperatureMeasurement() as temperature:
            return temperature_readings(temperature, contact, site=sample.site, frame=frame)
        case HeartRateMeasurement() as rate:
            return heart_rate_readings(rate, contact, site=sample.site, frame=frame)
        case PlxSpotCheck() as check:
            return spot_check_readings(check, contact, features=sample.features, frame=frame)
        case PlxContinuousMeasurement() as continuous:
            return continuous_oximetry_readings(continuous, contact, features=sample.features, frame=frame)


def _picked(heard: HeardSample | None) -> list[tuple[Record, Contact]]:
    return [] if heard is None else [(heard.sample, heard.contact)]
