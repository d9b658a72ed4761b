"""What a procedure may ask of a link, and what a procedure is.

A procedure is a state machine between one device and the gateway. It never touches a radio, a store or a clock:
whoever owns the link feeds it what happened and carries out the requests that it returns, in their order.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol, TypeAlias

from gateway.devices.advert import Advert
from gateway.devices.blood_pressure import BloodPressureMeasurement
from gateway.devices.body_composition import BodyCompositionMeasurement
from gateway.devices.cgm import CgmFeature, CgmRecord
from gateway.devices.glucose import GlucoseContext, GlucoseMeasurement
from gateway.devices.heart_rate import HeartRateMeasurement
from gateway.devices.pulse_oximeter import PlxContinuousMeasurement, PlxFeatures, PlxSpotCheck
from gateway.devices.thermometer import TemperatureMeasurement
from gateway.devices.weight_scale import WeightMeasurement
from gateway.model import Unit

__all__ = [
    "ATT_NOT_FOUND",
    "BroadcastWeight",
    "CgmSample",
    "Close",
    "CompositionSample",
    "Frame",
    "GlucoseRecord",
    "Keep",
    "KeyedListener",
    "Listener",
    "Mark",
    "Outcome",
    "Patience",
    "Procedure",
    "Read",
    "Record",
    "Request",
    "Spoiled",
    "Subscribe",
    "VitalMeasurement",
    "VitalSample",
    "WeightSample",
    "Write",
    "merged",
]

ATT_NOT_FOUND = 0x0A
"""Given to `on_refused` for a characteristic that the device does not have."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read a characteristic; answered by `on_read` or `on_refused`. `char`: 16-bit UUID as `2a51`, or a full UUID."""

    char: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write with response; a refusal comes as `on_refused`, success says nothing. The data may be a secret, and
    is not shown."""

    char: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask for notifications or indications, whichever the characteristic has; a refusal comes as `on_refused`."""

    char: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A payload as it came."""

    char: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class GlucoseRecord:
    """One stored test.

    Attributes:
        measurement, context: the record, and its context where one came.
        frames: their payloads, the measurement's first.
        current_offset_min: time offset of the newest record that has come in this visit; None when not known.
        occurrence: for a meter whose numbers name nothing, which of its records with this base time and value it is, 0
            for the first; None: the number names the record.
        is_undecided: the meter would say only in a context that has not come whether it is glucose at all.
        clock_offset: our local time minus the meter's, where the procedure itself has read the clock; None: it has not.
        decoder: what has made sense of the payload.
    """

    measurement: GlucoseMeasurement
    context: GlucoseContext | None
    frames: tuple[Frame, ...]
    current_offset_min: int | None = None
    occurrence: int | None = None
    is_undecided: bool = False
    clock_offset: timedelta | None = None
    decoder: str = "gatt.2a18"


@dataclass(frozen=True, slots=True)
class CgmSample:
    """One record of a sensor; the records of one notification share its payload in `frames`.

    `session_start` is aware, UTC.
    """

    record: CgmRecord
    session_start: datetime
    feature: CgmFeature | None
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class WeightSample:
    """One Weight Measurement.

    `clock_set_to`: naive, what the scale's clock was set to in this visit before it spoke; None: it was left alone.
    """

    measurement: WeightMeasurement
    frames: tuple[Frame, ...]
    clock_set_to: datetime | None = None

    @property
    def is_time_sent(self) -> bool:
        """Whether the scale sent a time stamp, readable or not."""
        return _is_time_sent(self.frames)


@dataclass(frozen=True, slots=True)
class CompositionSample:
    """One Body Composition Measurement, joined from one or more packets; `clock_set_to` as for `WeightSample`."""

    measurement: BodyCompositionMeasurement
    frames: tuple[Frame, ...]
    clock_set_to: datetime | None = None

    @property
    def is_time_sent(self) -> bool:
        """Whether the scale sent a time stamp in one of its packets, readable or not."""
        return _is_time_sent(self.frames)


@dataclass(frozen=True, slots=True)
class BroadcastWeight:
    """A result that a scale has told everybody, once its weight had settled; or the impedance that came after it.

    Attributes:
        weigh_in: name of the weigh-in, shared by its weight and its impedance.
        mass: in `unit`; None: an impedance that follows its weight.
        unit: kg, lb or jin.
        raw_weight: the word on the air.
        impedance_ohm: None: none was sent yet.
        time_stamp: the scale's own local clock, naive; None: it has none that could be right.
        frames: the payload.
        is_live: heard while the person stood there; False: heard only as a repeat after the load had left.
        is_unusual: far from the weight before, for a device that anybody nearby could imitate.
        impedance_250_khz_ohm: of a scale that measures at two frequencies; `impedance_ohm` is the one at 50 kHz then.
        heart_rate_per_min: measured through the feet; None: not measured.
        sent_at: the scale's clock as an instant, aware, UTC, for one that knows UTC; then `time_stamp` is None.
        profile: the slot of the scale's app that it took the person for; None: it has none.
        is_proven: it was sealed with the device's own key.
    """

    weigh_in: str
    mass: Decimal | None
    unit: Unit
    raw_weight: int
    impedance_ohm: Decimal | None
    time_stamp: datetime | None
    frames: tuple[Frame, ...]
    is_live: bool = True
    is_unusual: bool = False
    impedance_250_khz_ohm: Decimal | None = None
    heart_rate_per_min: int | None = None
    sent_at: datetime | None = None
    profile: int | None = None
    is_proven: bool = False


VitalMeasurement: TypeAlias = (
    BloodPressureMeasurement | HeartRateMeasurement | TemperatureMeasurement | PlxSpotCheck | PlxContinuousMeasurement
)


@dataclass(frozen=True, slots=True)
class VitalSample:
    """One measurement of a vital sign.

    Attributes:
        measurement: what was sent.
        frames: its payload.
        site: where on the body, from a characteristic of its own (2A1D, 2A38); None when not known.
        features: what the oximeter says it can send; None when not known.
    """

    measurement: VitalMeasurement
    frames: tuple[Frame, ...]
    site: str | None = None
    features: PlxFeatures | None = None


Record: TypeAlias = GlucoseRecord | CgmSample | WeightSample | CompositionSample | BroadcastWeight | VitalSample


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A payload that could not be decoded, and why, in words without values."""

    frame: Frame
    detail: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A checkpoint of the device: how far it has been read. `state` as in `gateway.model.Checkpoint`."""

    name: str
    state: Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Keep:
    """Make all of this durable in one transaction, then call `on_kept`.

    Attributes:
        records: decoded records.
        spoiled: payloads to set aside.
        loose: payloads to keep although no record goes with them yet.
        epoch: life of the device's record counter that the records belong to.
        mark: checkpoint that holds once the records are durable; None: unchanged.
        facts: what the device said about itself, or what is known to be missing; kept beside the checkpoints.
        is_told_once: the device forgets what it has said, so that giving up loses it.
    """

    records: tuple[Record, ...] = ()
    spoiled: tuple[Spoiled, ...] = ()
    loose: tuple[Frame, ...] = ()
    epoch: int = 0
    mark: Mark | None = None
    is_told_once: bool = False
    facts: tuple[Mark, ...] = ()


class Outcome(enum.StrEnum):
    """How a contact ended."""

    COMPLETE = "complete"
    """Everything there was is durable."""
    RETRY_LATER = "retry_later"
    """The device is busy or asked to be left alone."""
    SILENT = "silent"
    """The device stopped answering."""
    LINK_LOST = "link_lost"
    REFUSED = "refused"
    """The device refuses the procedure."""
    CONSENT_REFUSED = "consent_refused"
    """The scale did not accept the person's code; it must not be tried again before a person has looked at it."""
    NEEDS_PAIRING = "needs_pairing"
    SESSION_ENDED = "session_ended"
    """A sensor has been stopped or has lived its time: nothing will come before a person puts on another."""
    NOT_KEPT = "not_kept"
    """The store could not make the records durable; the device still has them."""


