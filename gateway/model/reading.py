"""`Reading`: the one shape that every measurement takes, whatever device it came from."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from gateway.model.ids import DeviceId, PersonId, ReadingKey
from gateway.model.metrics import Metric
from gateway.model.units import Unit

__all__ = [
    "Absent",
    "Bound",
    "BoundKind",
    "Context",
    "Meal",
    "Provenance",
    "Reading",
    "SourceKind",
    "StoredReading",
    "TimeConfidence",
    "TimeMethod",
    "TimeQuality",
]


class BoundKind(enum.StrEnum):
    """Which side of the device's measuring range the result fell off."""

    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, slots=True)
class Bound:
    """A result outside the measuring range: a statement about a limit, never a number to average.

    Attributes:
        kind: below (LO) or above (HI).
        limit: the end of the device's range in the metric's canonical unit, None when the device did not say.
    """

    kind: BoundKind
    limit: Decimal | None = None


class Absent(enum.StrEnum):
    """Why a record carries no number at all."""

    NOT_A_NUMBER = "not_a_number"
    """SFLOAT NaN: a measurement was made and gave no valid number."""
    NOT_AT_THIS_RESOLUTION = "not_at_this_resolution"
    RESERVED = "reserved"
    UNSUCCESSFUL = "unsuccessful"
    """The device says that the measurement failed (weight 0xFFFF, fat 0xFFFF)."""
    NOT_INCLUDED = "not_included"
    """The record carries a status only."""
    UNTRUSTWORTHY = "untrustworthy"
    """The device marks its own value as unusable (strip error, sensor malfunction...)."""
    WITHDRAWN = "withdrawn"
    """Its source took it back: deleted there after it had been sent. Earlier versions are kept."""


class TimeQuality(enum.StrEnum):
    """How `effective_at` was found."""

    DEVICE = "device"
    """The device's own clock, which agreed with ours at contact or was not measured."""
    CORRECTED = "corrected"
    """The device's clock plus the offset measured at contact; or concluded from the order of the device's records."""
    RECEIVED = "received"
    """The source gave no time; the moment of reception, for a live measurement."""
    UNKNOWN = "unknown"
    """Nobody knows; `effective_at` holds the time of reception so that the reading can be found."""


class TimeConfidence(enum.StrEnum):
    """How far from the truth `effective_at` may lie."""

    HIGH = "high"
    """Two minutes."""
    MEDIUM = "medium"
    """An hour or so: a clock that was not compared, or an hour that exists twice."""
    LOW = "low"
    """Estimated: it lies between its neighbours. It is shown as such and does not leave."""
    NONE = "none"


class TimeMethod(enum.StrEnum):
    """By which evidence `effective_at` was found; says more than `TimeQuality`."""

    CLOCK_CHECKED = "clock_checked"
    """The device's own clock, compared with ours at this contact and found to agree."""
    CLOCK_UNCHECKED = "clock_unchecked"
    """The device's own clock; nobody could compare it."""
    CLOCK_AMBIGUOUS = "clock_ambiguous"
    """The device's wall clock, in an hour that exists twice, or not at all, where the clocks change."""
    SOURCE_INSTANT = "source_instant"
    """The source named an instant with its zone."""
    SESSION = "session"
    """Start of a sensor's session plus the record's offset."""
    OFFSET_MEASURED = "offset_measured"
    """The device's clock plus the offset measured at contact, before any clock was set."""
    SEGMENT = "segment"
    """The device's clock was changed between records; each stretch has its own offset."""
    RECEPTION = "reception"
    """Measured while the gateway listened, by the gateway's clock."""
    RECEPTION_REPAIRED = "reception_repaired"
    """As before, by a clock that was wrong and of which the error became known afterwards."""
    NEIGHBOURS = "neighbours"
    """Between the records before and after it."""
    NOTHING = "nothing"
    """No evidence at all."""

    @property
    def confidence(self) -> TimeConfidence:
        """What the method is worth."""
        return _CONFIDENCE[self]


_CONFIDENCE = {
    TimeMethod.CLOCK_CHECKED: TimeConfidence.HIGH,
    TimeMethod.CLOCK_UNCHECKED: TimeConfidence.MEDIUM,
    TimeMethod.CLOCK_AMBIGUOUS: TimeConfidence.MEDIUM,
    TimeMethod.SOURCE_INSTANT: TimeConfidence.HIGH,
    TimeMethod.SESSION: TimeConfidence.HIGH,
    TimeMethod.OFFSET_MEASURED: TimeConfidence.HIGH,
    TimeMethod.SEGMENT: TimeConfidence.HIGH,
    TimeMethod.RECEPTION: TimeConfidence.HIGH,
    TimeMethod.RECEPTION_REPAIRED: TimeConfidence.HIGH,
    TimeMethod.NEIGHBOURS: TimeConfidence.LOW,
    TimeMethod.NOTHING: TimeConfidence.NONE,
}


class SourceKind(enum.StrEnum):
    """How a payload reached the gateway."""

    BLUETOOTH = "bluetooth"
    MQTT = "mqtt"
    HTTP = "http"
    FILE = "file"
    SIMULATED = "simulated"


class Meal(enum.StrEnum):
    """Relation of a capillary test to a meal (Glucose Measurement Context, field Meal)."""

    PREPRANDIAL = "preprandial"
    POSTPRANDIAL = "postprandial"
    FASTING = "fasting"
    CASUAL = "casual"
    BEDTIME = "bedtime"


