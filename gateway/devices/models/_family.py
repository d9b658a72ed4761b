"""What a family of devices is as data: its drivers, what is known about it and how sure that is, what was shown."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateway.devices.advert import Advert
from gateway.devices.drivers import GENERIC_DRIVERS, Driver, Steps
from gateway.devices.procedures import Facts
from gateway.devices.quirks import Quirks

__all__ = [
    "BY_OPENSCALE",
    "CUFF_STEPS",
    "METER_STEPS",
    "METER_WAKE_S",
    "SCALE_STEPS",
    "Certainty",
    "Check",
    "Family",
    "NotRead",
    "Note",
    "Shown",
    "like",
    "named",
    "says",
]


class Certainty(enum.StrEnum):
    """How sure a fact is."""

    STANDARD = "S"
    """Defined by the Bluetooth SIG."""
    CAPTURED = "C"
    """Seen in captures, or in drivers that people use."""
    ONE_REPORT = "1 report"
    """A hint."""


class Shown(enum.StrEnum):
    """How it was shown that something works. `HARDWARE`: with a real device in the room."""

    VECTOR = "vector"
    SCRIPTED = "scripted conversation"
    EMULATION = "emulation"
    HARDWARE = "hardware"
    NOT = "not shown"


@dataclass(frozen=True, slots=True)
class Note:
    """One known oddity."""

    text: str
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that works.

    Attributes:
        what: in words.
        shown: how.
        tests: `tests/....py::test_name` of each test that shows it; empty for `Shown.NOT` only.
    """

    what: str
    shown: Shown
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotRead:
    """Devices that are recognised and cannot be read directly.

    Attributes:
        name: unique, for logs.
        title: what people call them.
        matches: whether an advertisement is of them.
        reason: why they are not read, one sentence, French and English.
        route: how their readings can reach the gateway all the same, French and English; None: not at all.
    """

    name: str
    title: str
    matches: Callable[[Advert], bool]
    reason: tuple[str, str]
    route: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One maker's devices, with one page in docs/devices.

    Attributes:
        slug: name of the page.
        title: its heading.
        drivers: how they are read.
        not_read: those that are not.
        seen_by: how the family is recognised, in words.
        seen_certainty: how sure that is.
        notes: known oddities.
        checks: what works.
    """

    slug: str
    title: str
    drivers: tuple[Driver, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    seen_by: str = ""
    seen_certainty: Certainty = Certainty.ONE_REPORT
    notes: tuple[Note, ...] = ()
    checks: tuple[Check, ...] = ()


BY_OPENSCALE: Final = (
    "Ses mesures peuvent arriver par MQTT, depuis l’application openScale d’un téléphone.",
    "Its readings can come over MQTT, from the openScale app of a telephone.",
)
"""The route of most scales with a protocol of their own."""


METER_WAKE_S: Final = 30.0
"""No family was measured: meters in general advertise for some tens of seconds after a test or a press of a button."""
METER_STEPS: Final = Steps(
    fr=(
        "Allumez le lecteur et mettez-le en mode association Bluetooth, comme l’indique sa notice.",
        "Sur la page de la passerelle, choisissez le lecteur dans la liste.",
        "Si le lecteur montre un nombre, tapez-le ; sinon attendez le message « associé ».",
    ),
    en=(
        "Switch the meter on and put it into Bluetooth pairing mode, as its booklet says.",
        "On the page of the gateway, choose the meter in the list.",
        "If the meter shows a number, type it; otherwise wait for the message that it is paired.",
    ),
)
SCALE_STEPS: Final = Steps(
    fr=(
        "Mettez la balance en mode association Bluetooth, comme l’indique sa notice.",
        "Sur la page de la passerelle, choisissez la balance dans la liste.",
        "Attendez le message « associé », puis pesez-vous une fois.",
    ),
    en=(
        "Put the scale into Bluetooth pairing mode, as its booklet says.",
        "On the page of the gateway, choose the scale in the list.",
        "Wait for the message that it is paired, then weigh yourself once.",
    ),
)

CUFF_STEPS: Final = Steps(
    fr=(
        "Mettez le tensiomètre en mode association Bluetooth, comme l’indique sa notice.",
        "Sur la page de la passerelle, choisissez le tensiomètre dans la liste.",
        "Attendez le message « associé », puis faites une mesure.",
    ),
    en=(
        "Put the blood pressure monitor into Bluetooth pairing mode, as its booklet says.",
        "On the page of the gateway, choose the blood pressure monitor in the list.",
        "Wait for the message that it is paired, then take one measurement.",
    ),
)


def like(
    generic: str,
    *,
    name: str,
    title: str,
    matches: Callable[[Advert], bool],
    quirks: Quirks,
    pairing: Steps | None = None,
    recognises: Callable[[Facts], bool] | None = None,
    services: tuple[str, ...] = (),
) -> Driver:
    """A driver that has the conversation of the generic driver `generic`, in its own way.

    `services`: looked at besides those of the generic driver.
    """
    (base,) = (driver for driver in GENERIC_DRIVERS if driver.name == generic)
    return replace(
        base,
        name=name,
        title=title,
        matches=matches,
        quirks=quirks,
        pairing=pairing,
        recognises=recognises,
        services=(*base.services, *services),
    )


def named(
    *prefixes: str, services: frozenset[str] = frozenset(), company: int | None = None
) -> Callable[[Advert], bool]:
    """Whether the local name begins with one of `prefixes` (any case) or, where no name is sent, the maker's company id
    is there; in both cases together with one of `services`, where there are any.

    So two families whose names do not begin alike never claim one advertisement."""
    lowered = tuple(prefix.lower() for prefix in prefixes)

    def matches(advert: Advert) -> bool:
        if advert.name is not None:
            is_meant = advert.name.lower().startswith(lowered)
        else:
            is_meant = company is not None and company in advert.manufacturer_data
        return is_meant and (not services or bool(services & advert.services))

    return matches


def says(*, maker: tuple[str, ...] = (), model: tuple[str, ...] = ()) -> Callable[[Facts], bool]:
    """Whether Device Information names one of the makers or begins its model with one of `model`; any case."""
    makers, models = (tuple(word.lower() for word in words) for words in (maker, model))

    def recognises(facts: Facts) -> bool:
        said_maker, said_model = (facts.manufacturer or "").lower(), (facts.model or "").lower()
        return any(word in said_maker for word in makers) or said_model.startswith(models or ("\0",))

    return recognises
