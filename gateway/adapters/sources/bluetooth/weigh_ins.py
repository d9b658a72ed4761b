"""Which weight and which body composition of one contact are one weigh-in. Pure.

A scale tells a weigh-in as a weight (2A9D), as a body composition (2A9C), or as both, and need not give both a time and
a user. Two that follow each other closely with the same weight, and do not contradict each other, are one: what one of
them lacks it takes from the other, and the name of the first, which is durable already, is the name of both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from gateway.devices.body_composition import BodyCompositionMeasurement
from gateway.devices.procedures import CompositionSample, WeightSample
from gateway.devices.weight_scale import WeightMeasurement
from gateway.normalise.contact import Contact
from gateway.normalise.scale import weigh_in_name

__all__ = ["WeighIn", "WeighIns"]

_ONE_WEIGH_IN: Final = timedelta(seconds=10)
_CLOCK_SLACK: Final = timedelta(minutes=1)
_REMEMBERED: Final = 64
M = TypeVar("M", WeightMeasurement, BodyCompositionMeasurement)


@dataclass(frozen=True, slots=True)
class WeighIn:
    """How to normalise one measurement of a scale.

    Attributes:
        kind: which of the two characteristics spoke.
        raw_weight: the word on the wire; None when a composition holds no weight.
        time_stamp: naive, the scale's own, or that of the other half; None when there is none.
        user_index: likewise.
        contact: with the instant, liveness and correction that hold for it.
        name: shared by all readings of the weigh-in.
        heard_at: when it came.
    """

    kind: type[WeightSample] | type[CompositionSample]
    raw_weight: int | None
    time_stamp: datetime | None
    user_index: int | None
    contact: Contact
    name: str
    heard_at: datetime

    def filled(self, measurement: M) -> M:
        """`measurement` with what it lacked."""
        return replace(measurement, time_stamp=self.time_stamp, user_index=self.user_index)

    def is_other_half_of(self, other: WeighIn) -> bool:
        """Whether both speak of one step onto the scale."""
        if self.kind is other.kind or abs(self.heard_at - other.heard_at) > _ONE_WEIGH_IN:
            return False
        if None in (self.raw_weight, other.raw_weight):
            return self.time_stamp == other.time_stamp and self.user_index == other.user_index
        return (
            self.raw_weight == other.raw_weight
            and (None in (self.time_stamp, other.time_stamp) or self.time_stamp == other.time_stamp)
            and (None in (self.user_index, other.user_index) or self.user_index == other.user_index)
        )


@dataclass(slots=True)
class WeighIns:
    """What one contact has heard of a scale, as far as its other half may still come."""

    _single: list[WeighIn] = field(default_factory=list)

    def settle(self, sample: WeightSample | CompositionSample, contact: Contact) -> WeighIn:
        """The weigh-in that `sample` belongs to. `contact`: when it came, with the offset measured at contact."""
        heard = _alone(sample, contact)
        other = next((known for known in reversed(self._single) if known.is_other_half_of(heard)), None)
        if other is None:
            self._single = [*self._single[1 - _REMEMBERED :], heard]
            return heard
        self._single.remove(other)
        has_time = heard.time_stamp is not None
        return replace(
            heard,
            time_stamp=heard.time_stamp if has_time else other.time_stamp,
            user_index=other.user_index if heard.user_index is None else heard.user_index,
            contact=heard.contact if has_time else other.contact,
            name=other.name,
        )


def _alone(sample: WeightSample | CompositionSample, contact: Contact) -> WeighIn:
    measurement = sample.measurement
    time_stamp, user_index = measurement.time_stamp, measurement.user_index
    name = weigh_in_name(time_stamp, user_index, contact.received_at)
    at_contact = contact
    if time_stamp is not None:
        if _is_by_new_clock(time_stamp, sample.clock_set_to, contact):
            at_contact = replace(contact, clock_offset=None)
    elif sample.is_time_sent:
        digest = hashlib.sha256(b"".join(frame.payload for frame in sample.frames)).hexdigest()
        name = f"raw-{digest[:16]}#{'-' if user_index is None else user_index}"
    else:
        at_contact = replace(contact, is_live=True)
    return WeighIn(
        kind=type(sample),
        raw_weight=measurement.raw_weight,
        time_stamp=time_stamp,
        user_index=user_index,
        contact=at_contact,
        name=name,
        heard_at=contact.received_at,
    )


def _is_by_new_clock(time_stamp: datetime, clock_set_to: datetime | None, contact: Contact) -> bool:
    """Whether the scale stamped it after it had been given our time in this contact: then nothing is off any more."""
    if clock_set_to is None:
        return False
    local_now = contact.received_at.astimezone(contact.zone).replace(tzinfo=None)
    return clock_set_to - _CLOCK_SLACK <= time_stamp <= local_now + _CLOCK_SLACK
