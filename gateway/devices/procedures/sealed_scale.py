"""One reading for one weigh-in, out of advertisements that are encrypted: MiBeacon (Xiaomi S200, S400) and BTHome.

What opens with the device's key was made by the device. It may still be an old packet that somebody played again, so
that the counter in it decides: only one above all that were kept is new. The counter is durable in the same batch as
the reading. A new key begins a new life of the counter, because nobody can have recorded anything under it. The sealed
packets of a Xiaomi scale also hold the time: after its batteries were changed, one that counts from zero is still
believed where it is later than all before.

A packet that does not open is set aside once and then passed over: anybody nearby can send nonsense.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from gateway.devices.advert import Advert
from gateway.devices.bthome import BTHOME_SERVICE, is_bthome_encrypted, open_bthome, parse_sealed_bthome
from gateway.devices.mibeacon import MIBEACON_SERVICE, MiWeighIn, open_mibeacon, parse_mi_weigh_in, parse_mibeacon
from gateway.devices.procedures.broadcast_scale import BROADCAST_CHECKPOINT, BthomeScale
from gateway.devices.procedures.requests import BroadcastWeight, Frame, Keep, Mark, Spoiled
from gateway.devices.sealed import Lock
from gateway.errors import MalformedFrame
from gateway.model import Unit

__all__ = ["KEY_DOES_NOT_FIT", "PLAYED_AGAIN", "SealedBthomeScale", "SealedMiScale"]

KEY_DOES_NOT_FIT: Final = "the key does not fit"
PLAYED_AGAIN: Final = "an old packet, played again"
_State: TypeAlias = Mapping[str, str | int | bool | None]
_REMEMBERED: Final = 8
_STRANGE: Final = 3
"""Packets in a row that do not open before the key is blamed; a single one may be somebody's nonsense."""


class _Verdict(enum.Enum):
    NEW = "new"
    REPEAT = "repeat"
    """Kept already, and perhaps still on the air."""
    OLD = "old"


@dataclass(slots=True)
class _Guard:
    """What has been kept under the key.

    Attributes:
        counter: the highest of all packets that were kept.
        sealed_s: the latest time that was sealed in one, seconds.
        kept: counters of the packets kept with that time.
        key_fits: see `KeyedListener`.
    """

    lock: Lock
    counter: int | None = None
    sealed_s: int | None = None
    kept: tuple[int, ...] = ()
    key_fits: bool | None = None
    _strange: int = 0
    _noted: tuple[str, ...] = ()
    _recent: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, state: _State, lock: Lock) -> _Guard:
        """As the checkpoint says; one of another key says nothing."""
        counter, sealed_s, kept = state.get("counter"), state.get("sealed_s"), state.get("kept")
        if state.get("key") != lock.fingerprint or not isinstance(counter, int):
            return cls(lock)
        numbers = kept.split(" ") if isinstance(kept, str) else []
        return cls(
            lock,
            counter,
            sealed_s if isinstance(sealed_s, int) else None,
            tuple(int(number) for number in numbers if number.isdecimal()),
        )

    def is_on_the_air(self, payload: bytes) -> bool:
        """Whether this is one of the last packets once more, which are not worth opening again."""
        if payload in self._recent:
            return True
        self._recent = (*self._recent[1 - _REMEMBERED :], payload)
        return False

    def judge(self, counter: int, sealed_s: int | None = None) -> _Verdict:
        """Whether a packet that opened is new; a new one counts as kept from now on."""
        if counter in self.kept and sealed_s == self.sealed_s:
            return _Verdict.REPEAT
        is_next = self.counter is None or counter > self.counter
        is_same_time = sealed_s is not None and sealed_s == self.sealed_s
        is_later = sealed_s is not None and (self.sealed_s is None or sealed_s > self.sealed_s)
        if not (is_next or is_same_time or is_later):
            return _Verdict.OLD
        self.counter = max(counter, self.counter or 0)
        if is_later or sealed_s is None:
            self.sealed_s, self.kept = sealed_s, (counter,)
        elif is_same_time:
            self.kept = (*self.kept[1 - _REMEMBERED :], counter)
        return _Verdict.NEW

    def fitted(self) -> None:
        """A packet opened."""
        self._strange, self.key_fits = 0, True

    def did_not_fit(self, frame: Frame) -> list[Keep]:
        """A packet did not open."""
        self._strange += 1
        if self._strange >= _STRANGE:
            self.key_fits = False
        return self.once(frame, KEY_DOES_NOT_FIT)

    def once(self, frame: Frame, detail: str) -> list[Keep]:
        """Set the first of its kind aside; a flood of them is not worth keeping."""
        if detail in self._noted:
            return []
        self._noted = (*self._noted, detail)
        return [Keep(spoiled=(Spoiled(frame, detail),), is_told_once=True)]

    @property
    def state(self) -> dict[str, str | int | bool | None]:
        """For the checkpoint."""
        return {
            "key": self.lock.fingerprint,
            "counter": self.counter,
            "sealed_s": self.sealed_s,
            "kept": " ".join(str(number) for number in self.kept),
        }


