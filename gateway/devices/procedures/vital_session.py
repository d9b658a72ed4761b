"""Listening to a cuff, a thermometer or a heart rate belt: services 1810, 1809 and 180D.

A cuff and a thermometer indicate what they have stored as soon as they are subscribed to, and may forget a measurement
once our side has confirmed its indication, which happens before this code sees it: every indication is kept at once. A
belt stores nothing and notifies every beat or second for as long as it is worn.

Neither the pressure in a cuff that is still inflating (2A36) nor a temperature that still rises (2A1E) is a result;
they are not subscribed to.

Source: Bluetooth Blood Pressure Profile 1.1, Health Thermometer Profile 1.0, Heart Rate Profile 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.devices.blood_pressure import parse_blood_pressure_measurement
from gateway.devices.heart_rate import parse_body_sensor_location, parse_heart_rate_measurement
from gateway.devices.procedures.requests import (
    Close,
    Frame,
    Keep,
    Outcome,
    Patience,
    Read,
    Request,
    Spoiled,
    Subscribe,
    VitalMeasurement,
    VitalSample,
)
from gateway.devices.thermometer import parse_temperature_measurement, parse_temperature_type
from gateway.errors import MalformedFrame

__all__ = ["BloodPressureSession", "HeartRateSession", "ThermometerSession", "VitalSession"]

_MOST_SPOILED: Final = 8
"""Frames that cannot be decoded, kept from one contact: a stream of them says no more than the first few."""


class VitalSession:
    """One connection to a device with one measuring characteristic.

    Args:
        char: that characteristic.
        parse: its decoder; raises MalformedFrame.
        site_char: characteristic that says where on the body the sensor is, read first; None: there is none.
        parse_site: its decoder; raises MalformedFrame.
        patience: how long silence may last before the contact is over.
        streams: whether a link that ends cuts something off; else the device has said everything once it has spoken.
    """

    def __init__(
        self,
        char: str,
        parse: Callable[[bytes], VitalMeasurement],
        *,
        site_char: str | None = None,
        parse_site: Callable[[bytes], str | None] | None = None,
        patience: Patience = Patience.QUIET,
        streams: bool = False,
    ) -> None:
        self._char = char
        self._parse = parse
        self._site_char = site_char
        self._parse_site = parse_site
        self._patience = patience
        self._streams = streams
        self._site: str | None = None
        self._spoiled = 0
        self._has_spoken = False
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """Whether the device has said everything."""
        return self._is_done

    @property
    def patience(self) -> Patience:
        """As given."""
        return self._patience

    def start(self) -> list[Request]:
        """Ask where the sensor is, then listen."""
        site: list[Request] = [] if self._site_char is None else [Read(self._site_char)]
        return [*site, Subscribe(self._char)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """Where on the body the sensor is; unreadable counts as not said."""
        if char == self._site_char and self._parse_site is not None:
            try:
                self._site = self._parse_site(data)
            except MalformedFrame:
                self._site = None
        return []

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A measurement."""
        if self._is_done or char != self._char:
            return []
        self._has_spoken = True
        frame = Frame(char, data)
        try:
            sample = VitalSample(self._parse(data), (frame,), self._site)
        except MalformedFrame as error:
            self._spoiled += 1
            if self._spoiled > _MOST_SPOILED:
                return []
            return [Keep(spoiled=(Spoiled(frame, str(error)),), is_told_once=True)]
        return [Keep(records=(sample,), is_told_once=True)]

    def on_kept(self) -> list[Request]:
        """The next one comes on its own."""
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """Without its measurement there is nothing to wait for; the site may be missing."""
        if char != self._char or self._is_done:
            return []
        self._is_done = True
        return [Close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")]

    def on_silence(self) -> list[Request]:
        """Quiet: it has said everything, or it has been taken off."""
        return self._end()

    def on_link_lost(self) -> list[Request]:
        """A cuff hangs up when it has said everything; one that never said anything may have had another reason."""
        return self._end() if self._has_spoken and not self._streams else []

    def _end(self) -> list[Request]:
        if self._is_done:
            return []
        self._is_done = True
        return [Close(Outcome.COMPLETE)]


class BloodPressureSession(VitalSession):
    """One connection to a cuff; a few seconds of quiet end it."""

    def __init__(self) -> None:
        super().__init__("2a35", parse_blood_pressure_measurement)


class ThermometerSession(VitalSession):
    """One connection to a thermometer; a few seconds of quiet end it."""

    def __init__(self) -> None:
        super().__init__("2a1c", parse_temperature_measurement, site_char="2a1d", parse_site=parse_temperature_type)


class HeartRateSession(VitalSession):
    """One connection to a belt, for as long as it streams."""

    def __init__(self) -> None:
        super().__init__(
            "2a37",
            parse_heart_rate_measurement,
            site_char="2a38",
            parse_site=parse_body_sensor_location,
            patience=Patience.STREAM,
            streams=True,
        )
