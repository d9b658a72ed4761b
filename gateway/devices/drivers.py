"""Which conversation belongs to which advertisement.

A driver is data and two functions. Others add theirs through the entry-point group `gateway.devices`: each entry names
a `Driver`. At most one driver may claim an advertisement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import entry_points

from gateway.devices.advert import Advert
from gateway.devices.procedures import (
    BloodPressureSession,
    CgmSession,
    ClockChange,
    Facts,
    GlucoseDump,
    GlucoseFetch,
    HeartRateSession,
    KeyedListener,
    Listener,
    OximeterSession,
    Procedure,
    ScaleSession,
    ScaleUser,
    ThermometerSession,
)
from gateway.devices.procedures.cgm_session import CGM_CHECKPOINT
from gateway.devices.procedures.clock_setting import is_worth_setting
from gateway.devices.procedures.glucose_watermark import GLUCOSE_CHECKPOINT
from gateway.devices.procedures.oximeter_session import OXIMETER_CHECKPOINT
from gateway.devices.quirks import Quirks, RecordNumbering
from gateway.devices.sealed import Lock
from gateway.errors import ConfigurationError
from gateway.model import DeviceKind

__all__ = [
    "ENTRY_POINT_GROUP",
    "GENERIC_DRIVERS",
    "Driver",
    "Opening",
    "Permissions",
    "Steps",
    "driver_for",
    "driver_for_kind",
    "load_drivers",
    "recognised",
]

ENTRY_POINT_GROUP = "gateway.devices"
_NOT_LOADED = (ImportError, AttributeError, NameError, SyntaxError, TypeError, ValueError, LookupError)
"""What a module says that is broken, or was written for another release: a `Driver` made with a field that is gone."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a person allows the gateway to change on a device; nothing unless said.

    Attributes:
        set_clock: give it our time, where its own is off.
        cgm_interval_min: make a sensor notify every so many minutes, 1..60; None: leave it.
    """

    set_clock: bool = False
    cgm_interval_min: int | None = None


_NO_FACTS = Facts()
_STANDARD = Quirks()
_NOTHING = Permissions()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a driver may need to begin.

    Attributes:
        local_now: aware, the owner's wall clock and zone.
        facts: what the device has said about itself in this contact.
        state: the driver's last durable checkpoint, or None.
        scale_user: the owner's slot on a scale, or None.
        may: what the device's owner allows.
        clock_is_trusted: whether `local_now` can be right; where not, no device is told it.
        quirks: those of the family that the device turned out to be of.
    """

    local_now: datetime
    facts: Facts = _NO_FACTS
    state: Mapping[str, str | int | bool | None] | None = None
    scale_user: ScaleUser | None = None
    may: Permissions = _NOTHING
    clock_is_trusted: bool = True
    quirks: Quirks = _STANDARD


@dataclass(frozen=True, slots=True)
class Steps:
    """What a person does with the device, one sentence each, in French and English."""

    fr: tuple[str, ...]
    en: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Driver:
    """How one family of devices is recognised and read. It has `open`, `listen`, both, or `unlock`.

    Attributes:
        name: unique, for logs.
        kinds: what its devices are.
        services: where its characteristics are looked for first, in this order.
        matches: whether an advertisement is of this family.
        open: the conversation over a link; None: it is never connected to.
        listen: what is made of its advertisements; None: they only say that it is awake. Given the last durable
            checkpoint's state, or None.
        unlock: what is made of its advertisements when they are encrypted: given that state, and the device's key. It
            takes the place of `listen`; without its key such a device is not read.
        checkpoint: name of the checkpoint that `open` wants as `Opening.state`, or `listen` as its argument.
        quirks: what it does in its own way.
        title: what people call the family; empty for the generic drivers.
        pairing: what a person does to pair it; None: switch it on and stay near.
        recognises: whether a device that a more general driver has connected to turns out, by what it says about
            itself, to be of this family; None: only its advertisement tells.
    """

    name: str
    kinds: frozenset[DeviceKind]
    services: tuple[str, ...]
    matches: Callable[[Advert], bool]
    open: Callable[[Opening], Procedure] | None = None
    listen: Callable[[Mapping[str, str | int | bool | None] | None], Listener] | None = None
    unlock: Callable[[Mapping[str, str | int | bool | None] | None, Lock], KeyedListener] | None = None
    checkpoint: str | None = None
    quirks: Quirks = _STANDARD
    title: str = ""
    pairing: Steps | None = None
    recognises: Callable[[Facts], bool] | None = None


def recognised(driver: Driver, facts: Facts, drivers: Sequence[Driver]) -> Driver:
    """The driver for a device whose advertisement `driver` claimed and that now has said `facts` about itself.

    A driver that recognises it and has the same kinds of device and services takes over; otherwise `driver` stays. One
    with another checkpoint does not: it would begin where nobody has left off.
    """
    return next(
        (
            other
            for other in drivers
            if other.recognises is not None
            and other.open is not None
            and other.kinds & driver.kinds
            and other.checkpoint == driver.checkpoint
            and other.recognises(facts)
        ),
        driver,
    )


def driver_for(advert: Advert, drivers: Sequence[Driver]) -> Driver | None:
    """The driver that claims `advert`, or None."""
    return next((driver for driver in drivers if driver.matches(advert)), None)


def driver_for_kind(kind: DeviceKind, drivers: Sequence[Driver]) -> Driver | None:
    """The first generic driver for a device that is known by configuration and whose advertisement none claims."""
    suitable = (driver for driver in drivers if kind in driver.kinds and driver.open is not None)
    return next((driver for driver in suitable if not driver.title), None)


