"""Devices made of plain Python for the procedures, and a link that can break after any word."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from gateway.devices.procedures import (
    Close,
    Keep,
    Outcome,
    Procedure,
    Read,
    Record,
    Request,
    Spoiled,
    Subscribe,
    Write,
)
from gateway.sandbox.frames import encode_glucose_context, encode_glucose_measurement
from gateway.sandbox.records import MeterContext, MeterRecord

__all__ = ["Peer", "ScriptedMeter", "Shelf", "converse", "meter_records"]

MEASUREMENT, CONTEXT, RACP = "2a18", "2a34", "2a52"
Said = tuple[str, bytes]


class Peer(Protocol):
    """A device: answers a read (bytes or ATT code) and a write (ATT code or None, and what it then sends)."""

    def read(self, char: str) -> bytes | int: ...

    def write(self, char: str, data: bytes) -> int | list[Said]: ...

    def subscribe(self, char: str) -> int | list[Said]: ...


@dataclass
class Shelf:
    """Where kept records go; like a store, it knows nothing of order and keeps one of each."""

    records: dict[object, Record] = field(default_factory=dict)
    spoiled: list[Spoiled] = field(default_factory=list)
    loose: list[bytes] = field(default_factory=list)
    state: Mapping[str, str | int | bool | None] | None = None
    keeps: list[Keep] = field(default_factory=list)

    def put(self, keep: Keep, key: Callable[[Keep, Record], object]) -> None:
        self.keeps.append(keep)
        self.spoiled.extend(keep.spoiled)
        self.loose.extend(frame.payload for frame in keep.loose)
        for record in keep.records:
            self.records[key(keep, record)] = record
        if keep.mark is not None:
            self.state = keep.mark.state


def converse(
    procedure: Procedure,
    peer: Peer,
    shelf: Shelf,
    key: Callable[[Keep, Record], object],
    *,
    cut_after: int | None = None,
    silences: int = 3,
) -> Close:
    """Run `procedure` against `peer`.

    The link breaks once the device has said `cut_after` things (answers to reads, notifications); what it said before
    still arrives. Silence is announced when nothing is left to say, at most `silences` times; then the link breaks.
    """
    said = 0
    air: deque[Said] = deque()

    def lost() -> Close:
        todo = deque(procedure.on_link_lost())
        while todo:
            request = todo.popleft()
            if isinstance(request, Close):
                return request
            if isinstance(request, Keep):
                shelf.put(request, key)
                todo.extend(procedure.on_kept())
        return Close(Outcome.LINK_LOST)

    todo: deque[Request] = deque(procedure.start())
    while True:
        while todo:
            request = todo.popleft()
            match request:
                case Close():
                    return request
                case Keep():
                    shelf.put(request, key)
                    todo.extend(procedure.on_kept())
                case Read(char):
                    if said == cut_after:
                        return lost()
                    said += 1
                    answer = peer.read(char)
                    if isinstance(answer, int):
                        todo.extend(procedure.on_refused(char, answer))
                    else:
                        todo.extend(procedure.on_read(char, answer))
                case Write(char) | Subscribe(char):
                    result = peer.write(char, request.data) if isinstance(request, Write) else peer.subscribe(char)
                    if isinstance(result, int):
                        todo.extend(procedure.on_refused(char, result))
                    else:
                        air.extend(result)
        if procedure.is_done:
            return Close(Outcome.COMPLETE)
        if said == cut_after:
            return lost()
        if air:
            said += 1
            todo.extend(procedure.on_notify(*air.popleft()))
        elif silences:
            silences -= 1
            todo.extend(procedure.on_silence())
        else:
            return lost()


def meter_records(first: int, last: int, *, base: datetime, with_context: Sequence[int] = ()) -> list[MeterRecord]:
    """Records `first`..`last`, one an hour after `base`, 100 mg/dL and up."""
    return [
        MeterRecord(
            sequence=number,
            base_time=base + timedelta(hours=number),
            glucose=Decimal(100 + number % 50),
            context=MeterContext(meal=1) if number in with_context else None,
        )
        for number in range(first, last + 1)
    ]


@dataclass
class ScriptedMeter:
    """A meter with a Record Access Control Point.

    Attributes:
        records: its memory, in the order in which it reports.
        refusals: response code by first octets of a request, instead of doing it.
        contexts: `after` their measurement, `before` it, at the `end`, `late` (after the answer) or `never`.
        log: requests that were written.
        hides: sequence numbers left out of the first report although they are counted.
        answers_first: the answer overtakes the records.
        is_mute: hears and says nothing.
        mutate: changes a frame before it is sent.
        combines: it knows the combined report.
    """

    records: list[MeterRecord]
    refusals: dict[bytes, int] = field(default_factory=dict)
    contexts: str = "after"
    log: list[bytes] = field(default_factory=list)
    hides: set[int] = field(default_factory=set)
    answers_first: bool = False
    is_mute: bool = False
    mutate: Callable[[str, bytes], bytes] = lambda _char, frame: frame
    has_context_characteristic: bool = True
    write_errors: list[int] = field(default_factory=list)
    combines: bool = False

    def read(self, char: str) -> bytes | int:
        return b"\x22\x04" if char == "2a51" else 0x0A

    def subscribe(self, char: str) -> int | list[Said]:
        return 0x0A if char == CONTEXT and not self.has_context_characteristic else []

    def write(self, char: str, data: bytes) -> int | list[Said]:
        assert char == RACP
        self.log.append(data)
        if self.write_errors and data[0] != 3:
            return self.write_errors.pop(0)
        if self.is_mute:
            return []
        if data[0] == 3:
            return [(RACP, bytes((6, 0, 3, 1)))]
        if data[0] == 7 and not self.combines:
            return [(RACP, bytes((6, 0, 7, 2)))]
        for prefix, code in self.refusals.items():
            if data.startswith(prefix):
                return [(RACP, bytes((6, 0, data[0], code)))]
        chosen = self._chosen(data)
        if data[0] == 7:
            return self._combined(chosen)
        if data[0] == 4:
            return [(RACP, b"\x05\x00" + len(chosen).to_bytes(2, "little"))]
        if not chosen:
            return [(RACP, bytes((6, 0, 1, 6)))]
        sent = [record for record in chosen if record.sequence not in self.hides]
        self.hides = set()
        return self._report(sent)

    def _combined(self, chosen: list[MeterRecord]) -> list[Said]:
        """The records, then their number, hidden ones included."""
        sent = [record for record in chosen if record.sequence not in self.hides]
        self.hides = set()
        count = b"\x08\x00" + len(chosen).to_bytes(2, "little")
        return [said for said in self._report(sent) if said[0] != RACP] + [(RACP, count)]

    def _report(self, records: list[MeterRecord]) -> list[Said]:
        measured = [(MEASUREMENT, self._sent(MEASUREMENT, encode_glucose_measurement(r)), r) for r in records]
        said: list[Said] = []
        late: list[Said] = []
        for char, frame, record in measured:
            context: list[Said] = []
            if record.context is not None and self.contexts != "never":
                context = [(CONTEXT, self._sent(CONTEXT, encode_glucose_context(record.sequence, record.context)))]
            if self.contexts == "before":
                said += context
            said.append((char, frame))
            if self.contexts == "after":
                said += context
            if self.contexts in {"end", "late"}:
                late += context
        answer = [(RACP, bytes((6, 0, 1, 1)))]
        if self.answers_first:
            return answer + said + late
        return said + answer + late if self.contexts == "late" else said + late + answer

    def _sent(self, char: str, frame: bytes) -> bytes:
        return self.mutate(char, frame)

    def _chosen(self, data: bytes) -> list[MeterRecord]:
        operator, operand = data[1], data[3:]
        low = int.from_bytes(operand[:2], "little")
        match operator:
            case 1:
                return list(self.records)
            case 2:
                return [r for r in self.records if r.sequence <= low]
            case 3:
                return [r for r in self.records if r.sequence >= low]
            case 4:
                high = int.from_bytes(operand[2:4], "little")
                return [r for r in self.records if low <= r.sequence <= high]
            case 5:
                return self.records and [min(self.records, key=lambda r: str(r.base_time))]
            case 6:
                return self.records and [max(self.records, key=lambda r: str(r.base_time))]
            case _:
                raise AssertionError(f"the gateway has no use for operator {operator}")
