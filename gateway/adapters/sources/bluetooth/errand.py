"""One procedure over a link of its own: what a person has just asked for, outside of the regular contacts."""

from __future__ import annotations

import asyncio

import bleak
import structlog
from bleak.args.bluez import BlueZClientArgs

from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.neighbourhood import Heard
from gateway.adapters.sources.bluetooth.radio.turns import Turn
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, LinkSession, Mailbox
from gateway.devices.procedures import Close, Outcome, Procedure
from gateway.ports import Clock, Intake
from gateway.settings import BluetoothSettings

__all__ = ["run_errand"]

_HANG_UP_S = 5.0
log = structlog.get_logger()


async def run_errand(
    procedure: Procedure,
    heard: Heard,
    manager: RadioManager,
    turn: Turn,
    *,
    material: Material,
    intake: Intake,
    clock: Clock,
    settings: BluetoothSettings,
) -> Close:
    """Connect, make sure of the bond, carry `procedure` out, hang up; how it ended. Nobody else may use the device.

    Raises:
        StoreUnavailable: what the procedure wants kept cannot be.
    """
    mailbox = Mailbox()
    client = bleak.BleakClient(
        heard.device,
        disconnected_callback=lambda _client: mailbox.lose(),
        timeout=settings.connect_timeout_s,
        bluez=BlueZClientArgs(adapter=manager.adapter) if manager.adapter else BlueZClientArgs(),
        backend=manager.radio.client,
    )
    services = () if heard.driver is None else heard.driver.services
    session = LinkSession(
        client,
        mailbox,
        services=services,
        material=material,
        intake=intake,
        clock=clock,
        settings=settings,
        turn=turn,
        turns=manager.turns,
    )
    try:
        try:
            async with asyncio.timeout(2 * settings.connect_timeout_s):
                await client.connect()
        except RADIO_ERRORS as error:
            return Close(Outcome.LINK_LOST, f"no connection ({type(error).__name__})")
        if not await session.pair():
            return Close(Outcome.NEEDS_PAIRING)
        return await session.run(procedure)
    finally:
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await client.disconnect()
        except RADIO_ERRORS as error:
            log.debug("bluetooth.hang_up_failed", device=material.device_id, error=type(error).__name__)
