"""Dialects of MQTT that people already have at home; one module each, all of them in `DIALECTS`."""

from __future__ import annotations

from gateway.devices.dialects.shape import Dialect, Message, Said, Untimed

__all__ = ["DIALECTS", "Dialect", "Message", "Said", "Untimed"]

DIALECTS: tuple[Dialect, ...] = ()
