"""One procedure over a link of its own: what a person has just asked for, outside of the regular contacts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import bleak
import structlog
from bleak.args.bluez import BlueZClientArgs

from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.manager import RadioManager
from gateway.adapters.sources.bluetooth.radio.neighbourhood import Heard
from gateway.adapters.sources.bluetooth.radio.turns import Turn
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, LinkSession, Mailbox, heed_cancellation
from gateway.devices.procedures import Close, Outcome, Procedure
from gateway.errors import StoreUnavailable
from gateway.ports import Clock, Intake
from gateway.settings import BluetoothSettings

__all__ = ["found_within", "run_errand"]

_HANG_UP_S: Final = 5.0
_CONNECT_S: Final = 10.0
"""A person waits for it."""
_GLANCE_S: Final = 0.1
T = TypeVar("T")
log = structlog.get_logger()


async def found_within(look_s: float, find: Callable[[], T | None]) -> T | None:
    """What `find` gives, once it gives something; None when it does not within `look_s` seconds."""
    try:
        async with asyncio.timeout(look_s):
            while (found := find()) is None:  # noqa: ASYNC110 - many packets a second, and no event for them
                await asyncio.sleep(_GLANCE_S)
    except TimeoutError:
        return None
    return found


async def run_errand(
    procedure: Procedure,
    heard: Heard,
    manager: RadioManager,
    *,
    material: Material,
    intake: Intake,
    clock: Clock,
    settings: BluetoothSettings,
) -> Close:
    """Wait for a slot, connect, make sure of the bond, carry `procedure` out, hang up; how it ended.

    Nobody else may use the device meanwhile.
    """
    name, awake_since_s = material.device_id, heard.awake_since_s
    async with manager.turns.turn(name, awake_since_s=awake_since_s, wake_s=None, is_awake=lambda: True) as turn:
        if turn is None:
            return Close(Outcome.LINK_LOST, "the radio has stopped")
        try:
            return await _converse(procedure, heard, manager, turn, material, intake, clock, settings)
        except StoreUnavailable:
            return Close(Outcome.NOT_KEPT)
        except asyncio.CancelledError:  # a library's own, unless the next line says otherwise
            heed_cancellation()
            return Close(Outcome.LINK_LOST, "cancelled")


async def _converse(
    procedure: Procedure,
    heard: Heard,
    manager: RadioManager,
    turn: Turn,
    material: Material,
    intake: Intake,
    clock: Clock,
    settings: BluetoothSettings,
) -> Close:
    mailbox = Mailbox()
    connect_s = min(settings.connect_timeout_s, _CONNECT_S)
    client = bleak.BleakClient(
        heard.device,
        disconnected_callback=lambda _client: mailbox.lose(),
        timeout=connect_s,
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
            async with asyncio.timeout(connect_s):
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
