"""One radio: keeps it listening for years, knows what it hears, says how it is, and brings it back when it is stuck.

What "deaf" means. A radio that hears nothing may be well and alone. After five silent minutes the ladder is climbed
(`ladder`), which does a sound radio no harm. If then still nothing is heard, the radio is called deaf when there is
evidence: the adapter has answered with an error, or this place has been heard before and was never silent for half as
long. Without evidence it stays quiet, with the advice to bring a device near.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import bleak
import structlog
from bleak.args.bluez import BlueZScannerArgs
from bleak.assigned_numbers import AdvertisementDataType
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from gateway.adapters.sources.bluetooth.radio.ladder import Episode, Pace, Rung, Silences
from gateway.adapters.sources.bluetooth.radio.neighbourhood import FRESH_S, Heard, Neighbourhood
from gateway.adapters.sources.bluetooth.radio.parts import (
    AdapterAbsent,
    AdapterBlocked,
    AdapterSession,
    Radio,
    RungFailed,
)
from gateway.adapters.sources.bluetooth.radio.turns import Turns
from gateway.adapters.sources.bluetooth.session import RADIO_ERRORS, heed_cancellation
from gateway.devices.drivers import Driver
from gateway.model import DeviceId, RadioReport, RadioState
from gateway.ports import Clock
from gateway.settings import BluetoothSettings

__all__ = ["RadioManager"]

_FLAGS: Final = (b"\x00", b"\x01", b"\x02", b"\x04", b"\x05", b"\x06", b"\x18", b"\x1a")
_EVERYBODY: Final = [(0, AdvertisementDataType.FLAGS, flags) for flags in _FLAGS]
"""BlueZ hears passively only what fits a pattern: the values of Flags that devices of our kinds send."""
_LINK_PATIENCE: Final = 3
"""A sensor with a link may be the only device in the house: it does not advertise, and speaks every five minutes."""
_SILENT: Final = frozenset({RadioState.STARTING, RadioState.QUIET, RadioState.DEAF, RadioState.RECOVERING})
log = structlog.get_logger()


class _NoControl:
    """Stands for the adapter of a radio that nobody can look after."""

    adapter: str | None = None
    address: str | None = None

    async def wait_lost(self) -> str:
        await asyncio.Event().wait()
        return "never"

    async def end_links(self, is_wanted: Callable[[str], bool], *, calling_too: bool = False) -> int:
        return 0

    async def power_cycle(self) -> None:
        raise RungFailed("this radio cannot be switched")

    async def reset(self) -> None:
        raise RungFailed("this radio cannot be reset")


class RadioManager:
    """Runs one radio.

    Args:
        radio: which.
        settings: section `[bluetooth]`.
        drivers: what can be read.
        enrolled: the enrolled device with an address (upper case), or None.
        on_heard: told every packet, with the address; must be short and must not raise.
        on_change: told when the report has changed, and when it begins to listen.
        pace: how patient it is.
        chance: for jitter.

    Attributes:
        turns: who may connect through it.
        neighbourhood: whom it hears.
        adapter: what bleak calls the adapter now; None: bleak need not be told.
        is_scanning: whether it is listening now.
    """

    def __init__(
        self,
        radio: Radio,
        settings: BluetoothSettings,
        clock: Clock,
        *,
        drivers: Sequence[Driver],
        enrolled: Callable[[str], DeviceId | None],
        on_heard: Callable[[RadioManager, str, Heard], None],
        on_change: Callable[[], None],
        pace: Pace,
        chance: random.Random,
    ) -> None:
        self.radio = radio
        self.turns = Turns(clock, radio.slots or settings.connections, chance)
        self.neighbourhood = Neighbourhood(clock, drivers, enrolled)
        self.adapter: str | None = None
        self.is_scanning = False
        self._clock = clock
        self._enrolled = enrolled
        self._on_heard = on_heard
        self._on_change = on_change
        self._pace = pace
        self._chance = chance
        self._wants_passive = settings.scanning == "passive"
        self._address: str | None = None
        self._handles_of: str | None = None
        self.turns.on_alive = self._on_link
        self._session: AdapterSession | None = None
        self._packet = asyncio.Event()
        self._silences = Silences()
        self._episode = Episode()
        self._silent_since_s = clock.monotonic()
        self._last_heard: datetime | None = None
        self._state, self._since = RadioState.STARTING, clock.now()
        self._advice: str | None = None

    # --- for others ---------------------------------------------------------------------------------------------

    def report(self) -> RadioReport:
        """How it is now."""
        name = self.radio.name
        known = [word for word in (self.adapter, self._address) if word is not None and word != name]
        return RadioReport(
            name=f"{name} ({', '.join(known)})" if known else name,
            address=self._address,
            state=self._state,
            since=self._since,
            last_heard_at=self._last_heard,
            devices_heard=len(self.neighbourhood) + len(set(self.turns.names()) - self.neighbourhood.enrolled()),
            advice=self._advice,
        )

    def is_awake(self, address: str) -> bool:
        """Whether the device with this address (upper case) was heard a moment ago, so that it can be connected."""
        heard = self.neighbourhood.find(address)
        return heard is not None and self._clock.monotonic() - heard.last_s <= 2 * FRESH_S

    async def end_leftovers(self, address: str | None = None) -> None:
        """End links to devices of ours that nobody here has made, or only that to `address` (upper case).

        BlueZ keeps the link of a process that was killed. Such a device does not advertise, and would be found again
        only after it has hung up by itself, which a sensor never does.
        """
        if self._session is not None and Rung.POWER_CYCLE in self._pace.rungs:
            is_wanted = (lambda a: self._enrolled(a) is not None) if address is None else address.__eq__
            if ended := await self._session.end_links(is_wanted):
                log.info("bluetooth.leftover_links_ended", radio=self._label, links=ended)

    async def stop_calling(self, address: str) -> None:
        """Have BlueZ leave alone a device (upper case) that nobody here has a link to.

        A bonded device whose keys do not fit is called again and again by BlueZ itself, several times a second, and
        is hardly heard meanwhile.
        """
        if self._session is not None:
            await self._session.end_links(address.__eq__, calling_too=True)

    async def run(self) -> None:
        """Listen for ever."""
        pause_s = self._pace.first_pause_s
        while True:
            try:
                async with self._attached() as session:
                    began_s = self._clock.monotonic()
                    reason = await self._listen(session)
                if self._clock.monotonic() - began_s > self._pace.longest_pause_s:  # not one that comes and goes
                    pause_s = self._pace.first_pause_s
                log.warning("bluetooth.adapter_lost", radio=self._label, reason=reason)
                self.turns.lose_links()
                self._enter(RadioState.ABSENT)
            except AdapterAbsent as error:
                self._missing(RadioState.ABSENT, error.advice)
            except AdapterBlocked as error:
                self._missing(RadioState.BLOCKED, error.advice)
            heed_cancellation()
            await asyncio.sleep(pause_s * self._chance.uniform(0.75, 1.0))
            pause_s = min(2 * pause_s, self._pace.longest_pause_s)

    # --- the adapter --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _attached(self) -> AsyncIterator[AdapterSession]:
        if self.radio.control is None:
            yield _NoControl()
            return
        async with self.radio.control.attach() as session:
            if session.adapter != self._handles_of:
                self.neighbourhood.clear()
            self.adapter, self._address = session.adapter, session.address
            self._handles_of = session.adapter
            self._session = session
            try:
                await self.end_leftovers()
                yield session
            finally:
                self.adapter = self._session = None

    def _missing(self, state: RadioState, advice: str) -> None:
        if (self._state, self._advice) != (state, advice):
            log.warning("bluetooth.no_adapter", radio=self._label, state=state.value, reason=advice)
        self._enter(state, advice)

    @property
    def _label(self) -> str:
        """For logs: never an address."""
        is_local = self.radio.control is not None and self.radio.scanner is None
        return self.adapter or ("adapter" if is_local else self.radio.name)

    # --- listening ----------------------------------------------------------------------------------------------

    async def _listen(self, session: AdapterSession) -> str:
        """Until the adapter is lost; why."""
        lost = asyncio.create_task(session.wait_lost(), name="bluetooth.adapter")
        try:
            if not self._episode.tried:
                self._silent_since_s = self._clock.monotonic()
            if not self._episode.tried or self._state in {RadioState.ABSENT, RadioState.BLOCKED}:
                self._enter(RadioState.STARTING)
            while not lost.done():
                await self._scan(lost)
                heed_cancellation()
                if not lost.done():
                    await self._climb(session)
            return lost.result()
        finally:
            lost.cancel()
            await asyncio.wait([lost])

    async def _scan(self, lost: asyncio.Task[str]) -> None:
        """Listen until the adapter is lost, it fails, or nothing at all has been heard for too long."""
        scanner = await self._started()
        if scanner is None:
            # an adapter that a reset has taken off the bus for a moment has not failed
            self._episode.has_failed = self._episode.has_failed or not lost.done()
            return
        if self._episode.has_failed:  # it listens again: what silence means is another question
            if self._episode.tried:
                log.info("bluetooth.scanner_restored", radio=self._label, after=self._episode.tried[-1].value)
            self._episode, self._silent_since_s = Episode(), self._clock.monotonic()
            self._enter(RadioState.STARTING)
        self.is_scanning = True
        self._on_change()
        try:
            await self._hear(lost)
            if self._wants_passive and self._last_heard is None and not lost.done():
                # BlueZ takes patterns that the kernel then refuses, and tells nobody (bluez/bluez issue 434); 5.66 even
                # dies when they are taken back, so that it must be settled before
                self._wants_passive = False
                log.warning("bluetooth.passive_scan_silent", radio=self._label, instead="active")
        finally:
            self.is_scanning = False
            try:
                async with asyncio.timeout(self._pace.stop_s):
                    await scanner.stop()
            except RADIO_ERRORS as error:
                log.debug("bluetooth.scan_stop_failed", radio=self._label, error=type(error).__name__)

    async def _started(self) -> bleak.BleakScanner | None:
        """A scanner that runs; None when none could be started."""
        for is_passive in (True, False) if self._wants_passive else (False,):
            scanner = self._scanner(is_passive=is_passive)
            try:
                async with asyncio.timeout(self._pace.start_s):
                    await scanner.start()
            except RADIO_ERRORS as error:
                if not is_passive and not self._episode.tried:
                    log.warning("bluetooth.scanner_failed", radio=self._label, error=type(error).__name__)
                continue
            if self._wants_passive and not is_passive:
                self._wants_passive = False
                log.warning("bluetooth.passive_scan_refused", radio=self._label, instead="active")
            return scanner
        return None

    def _scanner(self, *, is_passive: bool) -> bleak.BleakScanner:
        arguments = BlueZScannerArgs()
        if self.adapter is not None:
            arguments["adapter"] = self.adapter
        if is_passive:
            arguments["or_patterns"] = list(_EVERYBODY)
        return bleak.BleakScanner(
            self._on_advertisement,
            scanning_mode="passive" if is_passive else "active",
            bluez=arguments,
            backend=self.radio.scanner,
        )

    async def _hear(self, lost: asyncio.Task[str]) -> None:
        began_s = self._clock.monotonic()
        while True:
            silent_s = self._clock.monotonic() - self._silent_since_s
            patience = _LINK_PATIENCE if self.turns.is_followed else 1
            limit_s = patience * self._pace.silence_s - silent_s
            if self._episode.tried:  # a rung was tried: has it helped?
                limit_s = self._pace.listen_s - (self._clock.monotonic() - began_s)
                if self._episode.is_over_the_top:
                    limit_s = self._pace.silence_s - (self._clock.monotonic() - began_s)
            if limit_s <= 0:
                return
            quiet_s = patience * self._pace.quiet_s - silent_s
            if quiet_s <= 0 and not self._episode.tried:
                self._enter(RadioState.QUIET)
            self._packet.clear()
            waiting = asyncio.create_task(self._packet.wait())
            try:
                await asyncio.wait(
                    [waiting, lost],
                    timeout=min(limit_s, quiet_s) if quiet_s > 0 else limit_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                waiting.cancel()
            if lost.done():
                return

    def _on_advertisement(self, device: BLEDevice, data: AdvertisementData) -> None:
        """For every packet in the street."""
        now_s = self._clock.monotonic()
        heard = self.neighbourhood.hear(device, data)
        self._last_heard = heard.last_at
        if self._state is not RadioState.HEARING:
            self._hears_again(now_s)
            self._packet.set()
        self._silent_since_s = now_s
        self._on_heard(self, device.address.upper(), heard)

    def _on_link(self) -> None:
        """A link has brought something, so the radio works, unless it is its scan that fails."""
        if not self._episode.has_failed:
            self._last_heard = self._clock.now()
            now_s = self._clock.monotonic()
            if self._state in _SILENT:
                self._hears_again(now_s)
                self._packet.set()
            self._silent_since_s = now_s

    def _hears_again(self, now_s: float) -> None:
        tried = self._episode.tried
        self._silences.ended(now_s - self._silent_since_s, by_itself=not tried or self._episode.is_over_the_top)
        if tried:
            log.info("bluetooth.radio_restored", radio=self._label, after=tried[-1].value)
        self._episode = Episode()
        self._enter(RadioState.HEARING)

    # --- trouble ------------------------------------------------------------------------------------------------

    async def _climb(self, session: AdapterSession) -> None:
        """Try the next rung. At the top: say so once, then go on listening."""
        episode = self._episode
        reason = "failing" if episode.has_failed else "silent"
        rung = episode.next_rung(self._pace.rungs)
        if rung is None:
            if episode.has_failed:
                await asyncio.sleep(self._pace.longest_pause_s)
            self._judge()
            return
        if rung is Rung.TELL:
            self._judge()
            say = log.error if self._state is RadioState.DEAF else log.warning
            say("bluetooth.recovery_exhausted", radio=self._label, verdict=self._state.value, reason=reason)
            return
        self._enter(RadioState.RECOVERING)
        log.warning("bluetooth.recovery", radio=self._label, rung=rung.value, reason=reason)
        if rung is Rung.RESTART_SCAN:
            if episode.has_failed:
                await asyncio.sleep(self._pace.first_pause_s)
            return
        await self.turns.wait_free(self._pace.silence_s)  # a link that is up is worth more than the rung
        if episode is not self._episode:  # it was heard meanwhile
            return
        try:
            async with asyncio.timeout(self._pace.rung_s):
                await (session.power_cycle() if rung is Rung.POWER_CYCLE else session.reset())
        except RungFailed as error:
            log.warning("bluetooth.recovery_rung_failed", radio=self._label, rung=rung.value, reason=error.reason)
        except TimeoutError:
            log.warning("bluetooth.recovery_rung_failed", radio=self._label, rung=rung.value, reason="took too long")

    def _judge(self) -> None:
        silent_s = self._clock.monotonic() - self._silent_since_s
        if self._episode.has_failed:
            self._enter(RadioState.DEAF, "adapter_fails")
        elif self._silences.is_unusual(silent_s):
            self._enter(RadioState.DEAF, "replug_adapter")
        else:
            self._enter(RadioState.QUIET, "bring_a_device")

    def _enter(self, state: RadioState, advice: str | None = None) -> None:
        if (state, advice) == (self._state, self._advice):
            return
        if state is not self._state:
            is_silent = state in {RadioState.DEAF, RadioState.QUIET}
            self._since = (self._last_heard if is_silent else None) or self._clock.now()
        self._state, self._advice = state, advice
        self._on_change()
