"""What the inside needs from the outside. An adapter implements one of these and knows nothing of the others.

All instants are aware and UTC. Every method may raise `StoreUnavailable` where it touches the store.
"""

from __future__ import annotations

from gateway.ports.access import AccessToken, AccessTokens, Rights
from gateway.ports.addresses import Addresses, Stranger
from gateway.ports.attribution import Attributions, PastMass
from gateway.ports.clock import Clock, ClockLog
from gateway.ports.documents import Documents, KeptDocument
from gateway.ports.intake import DeviceSighting, Intake, Source
from gateway.ports.ledger import Ledger
from gateway.ports.quarantine import Quarantine, Redecoded, Redecoder, SetAside
from gateway.ports.radios import Bonds, PairingQuestions, Radios
from gateway.ports.registry import Enrolments, Registry
from gateway.ports.space import HealthSpace
from gateway.ports.store import DirtyDay, ReadingStore

__all__ = [
    "AccessToken",
    "AccessTokens",
    "Addresses",
    "Attributions",
    "Bonds",
    "Clock",
    "ClockLog",
    "DeviceSighting",
    "DirtyDay",
    "Documents",
    "Enrolments",
    "HealthSpace",
    "Intake",
    "KeptDocument",
    "Ledger",
    "PairingQuestions",
    "PastMass",
    "Quarantine",
    "Radios",
    "ReadingStore",
    "Redecoded",
    "Redecoder",
    "Registry",
    "Rights",
    "SetAside",
    "Source",
    "Stranger",
]
