"""The machine's own adapters as radios."""

from __future__ import annotations

import sys

from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.settings import BluetoothSettings

__all__ = ["machine_radios"]


def machine_radios(settings: BluetoothSettings) -> tuple[Radio, ...]:
    """One for each configured adapter; without any, one for the first that BlueZ has; none with `local = false`.

    Elsewhere than on Linux the operating system's own Bluetooth, without control over its adapter.
    """
    if not settings.local:
        return ()
    if sys.platform != "linux":
        return (Radio("adapter"),)
    from gateway.adapters.sources.bluetooth.bluez.adapters import BluezAdapter

    wanted = settings.adapters or ((settings.adapter,) if settings.adapter is not None else ())
    return tuple(Radio(name, control=BluezAdapter(name)) for name in wanted) or (
        Radio("adapter", control=BluezAdapter(None)),
    )
