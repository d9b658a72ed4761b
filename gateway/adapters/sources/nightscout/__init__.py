"""A listener that speaks Nightscout's interface: phone apps upload to it, followers read from it."""

from gateway.adapters.sources.nightscout.server import NightscoutIntake, NightscoutReport, NightscoutStores

__all__ = ["NightscoutIntake", "NightscoutReport", "NightscoutStores"]
