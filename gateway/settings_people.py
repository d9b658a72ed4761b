"""The part of the configuration that says where people live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from gateway.model import Itinerary, Leg

__all__ = ["TravelSettings", "Zone", "zone_lived_in"]


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("not a time zone of the IANA list; write for instance 'Europe/Paris'") from None
    return text


Zone = Annotated[str, AfterValidator(_zone)]


class TravelSettings(BaseModel):
    """`[[people.travels]]`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime = Field(description="From this instant on, with its offset: `2026-08-01T14:00:00-04:00`.")
    time_zone: Zone = Field(description="Zone lived in from then on, until the next entry; coming home is one too.")


def zone_lived_in(home: str, travels: Sequence[TravelSettings]) -> ZoneInfo | Itinerary:
    """The zone of a person, with the travels."""
    zone = ZoneInfo(home)
    return Itinerary(zone, [Leg(t.since, ZoneInfo(t.time_zone)) for t in travels]) if travels else zone
