"""Which dialect is spoken on which topics, and for which device: built from the configuration in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.devices.dialects import Dialect, mapping_dialect
from gateway.devices.dialects.topics import matches
from gateway.model import DeviceId
from gateway.settings import MqttSettings
from gateway.settings_mqtt_dialects import dialect_of

__all__ = ["Route", "RouteTable", "routes_of"]

_TOPICS_REMEMBERED: Final = 10_000
_LONGEST_REMEMBERED: Final = 256
"""A topic may have 65535 bytes; programs that measure something use far fewer."""


@dataclass(frozen=True, slots=True)
class Route:
    """One dialect on some topics.

    Attributes:
        topics: filters that overlap no other route's.
        device_id: everything there is this device; None: the address in the topic says.
    """

    dialect: Dialect
    topics: tuple[str, ...]
    device_id: DeviceId | None = None


def routes_of(settings: MqttSettings) -> tuple[Route, ...]:
    """Every route of the configuration: of the dialects, then of the mappings."""
    dialects = (
        Route(dialect_of(each), each.filters, None if each.device is None else DeviceId(each.device))
        for each in settings.dialects
    )
    mappings = (
        Route(mapping_dialect(each.mapping()), (each.topic,), DeviceId(each.device)) for each in settings.mappings
    )
    return (*dialects, *mappings)


class RouteTable:
    """Finds the route of a topic; bounded memory, whatever topics come."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)
        self._known: dict[str, Route | None] = {}

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return tuple(topic for route in self._routes for topic in route.topics)

    def find(self, topic: str) -> Route | None:
        """The route of `topic`; None: it is of no dialect."""
        try:
            return self._known[topic]
        except KeyError:
            found = next((r for r in self._routes if any(matches(each, topic) for each in r.topics)), None)
            if len(topic) <= _LONGEST_REMEMBERED:
                if len(self._known) >= _TOPICS_REMEMBERED:
                    self._known.clear()
                self._known[topic] = found
            return found
