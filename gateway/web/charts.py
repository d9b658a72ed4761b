"""Small drawings as SVG path data: the template holds the frame and its words, this holds the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

__all__ = ["DayCurve", "WeightCurve", "day_curve", "weight_curve"]

_HEIGHT = 300.0
_TOP_MG_DL, _BOTTOM_MG_DL = 350.0, 0.0
_GAP = timedelta(minutes=16)
_SPAN = timedelta(hours=24)
_UNIT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class DayCurve:
    """Coordinates in a box of 720 x 300: 24 hours up to now, 30 units an hour, 0 to 350 mg/dL.

    Attributes:
        lines: one path per stretch without a gap above 16 minutes; gaps stay open.
        sticks: finger-sticks as (x, y).
        last: the newest point, or None.
        hours: (x, local hour) of 00, 06, 12 and 18 o'clock.
    """

    lines: tuple[str, ...]
    sticks: tuple[tuple[float, float], ...]
    last: tuple[float, float] | None
    hours: tuple[tuple[float, int], ...]


def _path(points: Sequence[tuple[float, float]]) -> str:
    if len(points) == 1:
        return f"M{points[0][0]} {points[0][1]}h1"
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def day_curve(
    readings: Sequence[tuple[datetime, Decimal]],
    sticks: Sequence[tuple[datetime, Decimal]],
    now: datetime,
    zone: tzinfo,
) -> DayCurve:
    """The curve of the last 24 hours.

    Args:
        readings: (instant, mg/dL), ascending; what is older than a day, or later than now, is left out.
        sticks: finger-sticks likewise.
        now: aware; the right edge.
        zone: for the hours below the curve.
    """
    start = now - _SPAN

    def place(at: datetime, mg_dl: Decimal) -> tuple[float, float]:
        share = (float(mg_dl) - _BOTTOM_MG_DL) / (_TOP_MG_DL - _BOTTOM_MG_DL)
        return round((at - start) / _UNIT, 1), round(_HEIGHT * (1 - min(1.0, max(0.0, share))), 1)

    stretches: list[list[tuple[float, float]]] = []
    previous: datetime | None = None
    for at, mg_dl in readings:
        if not start <= at <= now:
            continue
        if previous is None or at - previous > _GAP:
            stretches.append([])
        stretches[-1].append(place(at, mg_dl))
        previous = at
    first_hour = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    full_hours = [first_hour + timedelta(hours=number) for number in range(24)]
    return DayCurve(
        lines=tuple(_path(stretch) for stretch in stretches),
        sticks=tuple(place(at, mg_dl) for at, mg_dl in sticks if start <= at <= now),
        last=stretches[-1][-1] if stretches else None,
        hours=tuple(
            (round((at - start) / _UNIT, 1), at.astimezone(zone).hour)
            for at in full_hours
            if at <= now and at.astimezone(zone).hour % 6 == 0
        ),
    )


@dataclass(frozen=True, slots=True)
class WeightCurve:
    """Coordinates in a box of 280 x 80, oldest left.

    Attributes:
        dots: daily weigh-ins.
        low_kg, high_kg: the values at the lower and upper edge.
    """

    dots: tuple[tuple[float, float], ...]
    low_kg: Decimal
    high_kg: Decimal


def weight_curve(days: Sequence[tuple[int, Decimal]]) -> WeightCurve | None:
    """Weigh-ins as dots; None with fewer than two.

    Args:
        days: (days before today 0..27, kilograms).
    """
    if len(days) < 2:
        return None
    masses = [mass for _, mass in days]
    middle = (min(masses) + max(masses)) / 2
    half = max(Decimal(1), (max(masses) - min(masses)) / 2 * Decimal("1.1"))
    low, high = middle - half, middle + half
    dots = tuple(
        (round(275 - 270 * ago / 27, 1), round(75 - 70 * float((mass - low) / (high - low)), 1)) for ago, mass in days
    )
    return WeightCurve(dots, low, high)
