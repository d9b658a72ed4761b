"""One connection to one device, from the advertisement to the end of the link."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta, tzinfo
from typing import Final

import bleak
import structlog
from bleak.args.bluez import BlueZClientArgs

from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.bluetooth.radio.turns import Turn
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, LinkSession, Mailbox
from gateway.adapters.sources.bluetooth.states import LinkState
from gateway.adapters.sources.bluetooth.watch import GIVEN_UP, NO_SLOT, Found, Watch
from gateway.devices.drivers import Driver, Opening, Permissions, recognised
from gateway.devices.procedures import (
    ClockChange,
    ClockSetting,
    Close,
    DeviceFacts,
    Facts,
    Mark,
    Outcome,
    Procedure,
    ScaleSession,
    ScaleUser,
)
from gateway.devices.procedures.clock_setting import CLOCK_FACT, is_worth_setting, settable_clock
from gateway.ports import Clock, DeviceSighting, Intake
from gateway.settings import BluetoothSettings

__all__ = ["Visit"]

_HANG_UP_S: Final = 5.0
_CUT_OFF: Final = "connection-canceled"
"""What BlueZ 5.66 says when the link was up, could not be encrypted with our keys, and was closed by the kernel."""
_CUT_OFF_POINTS: Final = 2
_SILENT_POINTS: Final = 1
_ENOUGH_POINTS: Final = 3
"""With attributes that it remembers, BlueZ also calls such a link made, and it is lost before anything is answered."""
_ABOUT_KEYS: Final = ("authentication", "key_missing", "key missing", "notpaired", "not paired")
_ABOUT_SLOTS: Final = ("connection slot", "connection limit", "too many connections", "error.inprogress", "busy")
log = structlog.get_logger()


class Visit:
    """Connect, learn what the device says about itself, carry out its driver's procedure, hang up.

    Attributes:
        records_kept: how many records have been made durable.
        has_connected: the device was reached.
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
        may: Permissions,
        turn: Turn,
    ) -> None:
        self._watch = watch
        self._driver = found.driver
        self._is_bonded = found.heard.is_bonded
        self._open = found.open
        self._drivers = tuple(drivers)
        self._intake = intake
        self._clock = clock
        self._zone = zone
        self._settings = settings
        self._scale_user = None if watch.consent_was_refused else scale_user
        self._may = may
        self._mailbox = Mailbox()
        self._has_said_facts = False
        self._opening: Opening | None = None
        self.has_connected = False
        self._material = Material(
            watch.device.device_id, zone, live_interval=timedelta(seconds=settings.live_interval_s)
        )
        self._manager = manager = found.manager
        self._turns = manager.turns
        # the device, not its address: bleak keeps the kind of the address in it
        self._client = bleak.BleakClient(
            found.heard.device,
            disconnected_callback=self._on_disconnected,
            timeout=settings.connect_timeout_s,
            bluez=BlueZClientArgs(adapter=manager.adapter) if manager.adapter else BlueZClientArgs(),
            backend=manager.radio.client,
        )
        self._session = LinkSession(
            self._client,
            self._mailbox,
            services=found.driver.services,
            material=self._material,
            intake=intake,
            clock=clock,
            settings=settings,
            turn=turn,
            turns=manager.turns,
            on_fact=self._tell,
        )
        self._refine(watch.identity)

    @property
    def driver(self) -> Driver:
        """Of the family that it is read as."""
        return self._driver

    @property
    def records_kept(self) -> int:
        """So far."""
        return self._session.records_kept

    async def run(self) -> Close:
        """How it ended. Raises StoreUnavailable where even the checkpoint cannot be read."""
        self._watch.enter(LinkState.CONNECTING)
        try:
            closed = await self._connect() or self._weighed(await self._read_out())
        finally:
            await self._hang_up()
        if self._opening is not None:  # a platform takes its time over it, and confirms what comes meanwhile
            await self._session.keep_late(self._open(self._opening))
        is_ours = closed.outcome is Outcome.LINK_LOST and self._mailbox.is_given_up
        return Close(Outcome.LINK_LOST, GIVEN_UP) if is_ours else closed

    async def _connect(self) -> Close | None:
        """None when there is a link whose services are known."""
        try:
            async with asyncio.timeout(2 * self._settings.connect_timeout_s):
                await self._client.connect()
        except RADIO_ERRORS as error:
            text = str(error).lower()
            if any(word in text for word in _ABOUT_KEYS):
                return Close(Outcome.NEEDS_PAIRING, "the keys do not fit")
            if any(word in text for word in _ABOUT_SLOTS):
                self._turns.exhausted()
                return Close(Outcome.RETRY_LATER, NO_SLOT)
            closed = Close(Outcome.LINK_LOST, f"no connection ({type(error).__name__})")
            return self._cut_off(closed, _CUT_OFF_POINTS) if _CUT_OFF in text else closed
        self.has_connected = True
        self._turns.connected()
        # what was asked for while nobody could be reached
        return Close(Outcome.LINK_LOST, GIVEN_UP) if self._mailbox.is_given_up else None

    def _weighed(self, closed: Close) -> Close:
        if self._session.was_answered:
            self._watch.cut_off = 0
        elif closed.outcome is Outcome.LINK_LOST and not self._mailbox.is_given_up:
            return self._cut_off(closed, _SILENT_POINTS)
        return closed

    def _cut_off(self, closed: Close, points: int) -> Close:
        """A link to a device that we have keys of came to nothing: after a few in a row, the keys are to blame."""
        if not self._is_bonded:
            return closed
        self._watch.cut_off += points
        if self._watch.cut_off < _ENOUGH_POINTS:
            return closed
        return Close(Outcome.NEEDS_PAIRING, "it is reached again and again, and our keys do not open it")

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
        if closed.outcome is Outcome.COMPLETE and not isinstance(procedure, ScaleSession):  # it sets the clock itself
            await self._set_clock()
        return closed if said_something else self._judged(closed, was_paired=wants_bond)

    def _tell(self, fact: Mark) -> None:
        """What a person should know about, once in the life of the process."""
        why = fact.state.get("why")
        if isinstance(why, str) and self._watch.told.get(fact.name) != why:
            self._watch.told[fact.name] = why
            log.warning("bluetooth.fact", device=self._watch.device.device_id, fact=fact.name, why=why)

    async def _set_clock(self) -> None:
        """Give the device our time, where that is allowed, and its error is known and has been made durable.

        A clock that stays wrong costs nothing: its error is measured again at the next contact.
        """
        offset, char = self._material.clock_offset, settable_clock(self._driver.quirks.clock)
        if not (self._may.set_clock and self._clock.is_trusted) or char is None or offset is None:
            return
        if not is_worth_setting(offset):
            return
        local_now = self._clock.now().astimezone(self._zone).replace(tzinfo=None)
        closed = await self._session.run(ClockSetting(local_now, offset, char=char))
        fields = {"device": self._watch.device.device_id, "off_by_s": round(offset.total_seconds())}
        if closed.outcome is Outcome.COMPLETE:
            self._watch.clock_offset = timedelta()
            log.info("bluetooth.clock_set", **fields)
        else:
            log.warning("bluetooth.clock_not_set", **fields, detail=closed.detail)

    def _judged(self, closed: Close, *, was_paired: bool, said_something: bool = False) -> Close:
        """A device that hangs up before it has told any record may want a bond, or another one than it has."""
        if closed.outcome is not Outcome.LINK_LOST or not self._driver.quirks.hangs_up_unbonded:
            return closed
        if self._mailbox.is_given_up:
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
        self._watch.clock_offset = self._material.clock_offset
        self._watch.can_set_clock = settable_clock(self._driver.quirks.clock) is not None
        changed = await self._intake.checkpoint(device_id, CLOCK_FACT)
        self._material.clock_change = None if changed is None else ClockChange.of(changed.state)
        name = self._driver.checkpoint
        checkpoint = None if name is None else await self._intake.checkpoint(device_id, name)
        self._opening = Opening(
            local_now,
            facts=facts,
            state=None if checkpoint is None else checkpoint.state,
            scale_user=self._scale_user,
            may=self._may,
            clock_is_trusted=clock_is_trusted,
            quirks=self._driver.quirks,
        )
        return self._open(self._opening)

    def hang_up_soon(self) -> None:
        """End the contact as if the link had been lost; what came is kept."""
        self._mailbox.give_up()

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
        if self._watch.cut_off:
            await self._manager.stop_calling((self._watch.device.address or "").upper())
