"""People, their devices, and what they agreed to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.model.ids import DestinationId, DeviceId, PersonId
from gateway.model.metrics import DataType
from gateway.model.travel import Itinerary
from gateway.model.units import Unit

__all__ = ["Consent", "ConsentState", "Device", "DeviceKind", "Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose readings the gateway keeps.

    Attributes:
        person_id: local pseudonym.
        display_name: what the pages call the person; never logged, never sent.
        time_zone: IANA zone of the person's days, or several, one after the other.
        glucose_unit: unit shown to the person.
        glucose_sources: the person's own order of devices that measure glucose, the preferred one first; only the
            configuration knows it, no store keeps it.
    """

    person_id: PersonId
    display_name: str
    time_zone: ZoneInfo | Itinerary
    glucose_unit: Unit = Unit.MG_DL
    glucose_sources: tuple[DeviceId, ...] = ()


class DeviceKind(enum.StrEnum):
    """What a device is, by its IEEE 11073 specialisation."""

    GLUCOSE_METER = "glucose_meter"
    CGM = "cgm"
    SCALE = "scale"
    BODY_COMPOSITION_ANALYSER = "body_composition_analyser"
    BLOOD_PRESSURE_MONITOR = "blood_pressure_monitor"
    THERMOMETER = "thermometer"
    PULSE_OXIMETER = "pulse_oximeter"
    HEART_RATE_MONITOR = "heart_rate_monitor"
    UNKNOWN = "unknown"

    @property
    def is_scale(self) -> bool:
        """Whether people stand on it, so that it cannot say by itself who did."""
        return self in {DeviceKind.SCALE, DeviceKind.BODY_COMPOSITION_ANALYSER}


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the gateway knows it.

    Attributes:
        device_id: local name.
        kind: what it is.
        display_name: what the pages call it.
        person_id: its owner; None: readings wait unattributed.
        address: Bluetooth address `AA:BB:CC:DD:EE:FF`, or None for a device that is not on Bluetooth.
        manufacturer, model, serial, firmware: Device Information (180A) or configuration.
        system_id: EUI-64, 16 upper-case hex digits, or None.
        last_heard_at: last advertisement, connection or message, UTC.
        battery_percent: 0..100, or None.
        is_by_evidence: whose its readings are is decided for each weigh-in, not by the owner (scales).
        candidates: who may be on it; empty: everybody of the house. Matters where `is_by_evidence`.
    """

    device_id: DeviceId
    kind: DeviceKind
    display_name: str
    person_id: PersonId | None = None
    address: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    system_id: str | None = None
    last_heard_at: datetime | None = None
    battery_percent: int | None = None
    is_by_evidence: bool = False
    candidates: tuple[PersonId, ...] = ()


class ConsentState(enum.StrEnum):
    """What a consent says at a given moment."""

    NONE = "none"
    NOT_YET = "not_yet"
    ACTIVE = "active"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Consent:
    """One person's agreement that one type of data may go to one destination.

    Attributes:
        person_id, data_type, destination_id: who, what, whither; one record each.
        granted_at: when the person agreed, UTC.
        covers_from: measurements before this instant do not leave, UTC.
        expires_at: None: until withdrawn.
        withdrawn_at: None: not withdrawn.
        text_version: which wording the person saw.
    """

    person_id: PersonId
    data_type: DataType
    destination_id: DestinationId
    granted_at: datetime
    covers_from: datetime
    expires_at: datetime | None = None
    withdrawn_at: datetime | None = None
    text_version: str = "1"

    def state_at(self, instant: datetime) -> ConsentState:
        """What this consent says at `instant`, aware. A withdrawal is a fact, even for a clock that stepped back."""
        if self.withdrawn_at is not None:
            return ConsentState.WITHDRAWN
        if instant < self.granted_at:
            return ConsentState.NOT_YET
        if self.expires_at is not None and self.expires_at <= instant:
            return ConsentState.EXPIRED
        return ConsentState.ACTIVE
