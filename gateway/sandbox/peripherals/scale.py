"""A virtual body composition scale for several people.

Weight Scale 181D, Body Composition 181B, User Data 181C, Current Time 1805, Device Information 180A, Battery 180F.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bumble.att import ATT_Error
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, Service

from gateway.sandbox.frames import encode_body_composition, encode_weight_measurement
from gateway.sandbox.frames_device import encode_registered_user
from gateway.sandbox.peripherals.base import ATT_CCCD_IMPROPERLY_CONFIGURED, ATT_INVALID_LENGTH
from gateway.sandbox.peripherals.clock import DeviceClock
from gateway.sandbox.peripherals.measuring import MeasuringPeripheral
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import WeighIn

__all__ = ["VirtualScale", "WeighIn"]

_WEIGHT_SCALE, _BODY_COMPOSITION, _USER_DATA = 0x181D, 0x181B, 0x181C
_TIME, _USERS, _BMI = 0x01, 0x02, 0x04
_WEIGHT_RESOLUTION_5_G = 7 << 3
_EVERY_COMPOSITION_FIELD = 0x07FC
_MASS_RESOLUTION_5_G = 7 << 11
_ATT_USER_DATA_NOT_PERMITTED = 0x80
_UNKNOWN_USER = 255
_REGISTER, _CONSENT, _LIST, _UCP_RESPONSE = 0x01, 0x02, 0x04, 0x20
_SUCCESS, _OP_NOT_SUPPORTED, _INVALID_PARAMETER, _NOT_AUTHORISED = 1, 2, 3, 5
_PROFILE = {0x2A85: 4, 0x2A8C: 1, 0x2A8E: 2}
"""Characteristics of a user that are kept, and their octets."""
_HIGHEST_CONSENT_CODE = 9999
_HIGHEST_USER = 254
_WRONG_CODES_ALLOWED = 3


@dataclass(slots=True)
class _Stored:
    """A weigh-in in the memory and what of it the client has not confirmed yet."""

    weigh_in: WeighIn
    owes_weight: bool = True
    owes_composition: bool = field(default=False)


class VirtualScale(MeasuringPeripheral):
    """A scale that keeps weigh-ins until somebody entitled has confirmed them.

    A weigh-in of one of `users` is indicated once its characteristic is subscribed to and that user has consented on
    this link; any other weigh-in after subscription. An indication that was confirmed is not repeated; a weigh-in
    leaves the memory when all of it is confirmed. Three wrong consent codes lock a user.

    Attributes:
        users: consent code by user index; empty: a scale without users.
        names: name by user index, as 2B37 tells it; a user without one has none.
        profiles: what was written about a user, by user index and characteristic (0x2A85, 0x2A8C, 0x2A8E).
        clock: its wall clock, settable through 2A2B.
        imperial: whether it sends pounds and inches.
    """

    model = "VS-1"

    def __init__(
        self,
        air: VirtualAir,
        address: str,
        name: str,
        serial: str,
        *,
        users: Mapping[int, int] | None = None,
        clock: Callable[[], datetime],
        imperial: bool = False,
        passkey: int | None = None,
        secure: bool = True,
    ) -> None:
        """Make the scale, powered off; `clock` gives its own local time, naive. Name: at most 20 octets."""
        super().__init__(air, address, name, serial, passkey=passkey, secure=secure)
        self.users = dict(users or {})
        self.names: dict[int, str] = {}
        self.profiles: dict[tuple[int, int], bytes] = {}
        self.clock = DeviceClock(clock)
        self.imperial = imperial
        self._memory: list[_Stored] = []
        self._consented: set[int] = set()
        self._wrong_codes: dict[int, int] = {}
        self._current_user = _UNKNOWN_USER
        self._changes = 0
        self._delivery: asyncio.Task[None] | None = None

    @property
    def advertised(self) -> Sequence[int]:
        """Weight Scale and Body Composition."""
        return (_WEIGHT_SCALE, _BODY_COMPOSITION)

    @property
    def device_time(self) -> datetime:
        """What the scale believes, naive."""
        return self.clock.now()

    @property
    def stored(self) -> tuple[WeighIn, ...]:
        """Weigh-ins not fully confirmed yet, oldest first."""
        return tuple(entry.weigh_in for entry in self._memory)

    def services(self) -> list[Service]:
        """Weight Scale, Body Composition, User Data (when there are users), Current Time."""
        read, write = Characteristic.Properties.READ, Characteristic.Properties.WRITE
        notify, indicate = Characteristic.Properties.NOTIFY, Characteristic.Properties.INDICATE
        users = _USERS if self.users else 0
        weight_feature = _TIME | users | _BMI | _WEIGHT_RESOLUTION_5_G
        composition_feature = _TIME | users | _EVERY_COMPOSITION_FIELD | _MASS_RESOLUTION_5_G
        self._weight = self.characteristic(0x2A9D, indicate)
        self._composition = self.characteristic(0x2A9C, indicate)
        self._control = self.characteristic(0x2A9F, write | indicate, write=self._on_control)
        for subscribable in (self._weight, self._composition):
            subscribable.on(subscribable.EVENT_SUBSCRIPTION, self._on_subscription)
        made = [
            Service(
                UUID.from_16_bits(_WEIGHT_SCALE),
                [self._weight, self.characteristic(0x2A9E, read, weight_feature.to_bytes(4, "little"))],
            ),
            Service(
                UUID.from_16_bits(_BODY_COMPOSITION),
                [self._composition, self.characteristic(0x2A9B, read, composition_feature.to_bytes(4, "little"))],
            ),
            self.current_time(self.clock),
        ]
        if self.users:
            changes = self.characteristic(
                0x2A99, read | write | notify, read=self._read_changes, write=self._write_changes
            )
            index = self.characteristic(0x2A9A, read, read=lambda _connection: bytes((self._current_user,)))
            self._listed = self.characteristic(0x2B37, indicate)
            profile = [self._profile(uuid, octets) for uuid, octets in _PROFILE.items()]
            made.insert(
                2, Service(UUID.from_16_bits(_USER_DATA), [self._control, changes, index, self._listed, *profile])
            )
        return made

    def link_ended(self) -> None:
        """Consent lasts for one link."""
        self._consented.clear()
        self._current_user = _UNKNOWN_USER
        self._delivery = None

    # User Data

    def _profile(self, uuid: int, octets: int) -> Characteristic[bytes]:
        """One characteristic of whoever has consented on this link."""

        def read(_connection: Connection) -> bytes:
            self._require_consent()
            return self.profiles.get((self._current_user, uuid), bytes(octets))

        def write(_connection: Connection, value: bytes) -> None:
            self._require_consent()
            if len(value) != octets:
                raise ATT_Error(ATT_INVALID_LENGTH)
            self.profiles[self._current_user, uuid] = value

        properties = Characteristic.Properties.READ | Characteristic.Properties.WRITE
        return self.characteristic(uuid, properties, read=read, write=write)

    def _require_consent(self) -> None:
        if not self._consented:
            raise ATT_Error(_ATT_USER_DATA_NOT_PERMITTED)

    def _read_changes(self, _connection: Connection) -> bytes:
        self._require_consent()
        return self._changes.to_bytes(4, "little")

    def _write_changes(self, _connection: Connection, value: bytes) -> None:
        self._require_consent()
        if len(value) != 4:
            raise ATT_Error(ATT_INVALID_LENGTH)
        self._changes = int.from_bytes(value, "little")

    def _on_control(self, _connection: Connection, value: bytes) -> None:
        if not self.is_subscribed(self._control):
            raise ATT_Error(ATT_CCCD_IMPROPERLY_CONFIGURED)
        if not self.is_mute:
            self.procedure(self._obey(value), "user_control")

    async def _obey(self, value: bytes) -> None:
        request = value[0] if value else 0
        result, extra = _OP_NOT_SUPPORTED, b""
        if request == _REGISTER:
            result, extra = self._register(value[1:])
        elif request == _CONSENT:
            result = self._consent(value[1:])
        elif request == _LIST:
            for user in sorted(self.users):
                for segment in encode_registered_user(user, self.names.get(user)):
                    await self.send(self._listed, segment)
            result, extra = _SUCCESS, bytes((len(self.users),))
        await self.send(self._control, bytes((_UCP_RESPONSE, request, result)) + extra)
        self._deliver_soon()

    def _register(self, operand: bytes) -> tuple[int, bytes]:
        code = int.from_bytes(operand, "little")
        if len(operand) != 2 or code > _HIGHEST_CONSENT_CODE:
            return _INVALID_PARAMETER, b""
        index = next(i for i in range(_HIGHEST_USER + 2) if i not in self.users)
        if index > _HIGHEST_USER:
            return _INVALID_PARAMETER, b""
        self.users[index] = code
        return _SUCCESS, bytes((index,))

    def _consent(self, operand: bytes) -> int:
        if len(operand) != 3 or operand[0] not in self.users:
            return _INVALID_PARAMETER
        user, code = operand[0], int.from_bytes(operand[1:], "little")
        if self._wrong_codes.get(user, 0) >= _WRONG_CODES_ALLOWED:
            return _NOT_AUTHORISED
        if code != self.users[user]:
            self._wrong_codes[user] = self._wrong_codes.get(user, 0) + 1
            return _NOT_AUTHORISED
        self._wrong_codes.pop(user, None)
        self._consented.add(user)
        self._current_user = user
        return _SUCCESS

    # Delivery

    def remember(self, weigh_in: WeighIn) -> None:
        """Store a weigh-in of earlier."""
        self._memory.append(_Stored(weigh_in, owes_composition=weigh_in.has_composition))
        self._memory[:] = self.faults.remembered(self._memory)

    def reset_counter(self) -> None:
        """Empty the memory."""
        self._memory.clear()

    async def weigh(self, weigh_in: WeighIn) -> None:
        """Store a weigh-in and wake up; a client that is connected and entitled gets it at once."""
        self.remember(weigh_in)
        self._deliver_soon()
        await self.wake()

    def _on_subscription(self, _connection: Connection, _notify: bool, indicate: bool) -> None:
        if indicate:
            self._deliver_soon()

    def _deliver_soon(self) -> None:
        is_delivering = self._delivery is not None and not self._delivery.done()
        if self.is_connected and not is_delivering and not self.is_mute and next(self._due(), None) is not None:
            self._delivery = self.procedure(self._deliver(), "delivery")

    def _due(self) -> Iterator[_Stored]:
        """What the client may have now and is listening for, oldest first."""
        hears_weight, hears_composition = self.is_subscribed(self._weight), self.is_subscribed(self._composition)
        for entry in self._memory:
            user = entry.weigh_in.user
            if user in self.users and user not in self._consented:
                continue
            if (entry.owes_weight and hears_weight) or (entry.owes_composition and hears_composition):
                yield entry

    async def _deliver(self) -> None:
        while (entry := next(self._due(), None)) is not None:
            if entry.owes_weight and self.is_subscribed(self._weight):
                frame = encode_weight_measurement(entry.weigh_in, imperial=self.imperial)
                if not await self.send_measurement(self._weight, frame):
                    return
                entry.owes_weight = False
            if entry.owes_composition and self.is_subscribed(self._composition):
                for frame in encode_body_composition(
                    entry.weigh_in, imperial=self.imperial, max_octets=self.payload_octets
                ):
                    if not await self.send_measurement(self._composition, frame):
                        return
                entry.owes_composition = False
            if not entry.owes_weight and not entry.owes_composition:
                self._memory[:] = [kept for kept in self._memory if kept is not entry]
