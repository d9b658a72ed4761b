"""A Bluetooth payload that was set aside, decoded again: as far as one payload says enough by itself.

A cuff, a thermometer and an oximeter say in one frame all there is to a result, and so does a scale that stamps its
weigh-ins. A sensor's record has its place through the session that the last checkpoint names. The rest needs what was
said around it: a meter's record its context and its numbering, a weigh-in without a time its other half, an
advertisement its neighbours, a stream everything.

The offset of the device's clock at that contact is not known any more: a time stamp counts as one of a clock that was
not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final, Protocol

from gateway.adapters.sources.bluetooth.material import Material
from gateway.devices.blood_pressure import parse_blood_pressure_measurement
from gateway.devices.body_composition import parse_body_composition_measurement
from gateway.devices.cgm import parse_cgm_measurement
from gateway.devices.procedures import CgmSample, CompositionSample, Frame, Keep, Record, VitalSample, WeightSample
from gateway.devices.procedures.cgm_checkpoint import CGM_CHECKPOINT, CgmCheckpoint
from gateway.devices.pulse_oximeter import parse_plx_spot_check
from gateway.devices.thermometer import parse_temperature_measurement
from gateway.devices.weight_scale import parse_weight_measurement
from gateway.errors import MalformedFrame
from gateway.model import Batch, Checkpoint, DeviceId, Quarantined, QuarantineReason, RawFrame
from gateway.ports import Redecoded

__all__ = ["BluetoothRedecoder", "Checkpoints"]

_CGM: Final = "2aa7"
_FUTURE: Final = timedelta(minutes=10)

_WANTING: Final[Mapping[str, str]] = {
    "2a18": "it needs the device: how this meter numbers and what it says around a record is not in the payload",
    "2a34": "it needs the device: a context says nothing without its record",
    "2a37": "a sample of a stream says nothing without its neighbours",
    "2a5f": "a sample of a stream says nothing without its neighbours",
    "adv.": "an advertisement says nothing without the ones around it",
}
_NEEDS_SESSION: Final = "it needs the device: the session that this record belongs to is not known any more"
_NEEDS_CRC: Final = "it needs the device: whether this sensor protects its records with a CRC is not known any more"
_NEEDS_HALF: Final = "a weigh-in without a time of its own is told by both of its halves"
_NEEDS_DEVICE: Final = "it needs the device: nothing here decodes such a payload alone"


class Checkpoints(Protocol):
    """Where the last durable checkpoints are."""

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        """The last one of that name, or None. Raises StoreUnavailable."""
        ...


class _Wanting(Exception):
    """The payload alone does not say it."""


class BluetoothRedecoder:
    """Implements `gateway.ports.Redecoder`.

    Args:
        checkpoints: of the store.
        zone_of: zone of a device's owner.
        trusted_from: receptions before this instant were stamped by a clock that cannot have been right.
    """

    def __init__(self, checkpoints: Checkpoints, zone_of: Callable[[DeviceId], tzinfo], trusted_from: datetime) -> None:
        self._checkpoints = checkpoints
        self._zone_of = zone_of
        self._trusted_from = trusted_from

    async def redecode(self, item: Quarantined) -> Redecoded:
        """What the payload gives today, or what would be needed beside it."""
        raw = item.frame
        if raw.device_id is None:
            return Redecoded(Batch(), _NEEDS_DEVICE)
        frame = Frame(raw.channel, raw.payload)
        try:
            if raw.channel == _CGM:
                records = await self._cgm(raw, raw.device_id, frame)
            else:
                records = (_alone(frame),)
        except _Wanting as wanting:
            return Redecoded(Batch(), str(wanting))
        except MalformedFrame as error:
            return Redecoded(Batch(quarantined=(Quarantined(raw, QuarantineReason.MALFORMED, str(error)),)))
        material = Material(raw.device_id, self._zone_of(raw.device_id))
        return Redecoded(
            material.batch(
                Keep(records=records), raw.received_at, clock_is_trusted=raw.received_at >= self._trusted_from
            )
        )

    async def _cgm(self, raw: RawFrame, device_id: DeviceId, frame: Frame) -> tuple[Record, ...]:
        """A frame whose CRC fits is beyond doubt; one without might be a protected one that was damaged."""
        known = await self._checkpoints.checkpoint(device_id, CGM_CHECKPOINT)
        start = CgmCheckpoint.of(None if known is None else known.state).session_start
        if start is None or start > raw.received_at:
            raise _Wanting(_NEEDS_SESSION)
        try:
            records = parse_cgm_measurement(raw.payload, has_crc=True)
        except MalformedFrame:
            parse_cgm_measurement(raw.payload, has_crc=False)  # as malformed as before
            raise _Wanting(_NEEDS_CRC) from None
        if any(start + timedelta(minutes=r.time_offset_min) > raw.received_at + _FUTURE for r in records):
            raise _Wanting(_NEEDS_SESSION)
        return tuple(CgmSample(record, start, None, (frame,)) for record in records)


def _alone(frame: Frame) -> Record:
    """The one record of a frame that says enough. Raises MalformedFrame, _Wanting."""
    match frame.char:
        case "2a35":
            return VitalSample(parse_blood_pressure_measurement(frame.payload), (frame,))
        case "2a1c":
            return VitalSample(parse_temperature_measurement(frame.payload), (frame,))
        case "2a5e":
            return VitalSample(parse_plx_spot_check(frame.payload), (frame,))
        case "2a9d":
            weight = parse_weight_measurement(frame.payload)
            if weight.time_stamp is None:
                raise _Wanting(_NEEDS_HALF)
            return WeightSample(weight, (frame,))
        case "2a9c":
            composition = parse_body_composition_measurement(frame.payload)
            if composition.time_stamp is None or composition.is_multiple_packet:
                raise _Wanting(_NEEDS_HALF)
            return CompositionSample(composition, (frame,))
    raise _Wanting(_WANTING.get(frame.char, _WANTING["adv."] if frame.char.startswith("adv.") else _NEEDS_DEVICE))
