"""The configured proxies as radios."""

from __future__ import annotations

import binascii
import logging
from typing import Final

from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.errors import ConfigurationError
from gateway.settings import BluetoothSettings, ProxySettings, read_secret

__all__ = ["proxy_radios"]

_KEY_OCTETS: Final = 32


def proxy_radios(settings: BluetoothSettings) -> tuple[Radio, ...]:
    """One for each of `[[bluetooth.proxies]]`. The library is loaded only if there is one.

    Raises:
        ConfigurationError: the extra `proxies` is not installed, or a key file cannot be used.
    """
    if not settings.proxies:
        return ()
    try:
        from gateway.adapters.sources.bluetooth.proxies.client import ProxyClient
        from gateway.adapters.sources.bluetooth.proxies.link import Proxy
        from gateway.adapters.sources.bluetooth.proxies.scanner import ProxyScanner
    except ModuleNotFoundError as error:
        if error.name != "aioesphomeapi":
            raise
        text = 'proxies need the extra "proxies": pip install "passerelle[proxies]"'
        raise ConfigurationError([("bluetooth.proxies", text)]) from error
    logging.getLogger("aioesphomeapi").setLevel(logging.CRITICAL)  # it names devices' addresses; we say what matters
    radios = []
    for place, one in enumerate(settings.proxies):
        proxy = Proxy(one.name, one.host, one.port, _key(place, one))
        scanner = type("Scanner", (ProxyScanner,), {"proxy": proxy})
        client = type("Client", (ProxyClient,), {"proxy": proxy})
        radios.append(Radio(one.name, scanner, client, control=proxy))
    return tuple(radios)


def _key(place: int, proxy: ProxySettings) -> str | None:
    if proxy.key_file is None:
        return None
    path = f"bluetooth.proxies[{place}].key_file"
    try:
        key = read_secret(proxy.key_file).get_secret_value()
    except ConfigurationError as error:
        raise ConfigurationError([(path, text) for _, text in error.problems]) from error
    try:
        octets = binascii.a2b_base64(key, strict_mode=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise ConfigurationError([(path, "an encryption key of ESPHome is 32 octets in base64 (44 characters)")])
    return key
