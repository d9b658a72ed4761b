"""Device Information Service (180A): who made a device and which one it is.

A serial number belongs to a medical device in somebody's home: personal data, never logged.

Source: Bluetooth Device Information Service 1.2; System ID (2A23), the text strings (2A24-2A29), PnP ID (2A50).
IEEE 11073-20601 Regulatory Certification Data List (2A2A): its RegCertDataList in medical device encoding rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.devices._reader import FrameReader
from gateway.errors import MalformedFrame

__all__ = [
    "MAX_TEXT",
    "Certification",
    "PnpId",
    "parse_certifications",
    "parse_pnp_id",
    "parse_system_id",
    "parse_text",
]

MAX_TEXT = 64
_SYSTEM_ID_OCTETS = 8
_VENDOR_SOURCES = {1: "bluetooth_sig", 2: "usb_if"}
_BODIES = {0: "empty", 1: "ieee", 2: "continua", 254: "experimental", 255: "reserved"}


@dataclass(frozen=True, slots=True)
class PnpId:
    """2A50.

    Attributes:
        vendor_source: who gave out `vendor_id`: `bluetooth_sig`, `usb_if`; None when reserved.
        vendor_id, product_id, product_version: 0..0xFFFF; the version is binary-coded decimal, 0x0213 = 2.1.3.
    """

    vendor_source: str | None
    vendor_id: int
    product_id: int
    product_version: int


@dataclass(frozen=True, slots=True)
class Certification:
    """One entry of 2A2A.

    Attributes:
        body: who certified: `ieee`, `continua`, `experimental` ...; `unknown_<code>` for other codes.
        structure: how that body lays out `data`.
        data: as sent; its meaning is the body's own.
    """

    body: str
    structure: int
    data: bytes


def parse_text(frame: bytes) -> str:
    """Decode one of the text characteristics.

    UTF-8 of any length; what follows the first NUL is ignored, undecodable octets become U+FFFD, white space at the
    ends is dropped, 64 characters are kept. Never fails; empty when there is nothing.
    """
    return frame.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()[:MAX_TEXT].rstrip()


def parse_system_id(frame: bytes) -> str:
    """Decode System ID (2A23) into its EUI-64, 16 upper-case hex digits, OUI first as IEEE writes it.

    Args:
        frame: 8 octets, little-endian: manufacturer-defined identifier (5), then OUI (3).

    Raises:
        MalformedFrame: not 8 octets.
    """
    reader = FrameReader(frame, "System ID")
    octets = reader.bytes(_SYSTEM_ID_OCTETS)
    reader.finish()
    return octets[::-1].hex().upper()


def parse_pnp_id(frame: bytes) -> PnpId:
    """Decode PnP ID (2A50).

    Args:
        frame: 7 octets: vendor source u8, vendor u16, product u16, version u16; little-endian.

    Raises:
        MalformedFrame: not 7 octets.
    """
    reader = FrameReader(frame, "PnP ID")
    source, vendor, product, version = reader.u8(), reader.u16(), reader.u16(), reader.u16()
    reader.finish()
    return PnpId(_VENDOR_SOURCES.get(source), vendor, product, version)


def parse_certifications(frame: bytes) -> tuple[Certification, ...]:
    """Decode the regulatory certification list (2A2A). Unlike all other characteristics it is big-endian.

    Args:
        frame: count u16, length of the rest u16, then per entry body u8, structure u8, length u16, data.

    Raises:
        MalformedFrame: the lengths do not fit.
    """
    reader = FrameReader(frame, "Regulatory Certification Data List")
    count, length = _big(reader), _big(reader)
    if length != reader.remaining:
        raise MalformedFrame("Regulatory Certification Data List: its length does not fit")
    entries = []
    for _ in range(count):
        body, structure = reader.u8(), reader.u8()
        entries.append(Certification(_BODIES.get(body, f"unknown_{body}"), structure, reader.bytes(_big(reader))))
    reader.finish()
    return tuple(entries)


def _big(reader: FrameReader) -> int:
    return int.from_bytes(reader.bytes(2), "big")
