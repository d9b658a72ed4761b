"""Models as data: one module per maker, one page per maker in docs/devices."""

from __future__ import annotations

from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver
from gateway.devices.models import (
    a_and_d,
    accu_chek,
    beurer,
    broadcast,
    caresens,
    contour,
    fora,
    glucomen,
    omron,
    onetouch,
    others,
)
from gateway.devices.models._family import Certainty, Check, Family, Note, NotRead, Shown

__all__ = [
    "FAMILIES",
    "MODEL_DRIVERS",
    "NOT_READ",
    "Certainty",
    "Check",
    "Family",
    "NotRead",
    "Note",
    "Shown",
    "not_read_named",
    "why_not_read",
]

FAMILIES: tuple[Family, ...] = (
    accu_chek.FAMILY,
    contour.FAMILY,
    onetouch.FAMILY,
    fora.FAMILY,
    caresens.FAMILY,
    glucomen.FAMILY,
    beurer.FAMILY,
    omron.FAMILY,
    a_and_d.FAMILY,
    broadcast.XIAOMI,
    broadcast.BTHOME,
    others.MEDISANA,
    others.SOEHNLE,
    others.RENPHO,
    others.EUFY,
)
MODEL_DRIVERS: tuple[Driver, ...] = tuple(driver for family in FAMILIES for driver in family.drivers)
NOT_READ: tuple[NotRead, ...] = tuple(entry for family in FAMILIES for entry in family.not_read)


def why_not_read(advert: Advert) -> NotRead | None:
    """What to tell a person about a device that no driver reads; None: nothing is known about it."""
    return next((entry for entry in NOT_READ if entry.matches(advert)), None)


def not_read_named(name: str | None) -> NotRead | None:
    """The entry with that name; None: there is none."""
    return next((entry for entry in NOT_READ if entry.name == name), None)