def load_drivers() -> tuple[Driver, ...]:
    """Drivers of installed packages, of models, then the generic ones: a special driver goes before the standard.

    Raises:
        ConfigurationError: an entry point that cannot be loaded, is no `Driver`, or repeats a name.
    """
    from gateway.devices.models import MODEL_DRIVERS  # its modules are made of the parts of this one

    found: list[Driver] = []
    problems: list[tuple[str, str]] = []
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        try:
            driver = entry.load()
        except _NOT_LOADED as error:
            problems.append((f"{ENTRY_POINT_GROUP}:{entry.name}", f"cannot be loaded ({type(error).__name__})"))
            continue
        if isinstance(driver, Driver):
            found.append(driver)
        else:
            problems.append((f"{ENTRY_POINT_GROUP}:{entry.name}", "is not a gateway.devices.drivers.Driver"))
    drivers = (*found, *MODEL_DRIVERS, *GENERIC_DRIVERS)
    names = [driver.name for driver in drivers]
    problems += [
        (ENTRY_POINT_GROUP, f"two drivers are called {name!r}") for name in {n for n in names if names.count(n) > 1}
    ]
    if problems:
        raise ConfigurationError(problems)
    return drivers


def _is_cgm(advert: Advert) -> bool:
    return "181f" in advert.services


def _is_meter(advert: Advert) -> bool:
    return "1808" in advert.services and not _is_cgm(advert)


def _is_scale(advert: Advert) -> bool:
    """A scale to connect to; one that puts its result into the service data only broadcasts."""
    scale = {"181d", "181b"}
    is_offered = bool(scale & advert.services) and not scale & advert.service_data.keys()
    return is_offered and not _is_cgm(advert) and not _is_meter(advert)


_BEFORE_VITAL_SIGNS = frozenset({"181f", "1808", "181d", "181b"})
_VITAL_SERVICES = ("1810", "1822", "1809", "180d")
"""In the order in which a device with several is read: a cuff and an oximeter that show 180D tell the pulse anyway."""


def _is_of_vital_sign(service: str) -> Callable[[Advert], bool]:
    ahead = _BEFORE_VITAL_SIGNS | frozenset(_VITAL_SERVICES[: _VITAL_SERVICES.index(service)])

    def matches(advert: Advert) -> bool:
        is_another = ahead & advert.services or _BEFORE_VITAL_SIGNS & advert.service_data.keys()
        return service in advert.services and not is_another

    return matches


def _open_meter(opening: Opening) -> Procedure:
    quirks = opening.quirks
    if quirks.numbering is RecordNumbering.BACKWARDS:
        return GlucoseDump(opening.state, is_dual=quirks.is_dual)
    return GlucoseFetch(opening.state, is_dual=quirks.is_dual)


def _open_cgm(opening: Opening) -> Procedure:
    return CgmSession(
        opening.local_now,
        opening.state,
        clock_is_trusted=opening.clock_is_trusted,
        interval_min=opening.may.cgm_interval_min,
    )


def _open_scale(opening: Opening) -> Procedure:
    wall = opening.local_now.replace(tzinfo=None)
    offset = opening.facts.clock_offset(wall)
    slot = opening.quirks.first_user_slot
    if offset is None or not (opening.may.set_clock and opening.clock_is_trusted and is_worth_setting(offset)):
        return ScaleSession(opening.scale_user, first_slot=slot)
    return ScaleSession(opening.scale_user, clock=ClockChange(wall, offset), first_slot=slot)


GENERIC_DRIVERS: tuple[Driver, ...] = (
    Driver(
        name="gatt.glucose_meter",
        kinds=frozenset({DeviceKind.GLUCOSE_METER}),
        services=("1808", "1805", "180a", "180f"),
        matches=_is_meter,
        open=_open_meter,
        checkpoint=GLUCOSE_CHECKPOINT,
        quirks=Quirks(hangs_up_unbonded=True),
    ),
    Driver(
        name="gatt.cgm",
        kinds=frozenset({DeviceKind.CGM}),
        services=("181f", "1805", "180a", "180f"),
        matches=_is_cgm,
        open=_open_cgm,
        checkpoint=CGM_CHECKPOINT,
        quirks=Quirks(hangs_up_unbonded=True),
    ),
    Driver(
        name="gatt.scale",
        kinds=frozenset({DeviceKind.SCALE, DeviceKind.BODY_COMPOSITION_ANALYSER}),
        services=("181d", "181b", "181c", "1805", "180a", "180f"),
        matches=_is_scale,
        open=_open_scale,
    ),
    Driver(
        name="gatt.blood_pressure",
        kinds=frozenset({DeviceKind.BLOOD_PRESSURE_MONITOR}),
        services=("1810", "1805", "180a", "180f"),
        matches=_is_of_vital_sign("1810"),
        open=lambda _opening: BloodPressureSession(),
    ),
    Driver(
        name="gatt.pulse_oximeter",
        kinds=frozenset({DeviceKind.PULSE_OXIMETER}),
        services=("1822", "1805", "180a", "180f"),
        matches=_is_of_vital_sign("1822"),
        open=lambda opening: OximeterSession(opening.state),
        checkpoint=OXIMETER_CHECKPOINT,
    ),
    Driver(
        name="gatt.thermometer",
        kinds=frozenset({DeviceKind.THERMOMETER}),
        services=("1809", "1805", "180a", "180f"),
        matches=_is_of_vital_sign("1809"),
        open=lambda _opening: ThermometerSession(),
    ),
    Driver(
        name="gatt.heart_rate",
        kinds=frozenset({DeviceKind.HEART_RATE_MONITOR}),
        services=("180d", "180a", "180f"),
        matches=_is_of_vital_sign("180d"),
        open=lambda _opening: HeartRateSession(),
    ),
)
"""Devices that follow the adopted GATT services."""
