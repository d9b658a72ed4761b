"""Which summary period is due. Pure: local days in, local days out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

__all__ = ["PERIOD_DAYS", "due_last_day", "first_day_of", "local_midnight"]

PERIOD_DAYS = 14


def due_last_day(today: date, previous_last_day: date | None) -> date | None:
    """The last day of the period to summarise now, or None when none is due.

    Args:
        today: the person's current local day; the period ends with the midnight that began it.
        previous_last_day: last day of the newest period already planned for this person and destination.

    Returns:
        Yesterday, when the whole period up to it lies after the previous one: periods never overlap.
    """
    last_day = today - timedelta(days=1)
    if previous_last_day is not None and (last_day - previous_last_day).days < PERIOD_DAYS:
        return None
    return last_day


def first_day_of(last_day: date) -> date:
    """First day of the period that ends with `last_day`, inclusive."""
    return last_day - timedelta(days=PERIOD_DAYS - 1)


def local_midnight(day: date, zone: tzinfo) -> datetime:
    """The instant at which `day` begins in `zone`, UTC."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
