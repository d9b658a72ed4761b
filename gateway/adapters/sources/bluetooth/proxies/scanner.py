"""bleak's scanner over a proxy."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, Literal

from aioesphomeapi.api_pb2 import BluetoothLERawAdvertisement
from aioesphomeapi.core import APIConnectionError
from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.exc import BleakError

from gateway.adapters.sources.bluetooth.proxies.link import Proxy, ProxySession
from gateway.adapters.sources.bluetooth.proxies.payload import Payload, parse_payload

__all__ = ["ProxyScanner", "address_number", "address_text"]

_MOST: Final = 512
_NO_POWER: Final = 127


def address_text(number: int) -> str:
    """`AA:BB:CC:DD:EE:FF` of the number that the API uses."""
    return number.to_bytes(6, "big").hex(":").upper()


def address_number(text: str) -> int:
    """The reverse of `address_text`."""
    return int(text.replace(":", ""), 16)


class ProxyScanner(BaseBleakScanner):
    """Scanner on the `proxy` of its subclass.

    An advertisement and the answer to a scan come as two packets; name and services of the one are kept for the other.
    """

    proxy: Proxy

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None,
        scanning_mode: Literal["active", "passive"],
        **_kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._is_passive = scanning_mode == "passive"
        self._session: ProxySession | None = None
        self._known: OrderedDict[str, tuple[str | None, list[str]]] = OrderedDict()

    async def start(self) -> None:
        self.seen_devices = {}
        self._session = self.proxy.session
        if self._session is None:
            raise BleakError("the proxy is offline")
        try:
            self._session.listen(self._heard, is_passive=self._is_passive)
        except APIConnectionError as error:
            raise BleakError("the proxy is offline") from error

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.stop_listening(self._heard)
            except APIConnectionError as error:
                raise BleakError("the proxy is offline") from error

    def _heard(self, packet: BluetoothLERawAdvertisement) -> None:
        address = address_text(packet.address & 0xFFFF_FFFF_FFFF)
        payload = parse_payload(bytes(packet.data))
        name, services = self._completed(address, payload)
        data = AdvertisementData(
            local_name=name,
            manufacturer_data=payload.manufacturer_data,
            service_data=payload.service_data,
            service_uuids=services,
            tx_power=None if payload.tx_power_dbm == _NO_POWER else payload.tx_power_dbm,
            rssi=packet.rssi,
            platform_data=(),
        )
        if not self.is_allowed_uuid(services):
            return
        details = {"address_type": packet.address_type}
        device = self.create_or_update_device(address, address, name, details, data)
        while len(self.seen_devices) > _MOST:
            self.seen_devices.pop(next(iter(self.seen_devices)))
        self.call_detection_callbacks(device, data)

    def _completed(self, address: str, payload: Payload) -> tuple[str | None, list[str]]:
        name, services = self._known.pop(address, (None, []))
        name = payload.name or name
        services = [*services, *(uuid for uuid in payload.services if uuid not in services)][-32:]
        self._known[address] = name, services
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return name, list(services)
