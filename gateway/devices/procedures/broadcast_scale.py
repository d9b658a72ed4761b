"""One reading for one weigh-in, out of the advertisements of a scale that is never connected to.

A weigh-in is told dozens of times: unsettled, settled, perhaps with an impedance some seconds later, again when the
load has left, and again minutes after that. What was told is remembered over restarts, so that none of the repeats is a
second reading. An impedance belongs to the weigh-in that is on the air, or to none.

Nothing in the clear can be trusted for long: a device under this address may tell ten weigh-ins in ten minutes, what
comes above that is set aside once and then passed over, and a weight far from the one before says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.devices.advert import Advert
from gateway.devices.bthome import BTHOME_SERVICE, BthomePacket, parse_bthome
from gateway.devices.procedures.requests import BroadcastWeight, Frame, Keep, Mark, Spoiled
from gateway.devices.procedures.weigh_in_trust import TOO_MANY, WeighInTrust
from gateway.devices.xiaomi_scale import MiScaleMeasurement, parse_mi_body_composition, parse_mi_scale_v1
from gateway.errors import MalformedFrame

__all__ = ["BROADCAST_CHECKPOINT", "BthomeScale", "MiScale"]

BROADCAST_CHECKPOINT: Final = "broadcast.scale"
_State: TypeAlias = Mapping[str, str | int | bool | None]
_REMEMBERED: Final = 8
_SAME_WEIGH_IN: Final = timedelta(minutes=1)
_CLOCK_SLACK: Final = timedelta(days=2)
"""A scale's clock that is right is at most a time zone away from UTC; one that was never set is years away."""
_BEFORE_FIRST: Final = timedelta(days=365)
"""The clocks of these scales begin in 1970 or 2015 after a change of batteries and run on from there, for years if need
be: one that says a time so long before the first that was right is such a clock, and no broadcast played again."""
_BACKWARDS: Final = 128
_IDS: Final = 256


def _last_kg(state: _State) -> Decimal | None:
    text = state.get("last_kg")
    try:
        return Decimal(text) if isinstance(text, str) else None
    except ArithmeticError:
        return None


def _stamp_in(state: _State, name: str) -> datetime | None:
    text = state.get(name)
    try:
        stamp = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if stamp is None or stamp.tzinfo is not None else stamp


def _refusal(trust: WeighInTrust, frame: Frame) -> list[Keep]:
    if not trust.is_first_refusal:
        return []
    spoiled = Spoiled(frame, TOO_MANY)
    return [Keep(spoiled=(spoiled,), is_told_once=True)]


@dataclass(slots=True)
class _WeighIn:
    """The weigh-in on the air."""

    name: str
    identity: str
    raw_weight: int
    time_stamp: datetime | None
    heard_at: datetime
    has_impedance: bool


