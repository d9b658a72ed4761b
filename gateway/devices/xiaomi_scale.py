"""Xiaomi scales that speak without a connection: service data in their advertisements.

One weigh-in is broadcast dozens of times: first unsettled, then stable, then (body composition scale, bare feet) with
an impedance, and again after the load was removed. Its identity is the scale's own time stamp with the weight.

Source: layouts published by the maintained open-source drivers of these scales; there is no public specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from gateway.devices._reader import FrameReader
from gateway.devices.date_time import DATE_TIME_OCTETS, parse_date_time
from gateway.errors import MalformedFrame
from gateway.model import Unit

__all__ = ["MiScaleMeasurement", "parse_mi_body_composition", "parse_mi_scale_v1"]

_STEPS = {Unit.KG: Decimal("0.005"), Unit.LB: Decimal("0.01"), Unit.JIN: Decimal("0.01")}
_HIGHEST_IMPEDANCE_OHM = 3000


@dataclass(frozen=True, slots=True)
class MiScaleMeasurement:
    """One advertisement.

    Attributes:
        weight: in `weight_unit`, exact.
        weight_unit: kg, lb or jin (500 g), whatever the scale is set to show.
        raw_weight: the word on the air.
        time_stamp: the scale's own local clock, naive; None when unknown or impossible. Starts in 1970 or 2015 after a
            change of batteries.
        is_stable: the weight has settled; until then it is no measurement.
        is_removed: the load has left; with `is_stable`, a repeat of a result that was sent before.
        impedance_ohm: 1..2999; None while there is no valid one, and always for the scale that has no electrodes.
    """

    weight: Decimal
    weight_unit: Unit
    raw_weight: int
    time_stamp: datetime | None
    is_stable: bool
    is_removed: bool
    impedance_ohm: Decimal | None = None


def parse_mi_scale_v1(service_data: bytes) -> MiScaleMeasurement:
    """Decode the service data 181D of a Mi Smart Scale (XMTZC01HM, XMTZC04HM).

    Args:
        service_data: 10 octets: control u8 (bit 0 lb, 4 jin, 5 stable, 7 removed), weight u16, time stamp (7).

    Raises:
        MalformedFrame: another length, or two units at once.
    """
    reader = FrameReader(service_data, "Mi Scale")
    control, raw_weight = reader.u8(), reader.u16()
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS))
    reader.finish()
    unit = _unit(is_lb=bool(control & 1 << 0), is_jin=bool(control & 1 << 4))
    return MiScaleMeasurement(
        weight=raw_weight * _STEPS[unit],
        weight_unit=unit,
        raw_weight=raw_weight,
        time_stamp=time_stamp,
        is_stable=bool(control & 1 << 5),
        is_removed=bool(control & 1 << 7),
    )


def parse_mi_body_composition(service_data: bytes) -> MiScaleMeasurement:
    """Decode the service data 181B of a Mi Body Composition Scale (XMTZC02HM, XMTZC05HM).

    Args:
        service_data: 13 octets: u8 (bit 0 lb), u8 (bit 1 impedance valid, 5 stable, 6 jin, 7 removed), time stamp (7),
            impedance u16 in ohm, weight u16.

    Raises:
        MalformedFrame: another length, or two units at once.
    """
    reader = FrameReader(service_data, "Mi Body Composition Scale")
    unit_octet, control = reader.u8(), reader.u8()
    time_stamp = parse_date_time(reader.bytes(DATE_TIME_OCTETS))
    impedance, raw_weight = reader.u16(), reader.u16()
    reader.finish()
    unit = _unit(is_lb=bool(unit_octet & 1 << 0), is_jin=bool(control & 1 << 6))
    has_impedance = bool(control & 1 << 1) and 0 < impedance < _HIGHEST_IMPEDANCE_OHM
    return MiScaleMeasurement(
        weight=raw_weight * _STEPS[unit],
        weight_unit=unit,
        raw_weight=raw_weight,
        time_stamp=time_stamp,
        is_stable=bool(control & 1 << 5),
        is_removed=bool(control & 1 << 7),
        impedance_ohm=Decimal(impedance) if has_impedance else None,
    )


def _unit(*, is_lb: bool, is_jin: bool) -> Unit:
    if is_lb and is_jin:
        raise MalformedFrame("Mi Scale: two units at once")
    if is_lb:
        return Unit.LB
    return Unit.JIN if is_jin else Unit.KG