class _Sealed:
    """What both kinds of scale have in common."""

    def __init__(self, state: _State | None, lock: Lock) -> None:
        self._guard = _Guard.of(state or {}, lock)
        self._lock = lock

    @property
    def wait_s(self) -> float | None:
        """What is told is kept at once; nothing is waited for."""
        return None

    def on_silence(self) -> list[Keep]:
        """Nothing is waited for."""
        return []

    @property
    def key_fits(self) -> bool | None:
        """See `KeyedListener`."""
        return self._guard.key_fits


class SealedMiScale(_Sealed):
    """A Xiaomi S200 or S400.

    Both packets of a weigh-in hold the same time by the scale's clock, which names the weigh-in: the same one, heard by
    several radios or after a restart, is the same reading.

    Args:
        state: the last durable checkpoint `broadcast.scale`, or None.
        lock: its key.
    """

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC)."""
        payload = advert.service_data.get(MIBEACON_SERVICE)
        if payload is None:
            return []
        frame = Frame(f"adv.{MIBEACON_SERVICE}", payload)
        guard = self._guard
        try:
            beacon = parse_mibeacon(payload)
            if beacon.counter is None or guard.is_on_the_air(payload):
                return []
            objects = open_mibeacon(beacon, self._lock)
            if objects is None:
                return guard.did_not_fit(frame)
            guard.fitted()
            weigh_in = parse_mi_weigh_in(objects)
        except MalformedFrame as error:
            return guard.once(frame, str(error))
        if weigh_in is None or weigh_in.is_empty:
            return []
        verdict = guard.judge(beacon.counter, int(weigh_in.stamp.timestamp()))
        if verdict is not _Verdict.NEW:
            return guard.once(frame, PLAYED_AGAIN) if verdict is _Verdict.OLD else []
        return [Keep((_record(weigh_in, frame),), mark=Mark(BROADCAST_CHECKPOINT, guard.state), is_told_once=True)]


class SealedBthomeScale(_Sealed):
    """An encrypted scale that speaks BTHome v2; a weigh-in is told as by one in the clear.

    Args:
        state: the last durable checkpoint `broadcast.scale`, or None.
        lock: its key.
    """

    def __init__(self, state: _State | None, lock: Lock) -> None:
        super().__init__(state, lock)
        self._scale = BthomeScale(state)

    def on_advert(self, advert: Advert, heard_at: datetime) -> list[Keep]:
        """One advertisement, heard at `heard_at` (aware, UTC)."""
        payload = advert.service_data.get(BTHOME_SERVICE)
        if payload is None or not is_bthome_encrypted(payload):
            return []  # whoever speaks in the clear under its address does not have its key
        frame = Frame(f"adv.{BTHOME_SERVICE}", payload)
        guard = self._guard
        try:
            sealed = parse_sealed_bthome(payload)
            if guard.is_on_the_air(payload):
                return []
            packet = open_bthome(sealed, self._lock)
        except MalformedFrame as error:
            return guard.once(frame, str(error))
        if packet is None:
            return guard.did_not_fit(frame)
        guard.fitted()
        verdict = guard.judge(sealed.counter)
        if verdict is not _Verdict.NEW:
            return guard.once(frame, PLAYED_AGAIN) if verdict is _Verdict.OLD else []
        return [self._proven(keep, sealed.counter) for keep in self._scale.on_packet(packet, frame, heard_at)]

    def _proven(self, keep: Keep, counter: int) -> Keep:
        """With a name of the weigh-in that is the same whoever hears it, and with the counter in the checkpoint."""
        name = f"{self._lock.fingerprint}-{counter}"
        records = tuple(
            replace(record, weigh_in=name, is_unusual=False, is_proven=True)
            if isinstance(record, BroadcastWeight)
            else record
            for record in keep.records
        )
        mark = None if keep.mark is None else Mark(keep.mark.name, {**keep.mark.state, **self._guard.state})
        return replace(keep, records=records, mark=mark)


def _record(weigh_in: MiWeighIn, frame: Frame) -> BroadcastWeight:
    return BroadcastWeight(
        weigh_in=f"{weigh_in.stamp:%Y-%m-%dT%H:%M:%SZ}",
        mass=weigh_in.mass_kg,
        unit=Unit.KG,
        raw_weight=weigh_in.raw_mass or 0,
        impedance_ohm=weigh_in.impedance_50_khz_ohm,
        time_stamp=None,
        frames=(frame,),
        impedance_250_khz_ohm=weigh_in.impedance_250_khz_ohm,
        heart_rate_per_min=weigh_in.heart_rate_per_min,
        sent_at=weigh_in.stamp,
        profile=weigh_in.profile,
        is_proven=True,
    )
