"""A source that hears through virtual ESP32 boards, with the real library between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bluetooth_kit import PARIS, FrozenClock

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.sources.bluetooth.proxies.radios import proxy_radios
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.devices.procedures import ScaleUser
from gateway.model import Device, DeviceId, RadioReport, RadioState
from gateway.sandbox.esphome_proxy import VirtualProxy
from gateway.settings import BluetoothSettings, ProxySettings

__all__ = ["KEY", "bluetooth_settings", "key_file", "proxied_source", "until_report"]

KEY = "QRTIErOb/fcE9Ukd/5qA3RGYMn0Y+p06U58SCtOXvPc="
_PACE = Pace(first_pause_s=0.05, longest_pause_s=0.1)


def key_file(folder: Path, key: str = KEY) -> Path:
    """The key in a file as the settings want it."""
    path = folder / "proxy-key"
    path.write_text(key + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def bluetooth_settings(*proxies: tuple[str, int, Path | None]) -> BluetoothSettings:
    """Quick settings with proxies (name, port, key file) and no adapter of this machine's own."""
    return BluetoothSettings(
        enabled=True,
        local=False,
        proxies=tuple(
            ProxySettings(name=name, host="127.0.0.1", port=port, key_file=key) for name, port, key in proxies
        ),
        connect_timeout_s=5.0,
        procedure_timeout_s=5.0,
        quiet_s=0.1,
        retry_s=0.05,
        revisit_s=0.05,
    )


def proxied_source(
    proxies: Mapping[str, VirtualProxy],
    *devices: Device,
    key: Path | None = None,
    others: Sequence[Radio] = (),
    scale_users: Mapping[DeviceId, ScaleUser] | None = None,
) -> BluetoothSource:
    """The unchanged source on these boards, and on `others`."""
    settings = bluetooth_settings(*((name, proxy.port, key) for name, proxy in proxies.items()))
    return BluetoothSource(
        settings,
        devices,
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        scale_users=scale_users or {},
        radios=(*others, *proxy_radios(settings)),
        pace=_PACE,
    )


async def until_report(source: BluetoothSource, state: RadioState, advice: str | None = None) -> RadioReport:
    """Wait until the first radio is in `state`."""
    while True:
        report = source.reports()[0]
        if (report.state, report.advice) == (state, advice):
            return report
        await source.changed()
