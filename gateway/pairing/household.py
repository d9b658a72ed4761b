"""What becomes of a device that was paired: a name, an owner and a kind, kept without editing a file."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway.bind_keys import kept_key, write_bind_key
from gateway.devices.drivers import Permissions
from gateway.devices.procedures import Close, Outcome, Procedure, ScaleUser
from gateway.devices.procedures.bond_removal import BondRemoval
from gateway.devices.procedures.user_registration import UserRegistration
from gateway.errors import ConfigurationError, PairingFailed
from gateway.model import Device, DeviceId, DeviceKind, Enrolment, Farewell, PairingAttempt, PairingState, PersonId
from gateway.pairing.desk import PairingRefused
from gateway.ports import Bonds, Clock, Enrolments, Registry
from gateway.settings import read_secret

__all__ = ["Collector", "Household", "Naming", "beside_configuration"]

_LONGEST_NAME: Final = 80
_HIGHEST_SLOT: Final = 254
_HIGHEST_CODE: Final = 9999
_FORGET_S: Final = 12.0
_REGISTER_S: Final = 55.0
_MAY_NOTHING: Final = Permissions()
log = structlog.get_logger()


class Collector(Protocol):
    """The running source, as far as devices come and go."""

    def watch(
        self,
        device: Device,
        scale_user: ScaleUser | None = None,
        may: Permissions = _MAY_NOTHING,
        key: bytes | None = None,
    ) -> None:
        """Collect from one more device from now on; a known one is replaced."""
        ...

    def unwatch(self, device_id: DeviceId) -> None:
        """Stop collecting from it."""
        ...

    def allow(self, device_id: DeviceId, may: Permissions) -> None:
        """From the next contact on, the gateway may change this on a device."""
        ...

    async def errand(self, device_id: DeviceId, procedure: Procedure) -> Close:
        """Carry `procedure` out over a link of its own; LINK_LOST when it is not in range."""
        ...


@dataclass(frozen=True, slots=True)
class Naming:
    """What a person says about a device that was paired.

    Attributes:
        name: 1..80 characters.
        person_id: its owner; None: its readings wait, or are anybody's of a scale.
        kind: what it is.
        scale_user, scale_code: slot 0..254 and consent code 0..9999 on a scale that has them; both or neither.
        may_set_clock: the gateway may set its clock.
        people: who shares a scale; then there is no `person_id`, unless there is one of them only.
        bind_key: 16 octets, for a device that encrypts what it tells everybody; not shown.
    """

    name: str
    person_id: PersonId | None
    kind: DeviceKind
    scale_user: int | None = None
    scale_code: int | None = None
    may_set_clock: bool = False
    people: tuple[PersonId, ...] = ()
    bind_key: bytes | None = field(default=None, repr=False)

    @property
    def candidates(self) -> tuple[PersonId, ...]:
        """Who may be on a scale; empty: everybody."""
        return self.people or (() if self.person_id is None else (self.person_id,))


def beside_configuration(
    configured: Sequence[Device], enrolments: Sequence[Enrolment]
) -> tuple[list[Enrolment], list[DeviceId]]:
    """The enrolments to collect from, and the ids of those that the configuration overrules.

    A configured device wins over an enrolled one with the same id or address. Withdrawn ones are neither.
    """
    ids = {device.device_id for device in configured}
    addresses = {device.address.upper() for device in configured if device.address is not None}
    kept, overruled = [], []
    for enrolment in enrolments:
        if enrolment.withdrawn_at is not None:
            continue
        device = enrolment.device
        if device.device_id in ids or (device.address or "").upper() in addresses:
            overruled.append(device.device_id)
        else:
            kept.append(enrolment)
    return kept, overruled


class Household:
    """Adds devices to the running gateway, and takes them out again.

    Args:
        configured: the devices of the file.
        codes: folder for the consent codes of scales, a file for each.
        keys: folder for the bind keys of devices that encrypt, a file for each; None: beside `codes`.
        needs_key: whether a driver, by its name, only reads devices whose key is known.
        zones: time zone by device, for the source; kept up to date here.
    """

    def __init__(
        self,
        enrolments: Enrolments,
        registry: Registry,
        collector: Collector,
        bonds: Bonds,
        clock: Clock,
        *,
        configured: Sequence[Device],
        codes: Path,
        zones: dict[DeviceId, tzinfo],
        keys: Path | None = None,
        needs_key: Callable[[str | None], bool] = lambda _driver: False,
    ) -> None:
        self._enrolments = enrolments
        self._registry = registry
        self._collector = collector
        self._bonds = bonds
        self._clock = clock
        self._configured = tuple(configured)
        self._codes = codes
        self._keys = keys or codes.parent / "bind-keys"
        self._needs_key = needs_key
        self._zones = zones

    async def collect(self) -> None:
        """At the start: collect from everything that was enrolled earlier, unless the configuration says otherwise."""
        enrolled, overruled = beside_configuration(self._configured, await self._enrolments.enrolments())
        for device_id in overruled:
            log.warning("pairing.configuration_wins", device=device_id)
        for enrolment in enrolled:
            await self._watch(enrolment)

    async def devices(self) -> list[tuple[Device, Enrolment | None]]:
        """Every Bluetooth device that is collected from; None: it is in the configuration."""
        enrolled, _ = beside_configuration(self._configured, await self._enrolments.enrolments())
        by_file = [(device, None) for device in self._configured if device.address is not None]
        return [*by_file, *((enrolment.device, enrolment) for enrolment in enrolled)]

    async def enrol(self, attempt: PairingAttempt, naming: Naming) -> Device:
        """Keep the device of a successful attempt and collect from it at once.

        A device that was withdrawn earlier comes back under its old id.

        Raises:
            PairingRefused: `not_paired`, `name`, `person`, `slot` or `needs_key`; nothing is kept then.
        """
        if attempt.state is not PairingState.PAIRED or attempt.device_id is not None:
            raise PairingRefused("not_paired")
        name = " ".join(naming.name.split())
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise PairingRefused("name")
        people = {person.person_id for person in await self._registry.people()}
        if not people.issuperset(naming.candidates) or (len(naming.candidates) > 1 and not naming.kind.is_scale):
            raise PairingRefused("person")
        _check_slot(naming)
        if naming.bind_key is None and self._needs_key(attempt.driver):
            raise PairingRefused("needs_key")
        device_id = await self._device_id(attempt.address, naming.kind)
        device = Device(
            device_id,
            naming.kind,
            name,
            person_id=naming.candidates[0] if len(naming.candidates) == 1 else None,
            address=attempt.address,
            is_by_evidence=naming.kind.is_scale,
            candidates=naming.candidates if naming.kind.is_scale else (),
        )
        enrolment = Enrolment(
            device,
            enrolled_at=self._clock.now(),
            is_authenticated=bool(attempt.is_authenticated),
            scale_user=naming.scale_user,
            may_set_clock=naming.may_set_clock,
        )
        if naming.scale_code is not None:
            await asyncio.to_thread(_write_code, self._code_file(device_id), naming.scale_code)
        if naming.bind_key is not None:
            await asyncio.to_thread(write_bind_key, self._key_file(device_id), naming.bind_key)
        await self._enrolments.enrol(enrolment)
        await self._watch(enrolment)
        log.info("pairing.enrolled", device=device_id, kind=naming.kind.value)
        return device

    async def paired_again(self, device_id: DeviceId, *, is_authenticated: bool) -> None:
        """A person has paired a device that was added earlier: keep whether digits proved who it is this time."""
        for enrolment in await self._enrolments.enrolments():
            is_meant = enrolment.device.device_id == device_id and enrolment.withdrawn_at is None
            if is_meant and enrolment.is_authenticated != is_authenticated:
                await self._enrolments.enrol(replace(enrolment, is_authenticated=is_authenticated))

    async def allow_clock(self, device_id: DeviceId, *, is_allowed: bool) -> None:
        """From now on the gateway may, or may not, set the clock of a device that was added by a person.

        Raises:
            PairingRefused: `unknown`: no such device; `configured`: the configuration says it.
        """
        changed = replace(await self._added(device_id), may_set_clock=is_allowed)
        await self._enrolments.enrol(changed)
        self._collector.allow(device_id, Permissions(set_clock=is_allowed))

    async def give_key(self, device_id: DeviceId, key: bytes) -> None:
        """From now on, open what a device that was added by a person tells everybody with this key (16 octets).

        Raises:
            PairingRefused: `unknown`: no such device; `configured`: the configuration names its key.
        """
        enrolment = await self._added(device_id)
        await asyncio.to_thread(write_bind_key, self._key_file(device_id), key)
        await self._watch(enrolment)
        log.info("pairing.key_given", device=device_id)

    async def register_user(self, device_id: DeviceId) -> None:
        """Make the owner a new user of a scale that was added without a slot, under a code that we choose.

        The code is on disk before the scale is asked: a user whose code nobody knows could not be read.

        Raises:
            PairingRefused: `unknown`, `configured`; `has_user`: there is a slot already; `scale_away`: not in range;
                `scale_refused`: no users, or none free; `scale_silent`: it is not known whether there is a new user.
        """
        enrolment = await self._added(device_id)
        if enrolment.scale_user is not None:
            raise PairingRefused("has_user")
        code, file = secrets.randbelow(_HIGHEST_CODE + 1), self._code_file(device_id)
        await asyncio.to_thread(_write_code, file, code)
        registration = UserRegistration(code)
        try:
            async with asyncio.timeout(_REGISTER_S):
                outcome = (await self._collector.errand(device_id, registration)).outcome
        except TimeoutError:
            outcome = Outcome.SILENT
        if registration.user_index is None:
            await asyncio.to_thread(file.unlink, missing_ok=True)
            reasons = {Outcome.SILENT: "scale_silent", Outcome.REFUSED: "scale_refused"}
            raise PairingRefused(reasons.get(outcome, "scale_away"))
        registered = replace(enrolment, scale_user=registration.user_index)
        await self._enrolments.enrol(registered)
        await self._watch(registered)
        log.info("pairing.user_registered", device=device_id)

    async def _added(self, device_id: DeviceId) -> Enrolment:
        known = {device.device_id: enrolment for device, enrolment in await self.devices()}
        if device_id not in known:
            raise PairingRefused("unknown")
        if (enrolment := known[device_id]) is None:
            raise PairingRefused("configured")
        return enrolment

    async def unpair(self, device_id: DeviceId) -> Farewell:
        """Forget our keys and stop collecting; the readings stay. Returns what became of the device's own memory of us.

        A device in range that can is first asked to forget us; however that goes, our side is done. A device of the
        configuration only loses its keys: the file says that it is collected from.

        Raises:
            PairingRefused: `unknown`: no such device.
            PairingFailed: the radio cannot be used.
        """
        known = {device.device_id: (device, enrolment) for device, enrolment in await self.devices()}
        if device_id not in known:
            raise PairingRefused("unknown")
        device, enrolment = known[device_id]
        farewell = await self._say_farewell(device)
        if enrolment is not None:
            self._collector.unwatch(device_id)
            await self._enrolments.withdraw_device(device_id, self._clock.now())
            await asyncio.to_thread(self._code_file(device_id).unlink, missing_ok=True)
            await asyncio.to_thread(self._key_file(device_id).unlink, missing_ok=True)
            log.info("pairing.withdrawn", device=device_id)
        if device.address is not None:
            await self._bonds.unbond(device.address)
        log.info("pairing.unpaired", device=device_id, farewell=farewell.value)
        return farewell

    async def _say_farewell(self, device: Device) -> Farewell:
        """Never in the way of the unpairing: whatever goes wrong here is only told."""
        try:
            is_bonded = (device.address or "").upper() in await self._bonds.bonded()
        except PairingFailed:
            return Farewell.NOT_REACHED
        if not is_bonded:
            return Farewell.NO_BOND
        removal = BondRemoval()
        try:
            async with asyncio.timeout(_FORGET_S):
                closed = await self._collector.errand(device.device_id, removal)
        except TimeoutError:
            return Farewell.NOT_REACHED
        if removal.is_forgotten:
            return Farewell.FORGOTTEN
        return Farewell.UNABLE if closed.outcome is Outcome.REFUSED else Farewell.NOT_REACHED

    async def _watch(self, enrolment: Enrolment) -> None:
        device = enrolment.device
        people = {person.person_id: person for person in await self._registry.people()}
        if device.person_id in people:
            self._zones[device.device_id] = people[device.person_id].time_zone
        scale_user = None
        if enrolment.scale_user is not None:
            try:
                code = await asyncio.to_thread(read_secret, self._code_file(device.device_id))
                scale_user = ScaleUser(enrolment.scale_user, int(code.get_secret_value()))
            except (ConfigurationError, ValueError):
                log.warning("pairing.scale_code_unreadable", device=device.device_id)
        key = await asyncio.to_thread(kept_key, self._keys, device.device_id)
        self._collector.watch(device, scale_user, Permissions(set_clock=enrolment.may_set_clock), key)

    def _code_file(self, device_id: DeviceId) -> Path:
        return self._codes / f"{device_id}.code"

    def _key_file(self, device_id: DeviceId) -> Path:
        return self._keys / f"{device_id}.key"

    async def _device_id(self, address: str, kind: DeviceKind) -> DeviceId:
        for enrolment in await self._enrolments.enrolments():
            if (enrolment.device.address or "").upper() == address:
                return enrolment.device.device_id
        taken = {device.device_id for device in await self._registry.devices()}
        stem, number = kind.value.replace("_", "-"), 1
        while f"{stem}-{number}" in taken:
            number += 1
        return DeviceId(f"{stem}-{number}")


def _check_slot(naming: Naming) -> None:
    if (naming.scale_user is None) != (naming.scale_code is None):
        raise PairingRefused("slot")
    if naming.scale_user is not None and not 0 <= naming.scale_user <= _HIGHEST_SLOT:
        raise PairingRefused("slot")
    if naming.scale_code is not None and not 0 <= naming.scale_code <= _HIGHEST_CODE:
        raise PairingRefused("slot")


def _write_code(path: Path, code: int) -> None:
    """For its owner only, whatever the umask."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{code}\n")
        stream.flush()
        os.fsync(stream.fileno())
