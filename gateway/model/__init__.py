"""The domain's words. Imports the standard library only, does no I/O, knows no protocol."""

from gateway.model.attribution import Decision, DecisionSource, StoredWeighIn, WeighInNumber, WeighInState
from gateway.model.batch import Batch, Checkpoint, CommitReceipt, Quarantined, QuarantineReason, RawFrame
from gateway.model.clock import ClockSession, RepairedHistory, UntrustedSpell
from gateway.model.departure import AuditEvent, AuditKind, Correction, Departure, DepartureDraft, DepartureState
from gateway.model.ids import DestinationId, DeviceId, OutboxId, PersonId, ReadingKey, is_identifier
from gateway.model.metrics import CATALOGUE, DataType, Metric, MetricInfo
from gateway.model.outage import Outage, OutageReason
from gateway.model.pairing import Enrolment, Farewell, PairingAttempt, PairingFailure, PairingState
from gateway.model.people import Consent, ConsentState, Device, DeviceKind, Person
from gateway.model.radio import Neighbour, RadioReport, RadioState
from gateway.model.reading import (
    Absent,
    Bound,
    BoundKind,
    Context,
    Meal,
    Provenance,
    Reading,
    SourceKind,
    StoredReading,
    TimeConfidence,
    TimeMethod,
    TimeQuality,
)
from gateway.model.summary import GlucoseDay, GlucosePeriod, WeightDay, WeightTrend
from gateway.model.travel import Itinerary, Leg, zone_of_text, zone_text
from gateway.model.units import MG_DL_PER_MMOL_L, Unit, convert

__all__ = [
    "CATALOGUE",
    "MG_DL_PER_MMOL_L",
    "Absent",
    "AuditEvent",
    "AuditKind",
    "Batch",
    "Bound",
    "BoundKind",
    "Checkpoint",
    "ClockSession",
    "CommitReceipt",
    "Consent",
    "ConsentState",
    "Context",
    "Correction",
    "DataType",
    "Decision",
    "DecisionSource",
    "Departure",
    "DepartureDraft",
    "DepartureState",
    "DestinationId",
    "Device",
    "DeviceId",
    "DeviceKind",
    "Enrolment",
    "Farewell",
    "GlucoseDay",
    "GlucosePeriod",
    "Itinerary",
    "Leg",
    "Meal",
    "Metric",
    "MetricInfo",
    "Neighbour",
    "Outage",
    "OutageReason",
    "OutboxId",
    "PairingAttempt",
    "PairingFailure",
    "PairingState",
    "Person",
    "PersonId",
    "Provenance",
    "QuarantineReason",
    "Quarantined",
    "RadioReport",
    "RadioState",
    "RawFrame",
    "Reading",
    "ReadingKey",
    "RepairedHistory",
    "SourceKind",
    "StoredReading",
    "StoredWeighIn",
    "TimeConfidence",
    "TimeMethod",
    "TimeQuality",
    "Unit",
    "UntrustedSpell",
    "WeighInNumber",
    "WeighInState",
    "WeightDay",
    "WeightTrend",
    "convert",
    "is_identifier",
    "zone_of_text",
    "zone_text",
]
