"""A patch of air whose listening side is a Linux kernel: BlueZ sees the virtual devices through an adapter of its own.

async with KernelAir("00:1A:7D:DA:71:01") as air:
    meter = VirtualMeter(air, "C0:FF:EE:00:00:01", "meter", "0042", records, clock=wall_clock)
    await meter.start()
    ...  # any program on this machine that uses BlueZ can scan, pair and read

Needs a kernel with hci_vhci and the right to open /dev/vhci (root). Not a radio: nothing is heard outside the machine.

Source: Linux `drivers/bluetooth/hci_vhci.c` (one packet per read and per write, packet type first; ff 00 asks for a
controller, the answer ff 00 holds its index); Bluetooth Core 5.4, Vol 4, Part E.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, Protocol

from bumble import hci, ll
from bumble.controller import Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink

from gateway.sandbox._central import AdapterController, widen, withdraw
from gateway.sandbox.radio import VirtualAir

__all__ = ["VHCI", "KernelAir"]

VHCI: Final = "/dev/vhci"
_VENDOR: Final = 0xFF
_PRIMARY_CONTROLLER: Final = b"\xff\x00"
_LARGEST_PACKET: Final = 4096
_ANSWER_S: Final = 10.0


class _Sink(Protocol):
    def on_packet(self, packet: bytes) -> None: ...


class _NamingLink(LocalLink):
    """Names the sender of a data packet by the address that it made the connection with.

    bumble's own link names its random address, always; a kernel connects with its public one, and the peer then
    belongs to no connection that it knows.
    """

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if transport is PhysicalTransport.LE and connection is not None and receiver is not None:
            loop = asyncio.get_running_loop()
            loop.call_soon(receiver.on_link_acl_data, connection.self_address, transport, data)


class _KernelController(AdapterController):
    """A controller that a kernel can use.

    bumble ends every connection attempt with LE Connection Complete. A kernel that has read "LL privacy" or "extended
    advertising" among the features waits for LE Enhanced Connection Complete; without them it does not.
    """

    le_features = AdapterController.le_features & ~(
        hci.LeFeatureMask.LL_PRIVACY | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    )


class _Port:
    """The file /dev/vhci, as the two ends that bumble's controller wants: a source and a sink of packets."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._controller: _Sink | None = None
        self._index: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def set_packet_sink(self, sink: _Sink) -> None:
        """Where packets of the kernel go."""
        self._controller = sink

    def on_packet(self, packet: bytes) -> None:
        """A packet for the kernel."""
        if self._file >= 0:
            os.write(self._file, packet)

    async def open(self) -> int:
        """Make the controller appear; its index."""
        os.write(self._file, _PRIMARY_CONTROLLER)
        async with asyncio.timeout(_ANSWER_S):
            return await self._index

    def _read(self) -> None:
        packet = os.read(self._file, _LARGEST_PACKET)
        if packet[:1] == bytes((_VENDOR,)):
            self._index.set_result(int.from_bytes(packet[2:4], "little"))
        elif self._controller is not None:
            self._controller.on_packet(packet)

    def close(self) -> None:
        """The adapter is gone. Idempotent."""
        if self._file >= 0:
            asyncio.get_running_loop().remove_reader(self._file)
            os.close(self._file)
            self._file = -1


class KernelAir(VirtualAir):
    """One place where virtual devices and this machine's kernel hear each other.

    bleak without `backend=` reaches the devices. `scanner_backend` and `client_backend` are a second listener.

    Attributes:
        address: the adapter's public address.
        index: n of the adapter's name hci<n>; None while it is not plugged in.
    """

    def __init__(self, address: str, *, path: str = VHCI) -> None:
        """`address`: `AA:BB:CC:DD:EE:FF`; bluetoothd keeps bonds by it. `path`: of the kernel's virtual controller."""
        super().__init__(link=_NamingLink())  # type: ignore[no-untyped-call]
        self.address = address
        self._path = path
        self.index: int | None = None
        self._port: _Port | None = None
        self._kernel_side: Controller | None = None

    async def __aenter__(self) -> KernelAir:
        await self.plug_in()
        return self

    async def plug_in(self) -> None:
        """The adapter appears. Idempotent.

        Raises:
            OSError: no /dev/vhci (modprobe hci_vhci), or no right to open it.
        """
        if self._port is not None:
            return
        port = _Port(self._path)
        self._port = port
        self._kernel_side = widen(
            _KernelController(
                "kernel",
                host_source=port,
                host_sink=port,
                link=self._link,
                public_address=hci.Address(self.address, hci.Address.PUBLIC_DEVICE_ADDRESS),
            )
        )
        self.index = await port.open()

    async def pull_out(self) -> None:
        """The adapter disappears, and with it every link; the devices notice. Idempotent."""
        port, adapter = self._port, self._kernel_side
        self._port = self._kernel_side = self.index = None
        if port is None or adapter is None:
            return
        port.close()
        adapter.host = None
        for connection in tuple(adapter.le_connections.values()):
            connection.send_ll_control_pdu(ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR))
            adapter.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
        withdraw(adapter)

    async def close(self) -> None:
        """Stop every device, then take the adapter away. Idempotent."""
        try:
            await super().close()
        finally:
            await self.pull_out()
