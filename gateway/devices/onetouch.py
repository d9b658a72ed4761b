"""The own protocol of LifeScan OneTouch meters over Bluetooth: frames, requests and answers.

    packet   kind and number u8 | up to 19 octets of a frame
    frame    02 | length u8 | 00 | 03 | payload | 03 | CRC u16, little-endian over everything before it

The first octet of a packet: 0x00 with the number of packets of the frame (the first packet), 0x40 with the number of
packets that are left (a further one), 0x80 with the number of the packet that it acknowledges (nothing follows).

Source: the maintained open-source drivers of these meters and the descriptions of their serial protocol; there is no
public specification.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.devices._reader import FrameReader
from gateway.devices.crc import crc16_ccitt_false
from gateway.devices.glucose import ConcentrationUnit, GlucoseMeasurement
from gateway.errors import MalformedFrame

__all__ = [
    "ONETOUCH_NOTIFY",
    "ONETOUCH_SERVICE",
    "ONETOUCH_WRITE",
    "OneTouchAnswer",
    "OneTouchRecord",
    "OneTouchResult",
    "PacketKind",
    "acknowledgement",
    "build_packet",
    "parse_clock",
    "parse_count",
    "parse_highest",
    "parse_onetouch_frame",
    "parse_record",
    "read_clock",
    "read_count",
    "read_highest",
    "read_record",
    "split_packet",
]

ONETOUCH_SERVICE: Final = "af9df7a1-e595-11e3-96b4-0002a5d5c51b"
ONETOUCH_WRITE: Final = "af9df7a2-e595-11e3-96b4-0002a5d5c51b"
ONETOUCH_NOTIFY: Final = "af9df7a3-e595-11e3-96b4-0002a5d5c51b"
_STX, _ETX, _PREFIXES = 0x02, 0x03, (0x03, 0x04)
_OVERHEAD = 7
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 -- the meter's own local clock has no zone
_HIGHEST_MG_DL, _LOWEST_MG_DL = 600, 20


class PacketKind(enum.IntEnum):
    """High nibble of a packet's first octet."""

    FIRST = 0x00
    FURTHER = 0x40
    ACKNOWLEDGEMENT = 0x80


class OneTouchResult(enum.IntEnum):
    """First octet of an answer."""

    OK = 6
    NOT_ALLOWED = 7
    """Among others: not paired."""
    NOT_SUPPORTED = 8
    NOT_UNDERSTOOD = 9


@dataclass(frozen=True, slots=True)
class OneTouchAnswer:
    """One answer. `result`: see `OneTouchResult`, other codes are kept as they are; `data`: what follows it."""

    result: int
    data: bytes


@dataclass(frozen=True, slots=True)
class OneTouchRecord:
    """One stored test.

    Attributes:
        time: the meter's own local clock, naive.
        glucose_mg_dl: 0: no valid reading.
        is_control_solution: a test of the meter.
        mark: two octets that are zero in most records, and hold what the user said about the meal in some [1 report].
        error: two octets, zero in good records.
    """

    time: datetime
    glucose_mg_dl: int
    is_control_solution: bool
    mark: int
    error: int

    def measurement(self, number: int) -> GlucoseMeasurement:
        """In the words of the Glucose Service, with `number` (0..65535) as its sequence.

        Numbers outside the meter's range of 20 to 600 mg/dL are its words for LO and HI.
        """
        status = []
        if self.error:
            status.append("general_fault")
        if self.glucose_mg_dl > _HIGHEST_MG_DL:
            status.append("result_above_device_range")
        elif 0 < self.glucose_mg_dl < _LOWEST_MG_DL:
            status.append("result_below_device_range")
        is_valid = self.glucose_mg_dl > 0
        return GlucoseMeasurement(
            sequence=number,
            base_time=self.time,
            concentration=Decimal(self.glucose_mg_dl).scaleb(-5) if is_valid else None,
            unit=ConcentrationUnit.KG_L if is_valid else None,
            sample_type="control_solution" if self.is_control_solution else None,
            status=tuple(sorted(status)),
        )