@dataclass(frozen=True, slots=True)
class Context:
    """What the device said around the value. Everything is optional; nothing is derived.

    Attributes:
        meal, carbohydrate_g, carbohydrate_kind, exercise_duration_s, exercise_intensity_percent, medication_kind,
        medication_mg, medication_ml, hba1c_percent, tester, health: Glucose Measurement Context (2A34).
        sample_type, sample_location: 2A18 / 2AA8 tables, snake_case words (`capillary_whole_blood`, `finger`).
        is_control_solution: a test of the meter, not of a person; stored, never shown as a result.
        trend_mg_dl_min: the sensor's own rate of change, mg/dL per minute.
        quality_percent: the sensor's own quality figure (no common scale).
        status: snake_case names of the status bits that were set, sorted.
        user_index: the slot of a scale that knows several people, 0..254.
        weigh_in: a key shared by the readings of one weigh-in.
        is_device_derived: computed by the device with its maker's formula (fat, muscle, water...).
        user_name: what the source calls the user (a name, a slug, a number): a hint, not an identity; 1-64 characters.
        trend_arrow: direction of a sensor in Nightscout's word (`Flat`, `FortyFiveUp`...), as it was sent.
        noise_level: 0 none, 1 clean, 2 light, 3 medium, 4 heavy, 5 unknown (Nightscout).
        recorded_by: the program or device behind the source, in its own words, 1-64 characters.
        note: free text from the source, at most 200 characters.
    """

    meal: Meal | None = None
    carbohydrate_g: Decimal | None = None
    carbohydrate_kind: str | None = None
    exercise_duration_s: int | None = None
    exercise_intensity_percent: int | None = None
    medication_kind: str | None = None
    medication_mg: Decimal | None = None
    medication_ml: Decimal | None = None
    hba1c_percent: Decimal | None = None
    tester: str | None = None
    health: str | None = None
    sample_type: str | None = None
    sample_location: str | None = None
    is_control_solution: bool = False
    trend_mg_dl_min: Decimal | None = None
    quality_percent: Decimal | None = None
    status: tuple[str, ...] = ()
    user_index: int | None = None
    weigh_in: str | None = None
    is_device_derived: bool = False
    user_name: str | None = None
    trend_arrow: str | None = None
    noise_level: int | None = None
    recorded_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a reading came from.

    Attributes:
        source: the kind of transport.
        decoder: name of the decoder, e.g. `gatt.2a18`, `mqtt.passerelle`.
        is_retained: an MQTT retained message: a statement about the past, not news.
        is_unconfirmed: sent without confirmation (MQTT QoS 0): what is lost on the way is lost without a trace.
    """

    source: SourceKind
    decoder: str
    is_retained: bool = False
    is_unconfirmed: bool = False


_NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured result, normalised.

    Identity is (`device_id`, `epoch`, `record_key`, `metric`), all of it said by the device: receiving a record
    again changes nothing, and a counter reset opens a new epoch.

    Exactly one of `value`, `bound`, `absent` is set.

    Attributes:
        device_id: which device.
        epoch: 0, 1, 2...: the life of the device's record counter.
        record_key: the device's own name for the record (sequence and base time, session and minute...), 1-128
            printable ASCII characters without spaces.
        metric: what was measured.
        value: exact, in `metric.info.unit`, unrounded.
        bound: LO / HI.
        absent: why there is no number.
        original_value, original_unit: as the device sent it.
        context: see `Context`.
        device_time: the device's own local clock, naive, untouched; None when it has none or sent an impossible date.
        effective_at: when it was measured, aware, UTC.
        utc_offset_min: the person's UTC offset at that instant, minutes east.
        time_quality: how `effective_at` was found.
        received_at: when the gateway first had it, aware, UTC, by the gateway's clock.
        provenance: see `Provenance`.
        time_method: by which evidence; None for what older releases stored.
        frame: index of the raw payload in the batch that carries this reading; None when there is none.
    """

    device_id: DeviceId
    epoch: int
    record_key: str
    metric: Metric
    effective_at: datetime
    utc_offset_min: int
    time_quality: TimeQuality
    received_at: datetime
    provenance: Provenance
    value: Decimal | None = None
    bound: Bound | None = None
    absent: Absent | None = None
    original_value: Decimal | None = None
    original_unit: Unit | None = None
    context: Context = _NO_CONTEXT
    device_time: datetime | None = None
    time_method: TimeMethod | None = None
    frame: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if (self.value is None) + (self.bound is None) + (self.absent is None) != 2:
            raise ValueError("a reading has exactly one of value, bound, absent")
        if self.effective_at.tzinfo is not UTC or self.received_at.tzinfo is not UTC:
            raise ValueError("effective_at and received_at are UTC")

    @property
    def key(self) -> ReadingKey:
        """The identity as one string."""
        return ReadingKey(f"{self.device_id}/{self.epoch}/{self.record_key}/{self.metric.value}")

    @property
    def local_time(self) -> datetime:
        """The person's wall clock at that instant, naive."""
        return (self.effective_at + timedelta(minutes=self.utc_offset_min)).replace(tzinfo=None)

    @property
    def local_day(self) -> date:
        """The person's calendar day."""
        return self.local_time.date()

    @property
    def is_result(self) -> bool:
        """Whether it says something about the person: a number or a bound, not a control solution, at a known time."""
        return (
            self.absent is None
            and not self.context.is_control_solution
            and self.time_quality is not TimeQuality.UNKNOWN
        )


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading as the store gives it back.

    Attributes:
        reading: the reading; its `frame` is always None here.
        person_id: whose it is; None while nobody knows.
        row_id: the store's own number, growing in order of commit.
        raw_id: the store's number of the raw payload; None when none was kept.
    """

    reading: Reading
    person_id: PersonId | None
    row_id: int
    raw_id: int | None
