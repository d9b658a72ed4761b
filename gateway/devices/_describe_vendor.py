"""Descriptions of what is not of the Bluetooth SIG: OneTouch packets, BTHome service data."""

from __future__ import annotations

from gateway.devices._describe_common import Description, iso, number, put_mass
from gateway.devices.bthome import parse_bthome
from gateway.devices.onetouch import (
    ONETOUCH_NOTIFY,
    OneTouchResult,
    PacketKind,
    parse_clock,
    parse_count,
    parse_highest,
    parse_onetouch_frame,
    parse_record,
    split_packet,
)

__all__ = ["VENDOR", "describe_bthome"]


def _onetouch(packet: bytes) -> Description:
    """One packet; a frame in several packets is described by its parts only."""
    kind, place, content = split_packet(packet)
    out: Description = {"packet": kind.name.lower(), "number": place}
    if kind is not PacketKind.FIRST or place != 1:
        return out
    answer = parse_onetouch_frame(content)
    known = {int(result): result.name.lower() for result in OneTouchResult}
    out["result"] = known.get(answer.result, f"unknown_{answer.result}")
    if answer.result != OneTouchResult.OK:
        return out
    match len(answer.data):
        case 4:  # the answers to both questions look alike
            out["clock"] = iso(parse_clock(answer.data))
            out["highest_record"] = parse_highest(answer.data)
        case 2:
            out["record_count"] = parse_count(answer.data)
        case 11:
            record = parse_record(answer.data)
            out["time"] = iso(record.time)
            out["glucose_mg_dl"] = record.glucose_mg_dl or None
            out["is_control_solution"] = record.is_control_solution
            out["mark"], out["error"] = record.mark, record.error
        case _:
            out["data"] = answer.data.hex()
    return out


def describe_bthome(service_data: bytes) -> Description:
    """Service data FCD2 without a key."""
    packet = parse_bthome(service_data)
    out: Description = {"is_triggered": packet.is_triggered}
    if packet.packet_id is not None:
        out["packet_id"] = packet.packet_id
    if packet.battery_percent is not None:
        out["battery_percent"] = packet.battery_percent
    put_mass(out, "mass", packet.mass, packet.mass_unit)
    if packet.voltage_v is not None:
        out["voltage_v"] = number(packet.voltage_v)
    if packet.unread:
        out["octets_not_understood"] = packet.unread
    return out


VENDOR = {ONETOUCH_NOTIFY: ("OneTouch answer", _onetouch)}
"""Full UUID -> name and describer."""
