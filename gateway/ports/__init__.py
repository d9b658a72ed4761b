"""What the inside needs from the outside. An adapter implements one of these and knows nothing of the others.

All instants are aware and UTC. Every method may raise `StoreUnavailable` where it touches the store.
"""

from __future__ import annotations

from gateway.ports.addresses import Addresses, Stranger
from gateway.ports.clock import Clock
from gateway.ports.intake import DeviceSighting, Intake, Source
from gateway.ports.radios import Bonds, PairingQuestions, Radios
from gateway.ports.registry import Enrolments, Registry
from gateway.ports.space import HealthSpace
from gateway.ports.store import DirtyDay, ReadingStore

__all__ = [
    "Addresses",
    "Bonds",
    "Clock",
    "DeviceSighting",
    "DirtyDay",
    "Enrolments",
    "HealthSpace",
    "Intake",
    "PairingQuestions",
    "Radios",
    "ReadingStore",
    "Registry",
    "Source",
    "Stranger",
]
