"""Bind keys of devices that encrypt what they tell everybody: files of hexadecimal digits, for their owner only."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import ConfigurationError
from gateway.model import DeviceId
from gateway.settings import Settings, read_secret

__all__ = ["bind_key_of", "configured_keys", "kept_key", "read_bind_key", "write_bind_key"]

log = structlog.get_logger()
_DIGITS: Final = 32
_LEGACY_DIGITS: Final = 24


def bind_key_of(text: str) -> bytes | None:
    """The 16 octets that 32 hexadecimal digits stand for; None: it is not such a key."""
    digits = text.strip()
    try:
        return bytes.fromhex(digits) if len(digits) == _DIGITS else None
    except ValueError:
        return None


def read_bind_key(path: Path, where: str = "") -> bytes:
    """The key in a file, which must not be readable by group or others.

    Args:
        where: the place in the configuration, for messages.

    Raises:
        ConfigurationError: missing, readable by others, no key, or the package that opens what is encrypted is missing.
    """
    text = read_secret(path).get_secret_value()
    key = bind_key_of(text)
    if key is None and len(text) == _LEGACY_DIGITS:
        why = "a key of 24 digits belongs to an older kind of encryption, which no scale that we read uses"
        raise ConfigurationError([(where, why)])
    if key is None:
        raise ConfigurationError([(where, "a bind key is 32 hexadecimal digits")])
    if find_spec("cryptography") is None:
        raise ConfigurationError([(where, "needs the extra adverts; run: pip install 'passerelle[adverts]'")])
    return key


def configured_keys(settings: Settings) -> dict[DeviceId, bytes]:
    """The keys of the devices whose `bind_key_file` the configuration names.

    Raises:
        ConfigurationError: as `read_bind_key`, with the place in the configuration.
    """
    return {
        DeviceId(device.id): read_bind_key(device.bind_key_file, f"devices.{device.id}.bind_key_file")
        for device in settings.devices
        if device.bind_key_file is not None
    }


def kept_key(folder: Path, device_id: DeviceId) -> bytes | None:
    """The key that a person gave for a device, kept in `folder`; None: there is none, or it cannot be used."""
    path = folder / f"{device_id}.key"
    if not path.exists():
        return None
    try:
        return read_bind_key(path)
    except ConfigurationError:
        log.warning("bind_key.unusable", device=device_id)
        return None


def write_bind_key(path: Path, key: bytes) -> None:
    """For its owner only, whatever the umask; durable when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{key.hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())
