"""The desk and the household behind one small interface: a state to show, and what a person can do.

The web page, the JSON interface and `gateway pair` all use this, so that none of them can do more than another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.bind_keys import bind_key_of
from gateway.care import Care, Caretaker, Concern
from gateway.devices.drivers import Driver, Permissions, Steps
from gateway.devices.models import NotRead, not_read_named
from gateway.devices.procedures.clock_setting import settable_clock
from gateway.devices.quirks import Bonding
from gateway.errors import StoreUnavailable
from gateway.model import DeviceId, DeviceKind, Neighbour, PairingAttempt, PairingState, Person, PersonId
from gateway.pairing.desk import PairingDesk, PairingRefused
from gateway.pairing.household import Household, Naming
from gateway.ports import Bonds, Radios

__all__ = ["ACTIONS", "PairingOffice"]

ACTIONS: Final = ("pair", "passkey", "compare", "cancel", "enrol", "key", "clock", "register", "unpair")
_STRONG_DBM, _FAIR_DBM = -65, -80
_STORE_S: Final = 5.0
_USER_DATA: Final = "181c"
_GENERIC: Final = Steps(
    fr=("Allumez l'appareil et gardez-le à moins de deux mètres de la passerelle.",),
    en=("Switch the device on and keep it within two metres of the gateway.",),
)


class PairingOffice:
    """What can be seen and done about pairing.

    Args:
        needs_pairing: devices that do not accept us any more.
        caretaker: what a person should know about a device; None: nobody looks.
        permissions: what the gateway may change on a device.
    """

    def __init__(
        self,
        desk: PairingDesk,
        household: Household,
        radios: Radios,
        bonds: Bonds,
        *,
        drivers: Sequence[Driver],
        people: Mapping[PersonId, Person],
        needs_pairing: Callable[[], frozenset[DeviceId]] = frozenset,
        caretaker: Caretaker | None = None,
        permissions: Callable[[DeviceId], Permissions] = lambda _device_id: Permissions(),
    ) -> None:
        self._desk = desk
        self._household = household
        self._radios = radios
        self._bonds = bonds
        self._drivers = {driver.name: driver for driver in drivers}
        self._people = dict(people)
        self._needs_pairing = needs_pairing
        self._caretaker = caretaker
        self._permissions = permissions
        self._unpaired: dict[str, str] | None = None

    async def changed(self) -> None:
        """Return at the next change of the attempt."""
        await self._desk.changed()

    async def run(self) -> None:
        """Carry out what people begin, for ever; until the first moment, take up what was enrolled earlier."""
        await self._household.collect()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._desk.run(), name="pairing.desk")
            tasks.create_task(self._bonds.run(), name="pairing.bonds")
            tasks.create_task(self._note_pairings(), name="pairing.notes")

    async def _note_pairings(self) -> None:
        """A device of ours that is paired again may prove who it is, or not prove it any more."""
        noted = None
        while True:
            attempt = self._desk.attempt
            is_ours = attempt is not None and attempt.state is PairingState.PAIRED and attempt.device_id is not None
            if attempt is None or attempt.device_id is None or not is_ours or attempt.attempt_id == noted:
                await self._desk.changed()
                continue
            is_authenticated = bool(attempt.is_authenticated)
            try:
                await self._household.paired_again(attempt.device_id, is_authenticated=is_authenticated)
                noted = attempt.attempt_id
            except StoreUnavailable:
                await asyncio.sleep(_STORE_S)

    async def state(self) -> dict[str, Any]:
        """Everything that a page needs, as JSON values; the digits are in it while a person must see them."""
        attempt = self._desk.attempt
        neighbours = sorted(map(self._neighbour, self._radios.neighbours()), key=_most_telling_first)
        return {
            "attempt": None if attempt is None else self._attempt(attempt),
            "unpaired": self._unpaired,
            "neighbours": neighbours,
            "devices": await self._devices(),
            "people": [{"person_id": p.person_id, "name": p.display_name} for p in self._people.values()],
        }

    async def act(self, action: str, fields: Mapping[str, Any]) -> None:
        """Do what a person asked for.

        Args:
            action: one of ACTIONS.
            fields: `pair`: address; `passkey`: attempt, passkey; `compare`: attempt, is_same; `cancel`: attempt;
                `enrol`: attempt, name, kind, and optionally person (or people, a list, for a shared scale), scale_user,
                scale_code, set_clock, bind_key (32 hexadecimal digits); `key`: device, bind_key; `clock`: device,
                is_allowed; `register` (a new user on a scale), `unpair`: device.

        Raises:
            PairingRefused: it cannot be done; `reason` says why, `fields` for a field that is missing or misshapen.
            PairingFailed: the radio cannot be used.
        """
        match action:
            case "pair":
                self._desk.begin(_text(fields, "address"))
                self._unpaired = None
            case "passkey":
                self._desk.enter_passkey(_text(fields, "attempt"), _text(fields, "passkey"))
            case "compare":
                self._desk.compare(_text(fields, "attempt"), is_same=_yes(fields, "is_same"))
            case "cancel":
                self._desk.cancel(_text(fields, "attempt"))
            case "enrol":
                await self._enrol(fields)
            case "unpair":
                device_id = DeviceId(_text(fields, "device"))
                farewell = await self._household.unpair(device_id)
                self._unpaired = {"device_id": device_id, "farewell": farewell.value}
            case "key":
                if (key := _key(fields)) is None:
                    raise PairingRefused("bind_key")
                await self._household.give_key(DeviceId(_text(fields, "device")), key)
            case "clock":
                is_allowed = _yes(fields, "is_allowed")
                await self._household.allow_clock(DeviceId(_text(fields, "device")), is_allowed=is_allowed)
            case "register":
                await self._household.register_user(DeviceId(_text(fields, "device")))
            case _:
                raise PairingRefused("fields")

    async def _enrol(self, fields: Mapping[str, Any]) -> None:
        attempt = self._desk.attempt
        if attempt is None or attempt.attempt_id != _text(fields, "attempt"):
            raise PairingRefused("over")
        try:
            kind = DeviceKind(_text(fields, "kind"))
        except ValueError as error:
            raise PairingRefused("kind") from error
        if kind not in self._kinds(attempt):
            raise PairingRefused("kind")
        people = _people(fields)
        device = await self._household.enrol(
            attempt,
            Naming(
                name=_text(fields, "name"),
                person_id=people[0] if len(people) == 1 else None,
                kind=kind,
                scale_user=_number(fields.get("scale_user")),
                scale_code=_number(fields.get("scale_code")),
                may_set_clock=_yes(fields, "set_clock"),
                people=people,
                bind_key=_key(fields),
            ),
        )
        self._desk.enrolled(device.device_id)

    # --- words --------------------------------------------------------------------------------------------------

    def _attempt(self, attempt: PairingAttempt) -> dict[str, Any]:
        return {
            "id": attempt.attempt_id,
            "address": attempt.address,
            "name": attempt.name,
            "title": self._title(attempt.driver),
            "state": attempt.state.value,
            "is_over": attempt.state.is_over,
            "since": attempt.since.isoformat(),
            "digits": attempt.digits,
            "failure": None if attempt.failure is None else attempt.failure.value,
            "is_authenticated": attempt.is_authenticated,
            "is_bonded": attempt.is_bonded,
            "locked_s": round(self._desk.wait_s(attempt.address)),
            "device_id": attempt.device_id,
            "kinds": [kind.value for kind in self._kinds(attempt)],
            "can_set_clock": self._can_set_clock(attempt.driver),
            "wants_name": attempt.state is PairingState.PAIRED and attempt.device_id is None,
            "steps": self._steps(attempt.driver),
        }

    def _kinds(self, attempt: PairingAttempt) -> list[DeviceKind]:
        """What it may be: the advertised kind first, then the others of its driver."""
        driver = self._drivers.get(attempt.driver or "")
        kinds = sorted(driver.kinds) if driver is not None else list(DeviceKind)
        return sorted(kinds, key=lambda kind: kind is not attempt.kind)

    def _neighbour(self, near: Neighbour) -> dict[str, Any]:
        not_read = not_read_named(near.not_read)
        status = "yours" if near.device_id else "new" if near.driver and not_read is None else "unreadable"
        return {
            "address": near.address,
            "name": near.name,
            "title": self._title(near.driver) if not_read is None else not_read.title,
            "kind": near.kind.value if near.kind else None,
            "device_id": near.device_id,
            "signal": _signal(near.rssi_dbm),
            "status": status,
            "is_low_trust": near.driver in self._drivers and self._drivers[near.driver].quirks.is_low_trust,
            "steps": self._steps(near.driver),
            "not_read": _words(not_read),
        }

    async def _devices(self) -> list[dict[str, Any]]:
        bonded, refused = await self._bonds.bonded(), self._needs_pairing()
        near = {neighbour.address.upper(): neighbour for neighbour in self._radios.neighbours()}
        ours = await self._household.devices()
        cares = await self._caretaker.look() if self._caretaker is not None else {}
        rows = []
        for device, enrolment in ours:
            address = (device.address or "").upper()
            heard = near.get(address)
            rows.append(
                {
                    "device_id": device.device_id,
                    "name": device.display_name,
                    "kind": device.kind.value,
                    "person_id": device.person_id,
                    "address": address,
                    "is_bonded": address in bonded,
                    "is_configured": enrolment is None,
                    "is_authenticated": None if enrolment is None else enrolment.is_authenticated,
                    "is_pairable": self._is_pairable(heard, cares.get(device.device_id, ())),
                    "scale_user": None if enrolment is None else enrolment.scale_user,
                    "can_register": enrolment is not None and enrolment.scale_user is None and self._has_users(heard),
                    "may_set_clock": self._permissions(device.device_id).set_clock,
                    "cares": [care.as_json() for care in cares.get(device.device_id, ())],
                    "needs_pairing": device.device_id in refused,
                    "not_read": _words(not_read_named(heard.not_read if heard else None)),
                    "steps": self._steps(heard.driver if heard else None),
                }
            )
        return rows

    def _is_pairable(self, heard: Neighbour | None, cares: Sequence[Care]) -> bool:
        """Whether there is a bond to make: not with what only broadcasts."""
        driver = self._drivers.get((heard.driver if heard else None) or "")
        if driver is not None:
            return driver.open is not None and driver.quirks.bonding is not Bonding.NONE
        return all(care.concern is not Concern.OPEN_BROADCAST for care in cares)

    def _has_users(self, heard: Neighbour | None) -> bool:
        driver = self._drivers.get((heard.driver if heard else None) or "")
        return driver is not None and _USER_DATA in driver.services

    def _can_set_clock(self, driver_name: str | None) -> bool:
        driver = self._drivers.get(driver_name or "")
        return driver is not None and driver.open is not None and settable_clock(driver.quirks.clock) is not None

    def _title(self, driver_name: str | None) -> str | None:
        driver = self._drivers.get(driver_name or "")
        return (driver.title or None) if driver is not None else None

    def _steps(self, driver_name: str | None) -> dict[str, list[str]]:
        driver = self._drivers.get(driver_name or "")
        steps = driver.pairing if driver is not None and driver.pairing is not None else _GENERIC
        return {"fr": list(steps.fr), "en": list(steps.en)}


def _most_telling_first(row: Mapping[str, Any]) -> tuple[int, bool]:
    return ("new", "yours", "unreadable").index(row["status"]), row["not_read"] is None


def _words(not_read: NotRead | None) -> dict[str, Any] | None:
    if not_read is None:
        return None
    reason, route = (
        dict(zip(("fr", "en"), said or (None, None), strict=True)) for said in (not_read.reason, not_read.route)
    )
    return {"name": not_read.name, "reason": reason, "route": route if not_read.route else None}


def _signal(rssi_dbm: int | None) -> str:
    if rssi_dbm is None:
        return "unknown"
    return "strong" if rssi_dbm >= _STRONG_DBM else "fair" if rssi_dbm >= _FAIR_DBM else "weak"


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise PairingRefused("fields")
    return value


def _people(fields: Mapping[str, Any]) -> tuple[PersonId, ...]:
    """`person`, or everybody of `people`, a list or separated by spaces; each once."""
    listed = fields.get("people") or fields.get("person") or ()
    names = listed.split() if isinstance(listed, str) else listed
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise PairingRefused("person")
    return tuple(PersonId(name) for name in dict.fromkeys(names))


def _key(fields: Mapping[str, Any]) -> bytes | None:
    """A bind key in hexadecimal; None when there is none."""
    if not (text := fields.get("bind_key")):
        return None
    key = bind_key_of(text) if isinstance(text, str) else None
    if key is None:
        raise PairingRefused("bind_key")
    return key


def _yes(fields: Mapping[str, Any], name: str) -> bool:
    return fields.get(name) in (True, "yes")


def _number(value: object) -> int | None:
    """A whole number in either form; None when it was left empty."""
    if value is None or value == "":
        return None
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise PairingRefused("slot")
    return int(text)