def split_packet(packet: bytes) -> tuple[PacketKind, int, bytes]:
    """Kind, number (0..15) and content of a packet.

    Raises:
        MalformedFrame: empty, or of no known kind.
    """
    reader = FrameReader(packet, "OneTouch packet")
    head = reader.u8()
    try:
        kind = PacketKind(head & 0xF0)
    except ValueError:
        raise MalformedFrame("OneTouch packet: of no known kind") from None
    return kind, head & 0x0F, reader.rest()


def acknowledgement(number: int) -> bytes:
    """The packet that acknowledges the packet with `number`, 0..15; 0x81 for a frame of one packet."""
    return bytes((PacketKind.ACKNOWLEDGEMENT | number,))


def parse_onetouch_frame(frame: bytes) -> OneTouchAnswer:
    """Decode the frame that packets have brought, without their first octets.

    Raises:
        MalformedFrame: delimiters, length or CRC do not fit.
    """
    reader = FrameReader(frame, "OneTouch frame")
    if reader.u8() != _STX:
        raise MalformedFrame("OneTouch frame: begins with another octet")
    length = reader.u8()
    if length != len(frame) or length < _OVERHEAD + 1:
        raise MalformedFrame("OneTouch frame: its length is not what it says")
    if reader.u8() != 0 or reader.u8() not in _PREFIXES:
        raise MalformedFrame("OneTouch frame: begins with another prefix")
    payload = reader.bytes(length - _OVERHEAD)
    if reader.u8() != _ETX:
        raise MalformedFrame("OneTouch frame: ends with another octet")
    if reader.u16() != crc16_ccitt_false(frame[:-2]):
        raise MalformedFrame("OneTouch frame: CRC mismatch")
    return OneTouchAnswer(payload[0], payload[1:])


def parse_clock(data: bytes) -> datetime:
    """The meter's own local clock, naive. Raises MalformedFrame: not 4 octets."""
    reader = FrameReader(data, "OneTouch clock")
    seconds = reader.u32()
    reader.finish()
    return _EPOCH + timedelta(seconds=seconds)


def parse_highest(data: bytes) -> int:
    """The highest record number there is. Raises MalformedFrame: not 4 octets."""
    reader = FrameReader(data, "OneTouch record counter")
    highest = reader.u32()
    reader.finish()
    return highest


def parse_count(data: bytes) -> int:
    """How many records are stored. Raises MalformedFrame: not 2 octets."""
    reader = FrameReader(data, "OneTouch number of records")
    count = reader.u16()
    reader.finish()
    return count


def parse_record(data: bytes) -> OneTouchRecord:
    """One record.

    Args:
        data: 11 octets: time u32, mg/dL u16, control solution u8, mark u16, error u16.

    Raises:
        MalformedFrame: another length.
    """
    reader = FrameReader(data, "OneTouch record")
    seconds, glucose, control = reader.u32(), reader.u16(), reader.u8()
    mark, error = reader.u16(), reader.u16()
    reader.finish()
    return OneTouchRecord(_EPOCH + timedelta(seconds=seconds), glucose, control != 0, mark, error)


def build_packet(payload: bytes) -> bytes:
    """The one packet that carries a request; `payload` at most 11 octets."""
    frame = bytes((_STX, len(payload) + _OVERHEAD, 0x00, _PREFIXES[0])) + payload + bytes((_ETX,))
    return bytes((PacketKind.FIRST | 1,)) + frame + crc16_ccitt_false(frame).to_bytes(2, "little")


def read_clock() -> bytes:
    """Ask for the clock."""
    return build_packet(b"\x20\x02")


def read_count() -> bytes:
    """Ask how many records there are."""
    return build_packet(b"\x27\x00")


def read_highest() -> bytes:
    """Ask for the highest record number."""
    return build_packet(b"\x0a\x02\x06")


def read_record(number: int) -> bytes:
    """Ask for one record, 0..65535."""
    return build_packet(b"\xb3" + number.to_bytes(2, "little"))
