"""From what a procedure wants kept to the batch that the intake takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from gateway.devices.procedures import (
    CgmSample,
    CompositionSample,
    Frame,
    GlucoseRecord,
    Keep,
    Record,
    WeightSample,
)
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
from gateway.normalise.cgm import cgm_readings
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.glucose import glucose_readings
from gateway.normalise.scale import body_composition_readings, weight_readings

__all__ = ["Material"]

_ONE_WEIGH_IN: Final = timedelta(seconds=10)


@dataclass(slots=True)
class Material:
    """Turns the records of one contact into batches.

    Attributes:
        device_id: which device.
        zone: its owner's zone.
        clock_offset: our local time minus the device's at this contact; None: not measured.
    """

    device_id: DeviceId
    zone: tzinfo
    clock_offset: timedelta | None = None
    _last_untimed: tuple[type[Record], int | None, datetime] | None = field(default=None, repr=False)

    def batch(self, keep: Keep, received_at: datetime) -> Batch:
        """Everything of `keep`, with every payload. `received_at`: aware, UTC, gateway clock."""
        frames: list[RawFrame] = []
        places: dict[Frame, int] = {}
        readings: list[Reading] = []
        quarantined: list[Quarantined] = []

        def place(frame: Frame) -> int:
            if frame not in places:
                places[frame] = len(frames)
                frames.append(RawFrame(self.device_id, SourceKind.BLUETOOTH, frame.char, frame.payload, received_at))
            return places[frame]

        for record in keep.records:
            at = [place(frame) for frame in record.frames]
            normalised = self._normalised(record, received_at, keep.epoch, at[0] if at else None)
            readings.extend(normalised.readings)
            if normalised.problems and at:
                reason = QuarantineReason.IMPLAUSIBLE
                if isinstance(record, GlucoseRecord) and record.context is not None and record.context.is_ketone:
                    reason = QuarantineReason.UNSUPPORTED
                quarantined.append(Quarantined(frames[at[0]], reason, "; ".join(normalised.problems)))
        for spoiled in keep.spoiled:
            raw = frames[place(spoiled.frame)]
            quarantined.append(Quarantined(raw, QuarantineReason.MALFORMED, spoiled.detail))
        for frame in keep.loose:
            place(frame)
        checkpoints = () if keep.mark is None else (Checkpoint(self.device_id, keep.mark.name, keep.mark.state),)
        return Batch(tuple(readings), tuple(frames), tuple(quarantined), checkpoints)

    def _normalised(self, record: Record, received_at: datetime, epoch: int, frame: int | None) -> Normalised:
        contact = Contact(
            self.device_id, self.zone, received_at, SourceKind.BLUETOOTH, epoch, clock_offset=self.clock_offset
        )
        match record:
            case GlucoseRecord(measurement, context):
                return glucose_readings(measurement, context, contact, frame=frame)
            case CgmSample(sample, session_start, feature):
                # the session start was told to the sensor; a wall clock it may also have says nothing about it
                no_clock = replace(contact, clock_offset=None)
                return cgm_readings(sample, session_start, no_clock, feature=feature, frame=frame)
            case WeightSample(weight):
                return weight_readings(weight, self._on_scale(record, contact), frame=frame)
            case CompositionSample(composition):
                return body_composition_readings(composition, self._on_scale(record, contact), frame=frame)

    def _on_scale(self, record: WeightSample | CompositionSample, contact: Contact) -> Contact:
        """Without a time stamp a weigh-in is of now, and its weight and its composition share one instant."""
        if record.measurement.time_stamp is not None:
            return contact
        kind, user = type(record), record.measurement.user_index
        instant = contact.received_at
        if self._last_untimed is not None:
            last_kind, last_user, last_at = self._last_untimed
            if last_kind is not kind and last_user == user and instant - last_at <= _ONE_WEIGH_IN:
                instant = last_at
        self._last_untimed = (kind, user, instant)
        return replace(contact, received_at=instant, is_live=True)