class MiScale:
    """A Xiaomi scale of either kind.

    Args:
        service: `181d` (weight) or `181b` (with impedance), whose service data counts.
        state: the last durable checkpoint `broadcast.scale`, or None.
    """

    def __init__(self, service: str, state: _State | None = None) -> None:
        state = state or {}
        self._service = service
        self._parse: Callable[[bytes], MiScaleMeasurement] = (
            parse_mi_scale_v1 if service == "181d" else parse_mi_body_composition
        )
        told = state.get("told")
        self._told = told.split(" ")[-_REMEMBERED:] if isinstance(told, str) and told else []
        self._trust = WeighInTrust(_last_kg(state))
        self._newest_stamp = _stamp_in(state, "newest_stamp")
        self._first_stamp = _stamp_in(state, "first_stamp") or self._newest_stamp
        self._current: _WeighIn | None = None
        self._has_moved = False
        self._has_spoiled = False

    @property
    def wait_s(self) -> float | None:
        """A weight is told at once; nothing is waited for."""
        return None

    def on_silence(self) -> list[Keep]:
        """Nothing is waited for."""
        return []

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC)."""
        payload = advert.service_data.get(self._service)
        if payload is None:
            return []
        frame = Frame(f"adv.{self._service}", payload)
        try:
            measured = self._parse(payload)
        except MalformedFrame as error:
            # the first one is worth keeping, a flood of them is not
            is_first, self._has_spoiled = not self._has_spoiled, True
            return [Keep(spoiled=(Spoiled(frame, str(error)),), is_told_once=True)] if is_first else []
        if not measured.is_stable or measured.raw_weight == 0:
            if not measured.is_removed:
                self._has_moved, self._current = True, None
            return []
        return self._on_stable(measured, frame, heard_at)

    def _on_stable(self, measured: MiScaleMeasurement, frame: Frame, heard_at: datetime) -> list[Keep]:
        time_stamp = _right_clock(measured.time_stamp, heard_at)
        identity = f"{_stamp_text(measured.time_stamp)}#{measured.raw_weight}{measured.weight_unit.value}"
        current = self._current
        if current is not None and self._is_same(current, measured, identity, heard_at):
            current.heard_at = heard_at
            return self._impedance(current, measured, frame)
        if measured.is_removed and (time_stamp is None or identity in self._told):
            return []
        if time_stamp is None and self._is_old(measured.time_stamp):
            return []
        is_repeat = identity in self._told and not (measured.time_stamp is None and self._has_moved)
        name = f"rx-{heard_at.isoformat()}" if time_stamp is None else time_stamp.isoformat()
        if is_repeat:
            if time_stamp is None:
                return []
            # its weight is durable, perhaps from before a restart: what may still be missing is its impedance
            self._current = _WeighIn(name, identity, measured.raw_weight, time_stamp, heard_at, has_impedance=False)
            return self._impedance(self._current, measured, frame)
        if not self._trust.admits(heard_at):
            return _refusal(self._trust, frame)
        self._has_moved = False
        self._told = [*self._told[1 - _REMEMBERED :], identity]
        if time_stamp is not None:
            self._first_stamp = self._first_stamp or time_stamp
            self._newest_stamp = max(self._newest_stamp or time_stamp, time_stamp)
        has_impedance = measured.impedance_ohm is not None
        self._current = _WeighIn(name, identity, measured.raw_weight, time_stamp, heard_at, has_impedance)
        record = BroadcastWeight(
            weigh_in=name,
            mass=measured.weight,
            unit=measured.weight_unit,
            raw_weight=measured.raw_weight,
            impedance_ohm=measured.impedance_ohm,
            time_stamp=time_stamp,
            frames=(frame,),
            is_live=not measured.is_removed,
            is_unusual=self._trust.is_unusual(measured.weight, measured.weight_unit),
        )
        return [Keep((record,), mark=self._mark(), is_told_once=True)]

    @staticmethod
    def _is_same(current: _WeighIn, measured: MiScaleMeasurement, identity: str, heard_at: datetime) -> bool:
        """Whether the person of the weigh-in on the air still stands there; a clock that runs on changes nothing."""
        if identity == current.identity:
            return True
        is_close = timedelta() <= heard_at - current.heard_at <= _SAME_WEIGH_IN
        return is_close and measured.raw_weight == current.raw_weight

    def _is_old(self, time_stamp: datetime | None) -> bool:
        """Whether a clock that has been right before says a time of since then: an old broadcast, played again."""
        first, newest = self._first_stamp, self._newest_stamp
        if time_stamp is None or first is None or newest is None:
            return False
        return first - time_stamp < _BEFORE_FIRST and time_stamp <= newest

    def _impedance(self, current: _WeighIn, measured: MiScaleMeasurement, frame: Frame) -> list[Keep]:
        if measured.impedance_ohm is None or current.has_impedance:
            return []
        current.has_impedance = True
        record = BroadcastWeight(
            weigh_in=current.name,
            mass=None,
            unit=measured.weight_unit,
            raw_weight=measured.raw_weight,
            impedance_ohm=measured.impedance_ohm,
            time_stamp=current.time_stamp,
            frames=(frame,),
            is_live=not measured.is_removed,
        )
        return [Keep((record,), is_told_once=True)]

    def _mark(self) -> Mark:
        last = self._trust.last_kg
        state: dict[str, str | int | bool | None] = {
            "told": " ".join(self._told),
            "last_kg": None if last is None else str(last),
            "first_stamp": None if self._first_stamp is None else self._first_stamp.isoformat(),
            "newest_stamp": None if self._newest_stamp is None else self._newest_stamp.isoformat(),
        }
        return Mark(BROADCAST_CHECKPOINT, state)


class BthomeScale:
    """A scale that speaks BTHome v2 in the clear: each new packet number with a mass is one weigh-in.

    A device that counts nothing tells a weigh-in by a mass that differs from the one before, or that follows none.

    Args:
        state: the last durable checkpoint `broadcast.scale`, or None.
    """

    def __init__(self, state: _State | None = None) -> None:
        state = state or {}
        packet_id, raw = state.get("packet_id"), state.get("raw_mass")
        self._packet_id = packet_id if isinstance(packet_id, int) else None
        self._raw_mass = raw if isinstance(raw, int) else None
        self._last_heard_at: datetime | None = None
        self._trust = WeighInTrust(_last_kg(state))
        self._has_spoiled = False

    @property
    def wait_s(self) -> float | None:
        """Nothing is waited for."""
        return None

    def on_silence(self) -> list[Keep]:
        """Nothing is waited for."""
        return []

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC)."""
        payload = advert.service_data.get(BTHOME_SERVICE)
        if payload is None:
            return []
        frame = Frame(f"adv.{BTHOME_SERVICE}", payload)
        try:
            packet = parse_bthome(payload)
        except MalformedFrame as error:
            is_first, self._has_spoiled = not self._has_spoiled, True
            return [Keep(spoiled=(Spoiled(frame, str(error)),), is_told_once=True)] if is_first else []
        return self.on_packet(packet, frame, heard_at)

    def on_packet(self, packet: BthomePacket, frame: Frame, heard_at: datetime) -> list[Keep]:
        """One packet that could be read, and the payload that it was in."""
        if packet.raw_mass == 0 and packet.packet_id is None:
            self._raw_mass = None  # nobody stands there: the same mass once more is another weigh-in
        if not packet.mass or packet.raw_mass is None or not self._is_new(packet.packet_id, packet.raw_mass, heard_at):
            return []
        self._packet_id, self._raw_mass, self._last_heard_at = packet.packet_id, packet.raw_mass, heard_at
        if not self._trust.admits(heard_at):
            return _refusal(self._trust, frame)
        record = BroadcastWeight(
            weigh_in=f"rx-{heard_at.isoformat()}",
            mass=packet.mass,
            unit=packet.mass_unit,
            raw_weight=packet.raw_mass,
            impedance_ohm=None,
            time_stamp=None,
            frames=(frame,),
            is_unusual=self._trust.is_unusual(packet.mass, packet.mass_unit),
        )
        state = {"packet_id": self._packet_id, "raw_mass": self._raw_mass, "last_kg": str(self._trust.last_kg)}
        return [Keep((record,), mark=Mark(BROADCAST_CHECKPOINT, state), is_told_once=True)]

    def _is_new(self, packet_id: int | None, raw_mass: int, heard_at: datetime) -> bool:
        """Whether the packet is not one that was heard before; a number that goes back, or that stands still under
        another mass, is taken only after a pause, in which the device may have started again or counted once round."""
        if packet_id is None or self._packet_id is None:
            return packet_id is not None or raw_mass != self._raw_mass
        ahead = (packet_id - self._packet_id) % _IDS
        is_paused = self._last_heard_at is None or heard_at - self._last_heard_at > _SAME_WEIGH_IN
        if ahead == 0:
            return is_paused and raw_mass != self._raw_mass
        return ahead < _BACKWARDS or is_paused


def _right_clock(time_stamp: datetime | None, heard_at: datetime) -> datetime | None:
    """The scale's clock, unless it was never set."""
    if time_stamp is None:
        return None
    return time_stamp if abs(time_stamp.replace(tzinfo=UTC) - heard_at) <= _CLOCK_SLACK else None


def _stamp_text(time_stamp: datetime | None) -> str:
    return "-" if time_stamp is None else time_stamp.isoformat()
