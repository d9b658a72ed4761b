"""What a dialect is: a way in which some program puts measurements on MQTT topics.

A dialect is data and one pure function. It says what one message says, and no more: which device the topic stands for,
what a message without name or time is called, and what is kept, is decided by the source, the same for all dialects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.devices.advert import Advert
from gateway.model import Context, Metric, Unit
from gateway.normalise.reported import NO_CONTEXT, Problem, ReportedMeasurement, ReportedRecord

__all__ = ["Dialect", "Entity", "Message", "Said", "Untimed"]


class Message(NamedTuple):
    """One MQTT message.

    Attributes:
        topic: as published.
        payload: the bytes, already bounded in length.
        is_retained: the broker kept it: a statement about the past.
        qos: 0, 1 or 2 as delivered.
    """

    topic: str
    payload: bytes
    is_retained: bool = False
    qos: int = 1


class Untimed(NamedTuple):
    """Measurements that neither name themselves nor say when they were made; the source names and joins them.

    Attributes:
        measurements: each metric once.
        context: what was said around them.
        is_partial: the other half of the weigh-in may come in another message (a weight, then an impedance).
    """

    measurements: tuple[ReportedMeasurement, ...]
    context: Context = NO_CONTEXT
    is_partial: bool = False


class Said(NamedTuple):
    """What one message says. Everything empty: it is none of our business (a status, another kind of sensor).

    Attributes:
        records: what names itself, or says when it was made.
        untimed: what does neither.
        adverts: advertisements as heard by somebody else's radio, for our own decoders.
        problems: what gave nothing, for the quarantine.
        claims: the device that the payload says it is from (`AA:BB:CC:DD:EE:FF`, or a name); None: it says nothing. One
            that contradicts the topic is set aside.
        is_interrupted: the sender began anew or lost sight of its device: what it says next may be its last value once
            more, told to whoever came late.
    """

    records: tuple[ReportedRecord, ...] = ()
    untimed: tuple[Untimed, ...] = ()
    adverts: tuple[Advert, ...] = ()
    problems: tuple[Problem, ...] = ()
    claims: str | None = None
    is_interrupted: bool = False


class Entity(NamedTuple):
    """What the configuration says of one bare number: its name in the topic, what it measures, in which unit."""

    name: str
    metric: Metric
    unit: Unit


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect.

    Attributes:
        name: of the configuration and of the provenance (`mqtt.<name>`): lower-case letters, digits, `_`.
        title: the program that speaks it, for people.
        topics: MQTT topic filters by that program's defaults; the configuration may name others.
        address_of: the Bluetooth address (`AA:BB:CC:DD:EE:FF`) that a topic of this dialect names; None: it names none,
            and the configuration binds the topics to a device.
        decode: total: whatever the message is, the answer is a `Said`.
        configured: the same dialect for bare numbers that the configuration explains; None: it explains itself.
        needs_entities: without such an explanation it says nothing.
        needs_address: its topics are of everything in reach, and only the payload says which device speaks: the device
            that they are bound to needs its address, or the neighbour's would be taken for it.
    """

    name: str
    title: str
    topics: tuple[str, ...]
    address_of: Callable[[str], str | None]
    decode: Callable[[Message], Said]
    configured: Callable[[tuple[Entity, ...]], Dialect] | None = None
    needs_entities: bool = False
    needs_address: bool = False
