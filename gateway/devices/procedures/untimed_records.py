"""One record for one measurement, out of messages that neither name it nor say when it was made. Pure.

A scale behind somebody else's radio is told many times: each repeat of its broadcast is published again, by every radio
that hears it; weight and impedance may come on topics of their own; the broker brings back what was not acknowledged,
what waited for us, and what it keeps for newcomers. What was told is remembered over restarts, in a checkpoint that is
durable together with the reading, and what is heard is compared with it:

* heard now: equal to a weigh-in of the last ten minutes (each repeat begins them anew) is that weigh-in; any other is a
  new one. Measurements that are no weigh-in (a pulse, a glucose value) are compared with the one before, for two
  minutes: their next value may well be the same;
* a half that comes alone joins the newest weigh-in, if that lacks it and was heard in the last minute;
* waited in the broker, sent again, or kept by it: equal to anything remembered is known. Else it is told once, at an
  unknown time, under a name made of its content, so that telling it again changes nothing;
* a sender that has just begun anew says its last values once more: one that equals the newest told is known.

Two people of the same weight within ten minutes are one here; two weigh-ins that waited with the same weight, too.
Nothing tells such repeats from news.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from gateway.devices.dialects.shape import Untimed
from gateway.devices.procedures.weigh_in_trust import WeighInTrust
from gateway.model import DataType, Metric
from gateway.normalise.reported import ReportedMeasurement, ReportedRecord

__all__ = ["JOIN_WINDOW", "SAME_VALUE", "SAME_WEIGH_IN", "UNTIMED_CHECKPOINT", "Heard", "Origin", "UntimedRecords"]

UNTIMED_CHECKPOINT: Final = "mqtt.untimed"
SAME_WEIGH_IN: Final = timedelta(minutes=10)
SAME_VALUE: Final = timedelta(minutes=2)
JOIN_WINDOW: Final = timedelta(minutes=1)
_WEIGH_INS_REMEMBERED: Final = 16
_PEOPLE_REMEMBERED: Final = 16
"""Of each the newest weigh-in, however many of others came since: a topic of one's own keeps it in the broker."""
_OTHERS_REMEMBERED: Final = 8
_STALE: Final = timedelta(minutes=2)
"""How far the durable instant of the last repeat may lag behind."""
_OF_A_WEIGH_IN: Final = frozenset({DataType.WEIGHT, DataType.BODY_COMPOSITION})
_METRICS: Final = {metric.value: metric for metric in Metric}
_State: TypeAlias = Mapping[str, str | int | bool | None]


class Origin(enum.StrEnum):
    """What is known of the age of a message."""

    LIVE = "live"
    """Published while we listened."""
    QUEUED = "queued"
    """Waited in the broker, or is sent again: of unknown age."""
    RETAINED = "retained"
    """Kept by the broker for new subscribers: a statement about the past."""


class Heard(NamedTuple):
    """What a message adds.

    Attributes:
        record: what is new in it; None: nothing.
        is_live: it was measured when it was heard.
        is_refused: the device told more weigh-ins than people can make; this one is the first above the limit.
    """

    record: ReportedRecord | None = None
    is_live: bool = False
    is_refused: bool = False


@dataclass(slots=True)
class _Told:
    """One measurement that was told; `values`: a digest of what was said, by metric; `user`: one of whose it was said
    to be, empty where nothing was."""

    name: str
    origin: Origin
    heard_at: datetime
    values: dict[Metric, str]
    is_weigh_in: bool
    user: str = ""