@dataclass(frozen=True, slots=True)
class Close:
    """The contact is over: end the link."""

    outcome: Outcome
    detail: str | None = None


Request: TypeAlias = Read | Write | Subscribe | Keep | Close


class Patience(enum.Enum):
    """How long silence may last before `on_silence` is called."""

    ANSWER = "answer"
    """As long as a device may take over an answer."""
    QUIET = "quiet"
    """A few seconds: the device has probably said everything."""
    SHORT = "short"
    """Two seconds: then the same is asked again."""
    LATECOMER = "latecomer"
    """Five seconds: what belongs to a record and has not come by then will not come."""
    STREAM = "stream"
    """As long as an answer, while a device streams: nothing is owed, so that the link may make room for another."""
    LONG = "long"
    """An hour: no word is due, and only a link that died unnoticed is looked for."""


def _is_time_sent(frames: tuple[Frame, ...]) -> bool:
    """Bit 1 of the first octet announces the time stamp, in 2A9D as in 2A9C."""
    return any(int.from_bytes(frame.payload[:1], "little") & 0x02 for frame in frames)


class Procedure(Protocol):
    """One conversation with one device. Every method is total: bytes of any shape never raise."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be asked."""
        ...

    @property
    def patience(self) -> Patience:
        """How long to wait now for the next word of the device."""
        ...

    def start(self) -> list[Request]:
        """The first requests; called once, on a link whose services are known."""
        ...

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Answer to a `Read`."""
        ...

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A notification or indication."""
        ...

    def on_kept(self) -> list[Request]:
        """What the last `Keep` held is durable."""
        ...

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """A `Read`, `Write` or `Subscribe` was refused with this ATT error code."""
        ...

    def on_silence(self) -> list[Request]:
        """Nothing came for as long as `patience` allows."""
        ...

    def on_link_lost(self) -> list[Request]:
        """The link is gone, or is being given up: what should still be kept.

        Only `Keep` and `Close` have an effect; without a `Close` the contact ends as `Outcome.LINK_LOST`.
        """
        ...


class Listener(Protocol):
    """What is made of the advertisements of one device that is never connected to. Total, and without a clock."""

    @property
    def wait_s(self) -> float | None:
        """How long after the last advertisement `on_silence` should be called; None: nothing is waited for."""
        ...

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC, gateway clock)."""
        ...

    def on_silence(self) -> list[Keep]:
        """Nothing came for `wait_s`: what was waited for has not come."""
        ...


class KeyedListener(Listener, Protocol):
    """A listener that opens what is sealed."""

    @property
    def key_fits(self) -> bool | None:
        """Whether the key fits what the device says now; None: it has said too little to know."""
        ...


def merged(requests: list[Request]) -> list[Request]:
    """Join neighbouring `Keep`s of one epoch, so that what came in one burst is one transaction."""
    result: list[Request] = []
    for request in requests:
        last = result[-1] if result else None
        if isinstance(request, Keep) and isinstance(last, Keep) and request.epoch == last.epoch:
            result[-1] = replace(
                last,
                records=last.records + request.records,
                spoiled=last.spoiled + request.spoiled,
                loose=last.loose + request.loose,
                mark=request.mark or last.mark,
                is_told_once=last.is_told_once or request.is_told_once,
                facts=last.facts + request.facts,
            )
        else:
            result.append(request)
    return result
