"""Weights and impedances that a scale has told everybody -> readings.

Nobody vouches for a broadcast in the clear: every reading of one says so in its status. One that was sealed with the
device's own key does not.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.errors import Implausible
from gateway.model import Context, Metric, Provenance, Reading, Unit
from gateway.normalise.contact import Contact, Normalised
from gateway.normalise.quantity import to_canonical
from gateway.normalise.times import CLOCK_TOLERANCE, Placed, place_device_time, place_reception

__all__ = ["FAR_FROM_LAST", "UNAUTHENTICATED", "broadcast_readings"]

UNAUTHENTICATED: Final = "unauthenticated_broadcast"
"""Status: anybody nearby could have sent it under the device's address."""
FAR_FROM_LAST: Final = "far_from_last"
"""Status: outside the window around the weight before; somebody else, or somebody who imitates the scale."""
_DECODER: Final = "broadcast.scale"
_SEALED_DECODER: Final = "broadcast.sealed_scale"
_STAMP_TOLERANCE: Final = timedelta(minutes=10)


def broadcast_readings(
    *,
    weigh_in: str,
    mass: Decimal | None,
    mass_unit: Unit,
    raw_weight: int,
    impedance_ohm: Decimal | None,
    time_stamp: datetime | None,
    contact: Contact,
    is_unusual: bool = False,
    impedance_250_khz_ohm: Decimal | None = None,
    heart_rate_per_min: int | None = None,
    sent_at: datetime | None = None,
    profile: int | None = None,
    is_proven: bool = False,
    frame: int | None = None,
) -> Normalised:
    """Body mass, impedance and heart rate, as far as they are there.

    The scale's clock counts where it agrees with ours to ten minutes: it cannot be set over the air, and a broadcast is
    heard while it is made. Otherwise a live result is placed at its reception, and a repeat has an unknown instant.

    Args:
        weigh_in: name of the weigh-in, printable ASCII.
        mass: in `mass_unit`; None: only an impedance.
        mass_unit: kg, lb or jin.
        raw_weight: the word on the air; with `weigh_in` it names the body mass.
        impedance_ohm: None: not measured.
        time_stamp: the scale's own local clock, naive, or None.
        contact: when it was heard; `is_live` as for the record.
        is_unusual: far from the weight before.
        impedance_250_khz_ohm: of a scale with two frequencies; None: not measured.
        heart_rate_per_min: None: not measured.
        sent_at: the scale's clock as an instant (aware) where it knows UTC, in place of `time_stamp`.
        profile: the slot of the scale's own app; a hint only, because the scale guesses it.
        is_proven: it was sealed with the device's key.
        frame: index of the raw payload in the batch.
    """
    if sent_at is not None:
        time_stamp = sent_at.astimezone(contact.zone).replace(tzinfo=None)
    placed = _placed(time_stamp, contact)
    doubts = ((FAR_FROM_LAST, is_unusual), (UNAUTHENTICATED, not is_proven))
    status = tuple(word for word, is_said in doubts if is_said)
    heart_rate = None if heart_rate_per_min is None else Decimal(heart_rate_per_min)
    user_name = None if profile is None else str(profile)
    provenance = Provenance(contact.source, _SEALED_DECODER if is_proven else _DECODER)
    readings: list[Reading] = []
    problems: list[str] = []
    for metric, sent, unit, key in (
        (Metric.BODY_MASS, mass, mass_unit, f"{weigh_in}#{raw_weight}"),
        (Metric.IMPEDANCE, impedance_ohm, Unit.OHM, weigh_in),
        (Metric.IMPEDANCE_250_KHZ, impedance_250_khz_ohm, Unit.OHM, weigh_in),
        (Metric.HEART_RATE, heart_rate, Unit.PER_MIN, weigh_in),
    ):
        if sent is None:
            continue
        try:
            value = to_canonical(metric, sent, unit)
        except Implausible as error:
            problems.append(str(error))
            continue
        readings.append(
            Reading(
                device_id=contact.device_id,
                epoch=contact.epoch,
                record_key=key,
                metric=metric,
                effective_at=placed.effective_at,
                utc_offset_min=placed.utc_offset_min,
                time_quality=placed.quality,
                time_method=placed.method,
                received_at=contact.received_at,
                provenance=provenance,
                value=value,
                original_value=sent,
                original_unit=unit,
                context=Context(weigh_in=weigh_in, status=status, user_name=user_name),
                device_time=time_stamp,
                frame=frame,
            )
        )
    return Normalised(tuple(readings), tuple(problems))


def _placed(time_stamp: datetime | None, contact: Contact) -> Placed:
    received_at, zone = contact.received_at, contact.zone
    if time_stamp is not None:
        local_now = received_at.astimezone(zone).replace(tzinfo=None)
        off = local_now - time_stamp
        if abs(off) <= _STAMP_TOLERANCE or not contact.is_live:
            is_checked = contact.is_live and contact.clock_is_trusted and abs(off) <= CLOCK_TOLERANCE
            placed = place_device_time(
                time_stamp,
                received_at,
                zone,
                clock_offset=off if is_checked else None,
                clock_is_trusted=contact.clock_is_trusted,
            )
            if contact.is_live or abs(placed.effective_at - received_at) <= timedelta(hours=12):
                return placed
    return place_reception(received_at, zone, is_live=contact.is_live, clock_is_trusted=contact.clock_is_trusted)
