"""One connection to one device, from the advertisement to the end of the link."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

import bleak
import structlog
from bleak.args.bluez import BlueZClientArgs
from bleak.backends.client import BaseBleakClient

from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, LinkSession, Mailbox
from gateway.adapters.sources.bluetooth.states import LinkState
from gateway.adapters.sources.bluetooth.watch import Found, Watch
from gateway.devices.drivers import Driver, Opening, recognised
from gateway.devices.procedures import Close, DeviceFacts, Facts, Outcome, Procedure, ScaleUser
from gateway.ports import Clock, DeviceSighting, Intake
from gateway.settings import BluetoothSettings

__all__ = ["Visit"]

_HANG_UP_S: Final = 5.0
_ABOUT_KEYS: Final = ("authentication", "key_missing", "key missing", "notpaired", "not paired")
log = structlog.get_logger()


class Visit:
    """Connect, learn what the device says about itself, carry out its driver's procedure, hang up.

    Attributes:
        records_kept: how many records have been made durable.
    """

    def __init__(
        self,
        watch: Watch,
        found: Found,
        intake: Intake,
        *,
        clock: Clock,
        drivers: Sequence[Driver] = (),
        zone: tzinfo,
        settings: BluetoothSettings,
        scale_user: ScaleUser | None,
        may_set_clock: bool,
        client_backend: type[BaseBleakClient] | None,
    ) -> None:
        self._watch = watch
        self._driver = found.driver
        self._open = found.open
        self._drivers = tuple(drivers)
        self._intake = intake
        self._clock = clock
        self._zone = zone
        self._settings = settings
        self._scale_user = None if watch.consent_was_refused else scale_user
        self._may_set_clock = may_set_clock
        self._mailbox = Mailbox()
        self._has_said_facts = False
        self._material = Material(watch.device.device_id, zone)
        adapter = settings.adapter
        # the device, not its address: bleak keeps the kind of the address in it
        self._client = bleak.BleakClient(
            found.device,
            disconnected_callback=self._on_disconnected,
            timeout=settings.connect_timeout_s,
            bluez=BlueZClientArgs(adapter=adapter) if adapter else BlueZClientArgs(),
            backend=client_backend,
        )
        self._session = LinkSession(
            self._client,
            self._mailbox,
            services=found.driver.services,
            material=self._material,
            intake=intake,
            clock=clock,
            settings=settings,
        )

    @property
    def records_kept(self) -> int:
        """So far."""
        return self._session.records_kept

    async def run(self) -> Close:
        """How it ended. Raises StoreUnavailable where even the checkpoint cannot be read."""
        self._watch.enter(LinkState.CONNECTING)
        try:
            return await self._connect() or await self._read_out()
        finally:
            await self._hang_up()

    async def _connect(self) -> Close | None:
        """None when there is a link whose services are known."""
        try:
            async with asyncio.timeout(2 * self._settings.connect_timeout_s):
                await self._client.connect()
        except RADIO_ERRORS as error:
            if any(word in str(error).lower() for word in _ABOUT_KEYS):
                return Close(Outcome.NEEDS_PAIRING, "the keys do not fit")
            return Close(Outcome.LINK_LOST, f"no connection ({type(error).__name__})")
        return None

    async def _read_out(self) -> Close:
        self._watch.enter(LinkState.READING)
        wants_bond, self._watch.wants_bond = self._watch.wants_bond or self._driver.quirks.pairs_first, False
        if wants_bond and not await self._session.pair():
            return Close(Outcome.NEEDS_PAIRING)
        procedure = await self._introduce()
        if isinstance(procedure, Close):
            return self._judged(procedure, was_paired=wants_bond, said_something=self._has_said_facts)
        heard_before = self._mailbox.received
        closed = await self._session.run(procedure)
        said_something = self._mailbox.received > heard_before
        return closed if said_something else self._judged(closed, was_paired=wants_bond)

    def _judged(self, closed: Close, *, was_paired: bool, said_something: bool = False) -> Close:
        """A device that hangs up before it has told any record may want a bond, or another one than it has."""
        if closed.outcome is not Outcome.LINK_LOST or not self._driver.quirks.hangs_up_unbonded:
            return closed
        if not was_paired:
            self._watch.wants_bond = True
            return closed
        return closed if said_something else Close(Outcome.NEEDS_PAIRING, "it hangs up although it is paired")

    async def _introduce(self) -> Procedure | Close:
        """What the device says about itself, and the conversation that follows from it."""
        device_id = self._watch.device.device_id
        inquiry = DeviceFacts(with_identity=not self._watch.knows_identity)
        closed = await self._session.run(inquiry)
        now = self._clock.now()
        local_now = now.astimezone(self._zone)
        clock_is_trusted = self._clock.is_trusted
        facts: Facts = inquiry.facts
        self._has_said_facts = facts != Facts()
        await self._intake.sighted(
            DeviceSighting(
                device_id,
                now,
                manufacturer=facts.manufacturer,
                model=facts.model,
                serial=facts.serial,
                firmware=facts.firmware,
                system_id=facts.system_id,
                battery_percent=facts.battery_percent,
            )
        )
        if closed.outcome is not Outcome.COMPLETE:
            return closed
        if inquiry.with_identity:
            self._watch.knows_identity, self._watch.identity = True, facts
        self._refine(self._watch.identity)
        self._material.clock_offset = facts.clock_offset(local_now.replace(tzinfo=None)) if clock_is_trusted else None
        name = self._driver.checkpoint
        checkpoint = None if name is None else await self._intake.checkpoint(device_id, name)
        return self._open(
            Opening(
                local_now,
                facts=facts,
                state=None if checkpoint is None else checkpoint.state,
                scale_user=self._scale_user,
                may_set_clock=self._may_set_clock,
                clock_is_trusted=clock_is_trusted,
                quirks=self._driver.quirks,
            )
        )

    def _refine(self, facts: Facts) -> None:
        """The family may show only in what the device says about itself; its services stay those of the link."""
        refined = recognised(self._driver, facts, self._drivers)
        if refined is not self._driver and refined.open is not None:
            self._driver, self._open = refined, refined.open

    def _on_disconnected(self, _client: bleak.BleakClient) -> None:
        self._mailbox.lose()

    async def _hang_up(self) -> None:
        """Give the device back to its owner; short, whatever state the link is in."""
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await self._client.disconnect()
        except RADIO_ERRORS as error:
            log.debug("bluetooth.hang_up_failed", device=self._watch.device.device_id, error=type(error).__name__)