class UntimedRecords:
    """The memory of one device.

    Args:
        state: the last durable checkpoint `mqtt.untimed`, or None.
    """

    def __init__(self, state: _State | None = None) -> None:
        state = state or {}
        told, doubted = state.get("told"), state.get("doubted")
        self._told = list(_read(told)) if isinstance(told, str) else []
        self._doubted = _metrics(doubted) if isinstance(doubted, str) else set()
        self._trust = WeighInTrust()
        self._durable_at = {each.name: each.heard_at for each in self._told}
        self._is_changed = False

    def interrupt(self) -> None:
        """The sender begins anew, or had lost its device: what it says next may be what it said last."""
        known = {metric for each in self._told for metric in each.values}
        self._is_changed = self._is_changed or known != self._doubted
        self._doubted = known

    def hear(self, untimed: Untimed, heard_at: datetime, origin: Origin) -> Heard:
        """One message, heard at `heard_at` (aware, UTC)."""
        said = {each.metric: _digest(each) for each in untimed.measurements}
        if not said:
            return Heard()
        is_weigh_in = any(metric.info.data_type in _OF_A_WEIGH_IN for metric in said)
        told = self._same(said, heard_at, origin, is_weigh_in)
        if told is None and untimed.is_partial and is_weigh_in:
            told = self._other_half(said, heard_at, origin)
        if origin is Origin.LIVE and self._doubted & said.keys():
            self._doubted -= said.keys()
            self._is_changed = True
        if told is None:
            return self._new(untimed, said, heard_at, origin, is_weigh_in)
        self._note_heard(told, heard_at, origin)
        missing = tuple([each for each in untimed.measurements if each.metric not in told.values])
        if not missing:
            return Heard()
        told.values.update({each.metric: said[each.metric] for each in missing})
        self._is_changed = True
        is_live = origin is Origin.LIVE and told.origin is Origin.LIVE
        return Heard(_record(told, missing, untimed), is_live=is_live)

    def mark(self) -> dict[str, str | int | bool | None] | None:
        """The checkpoint, if it has changed since the last call; it belongs into the batch of what was told."""
        if not self._is_changed:
            return None
        self._is_changed = False
        self._durable_at = {each.name: each.heard_at for each in self._told}
        return {
            "told": " ".join(_written(each) for each in self._told),
            "doubted": " ".join(sorted(metric.value for metric in self._doubted)),
        }

    def _same(self, said: Mapping[Metric, str], heard_at: datetime, origin: Origin, is_weigh_in: bool) -> _Told | None:
        """What was told before, as far as `said` repeats it."""
        is_doubted = said.keys() <= self._doubted
        is_newest = True
        for each in reversed(self._told):
            shared = said.keys() & each.values.keys()
            if each.is_weigh_in != is_weigh_in or not shared:
                continue
            if all(said[metric] == each.values[metric] for metric in shared):
                if origin is not Origin.LIVE or (is_doubted and is_newest):
                    return each
                if each.origin is not Origin.RETAINED and self._is_recent(each, heard_at):
                    return each
            is_newest = False
            if not is_weigh_in and origin is Origin.LIVE:
                return None
        return None

    def _other_half(self, said: Mapping[Metric, str], heard_at: datetime, origin: Origin) -> _Told | None:
        newest = next((each for each in reversed(self._told) if each.is_weigh_in), None)
        if newest is None or said.keys() & newest.values.keys() or abs(heard_at - newest.heard_at) > JOIN_WINDOW:
            return None
        return newest if (origin is Origin.RETAINED) == (newest.origin is Origin.RETAINED) else None

    def _new(
        self, untimed: Untimed, said: dict[Metric, str], heard_at: datetime, origin: Origin, is_weigh_in: bool
    ) -> Heard:
        if origin is Origin.LIVE and is_weigh_in and not self._trust.admits(heard_at):
            return Heard(is_refused=self._trust.is_first_refusal)
        content = " ".join(f"{metric.value}={digest}" for metric, digest in sorted(said.items()))
        name = f"old-{_short(content, 8)}"
        if origin is Origin.LIVE:
            name = f"rx-{heard_at.isoformat()}-{_short(content, 4)}"
        user = untimed.context.user_name
        told = _Told(name, origin, heard_at, said, is_weigh_in, "" if user is None else _short(user, 4))
        if not is_weigh_in:
            self._told = [each for each in self._told if each.is_weigh_in or each.values.keys() != said.keys()]
        self._told = _bounded([*self._told, told])
        self._is_changed = True
        return Heard(_record(told, untimed.measurements, untimed), is_live=origin is Origin.LIVE)

    def _note_heard(self, told: _Told, heard_at: datetime, origin: Origin) -> None:
        """A repeat begins the window anew, unless its age is unknown and it may be anyone's."""
        if origin is Origin.RETAINED or not self._is_recent(told, heard_at):
            return
        told.heard_at = max(told.heard_at, heard_at)
        durable_at = self._durable_at.get(told.name)
        if durable_at is not None and told.heard_at - durable_at > _STALE:
            self._is_changed = True

    @staticmethod
    def _is_recent(told: _Told, heard_at: datetime) -> bool:
        return abs(heard_at - told.heard_at) <= (SAME_WEIGH_IN if told.is_weigh_in else SAME_VALUE)


def _record(told: _Told, measurements: tuple[ReportedMeasurement, ...], untimed: Untimed) -> ReportedRecord:
    context = replace(untimed.context, weigh_in=told.name) if told.is_weigh_in else untimed.context
    return ReportedRecord(told.name, 0, None, measurements, context)


def _short(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def _digest(measurement: ReportedMeasurement) -> str:
    number = None if measurement.number is None else measurement.number.normalize()
    return _short(f"{number} {measurement.unit} {measurement.bound} {measurement.absent}", 4)


def _bounded(told: list[_Told]) -> list[_Told]:
    weigh_ins = [each for each in told if each.is_weigh_in]
    newest: dict[str, _Told] = {}
    for each in reversed(weigh_ins):
        if len(newest) < _PEOPLE_REMEMBERED:
            newest.setdefault(each.user, each)
    others = [each for each in told if not each.is_weigh_in][-_OTHERS_REMEMBERED:]
    kept = {id(each) for each in (*weigh_ins[-_WEIGH_INS_REMEMBERED:], *newest.values(), *others)}
    return [each for each in told if id(each) in kept]


def _written(told: _Told) -> str:
    values = ",".join(f"{metric.value}={digest}" for metric, digest in told.values.items())
    return f"{told.name}|{told.origin.value}|{told.heard_at.isoformat()}|{int(told.is_weigh_in)}|{values}|{told.user}"


def _read(text: str) -> Iterator[_Told]:
    """What `_written` wrote; anything else is passed over."""
    for item in text.split():
        try:
            name, origin, heard_at, is_weigh_in, values, user = item.split("|")
            said = {_METRICS[metric]: digest for metric, digest in (pair.split("=") for pair in values.split(","))}
            at = datetime.fromisoformat(heard_at)
            told = _Told(name, Origin(origin), at, said, is_weigh_in == "1", user)
        except (KeyError, ValueError):
            continue
        if at.tzinfo is not None:
            yield told


def _metrics(text: str) -> set[Metric]:
    return {_METRICS[name] for name in text.split() if name in _METRICS}
