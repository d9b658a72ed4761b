"""When the gateway could not hear, and why."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Outage", "OutageReason"]


class OutageReason(enum.StrEnum):
    """Why nothing could be heard."""

    GATEWAY_OFF = "gateway_off"
    STORE_UNAVAILABLE = "store_unavailable"
    """Nothing could be made durable, so that nothing was taken."""
    RADIO_OFF = "radio_off"
    """No adapter, or a switch keeps it off."""
    RADIO_DEAF = "radio_deaf"
    """The radio ran and heard nobody at all."""
    BROKER_AWAY = "broker_away"
    BROKER_SESSION_LOST = "broker_session_lost"
    """The broker forgot us: what waited there is gone."""
    DEVICE_OFFLINE = "device_offline"
    """We could hear, and the device was silent."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An interval during which something was not heard.

    Attributes:
        subject: what was away: `gateway`, `store`, `bluetooth`, `mqtt`, or `device:<id>`.
        reason: why.
        began_at: aware, UTC.
        ended_at: None: it still lasts.
        detail: more about it, without values; may be empty.
    """

    subject: str
    reason: OutageReason
    began_at: datetime
    ended_at: datetime | None = None
    detail: str = ""
