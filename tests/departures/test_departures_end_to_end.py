"""From a committed reading to the health space: real SQLite, real HTTP, a real (sandbox) space."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from outbox_kit import ANNE, MES, NOW, PARIS, SCALE, HandClock, allowed, consent, weight
from pydantic import SecretStr

from gateway.adapters.spaces.mes import MesAccount, MesSpace
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.departures.dispatcher import Dispatcher, Route
from gateway.departures.planner import Planner, PlannerPolicy, planning_destination
from gateway.model import AuditKind, Batch, DataType, DepartureState, GlucosePeriod, Person, PersonId
from gateway.sandbox.space import Fault, RunningSpace, SandboxAccount, SandboxConfig, run_space
from gateway.settings import AccountSettings, DestinationSettings

CONFIG = SandboxConfig("2.999.5.1", "2.999.7.1", (SandboxAccount("client-anne", "s3cret", "idpe-anne"),))


class House:
    """A gateway's outgoing half, which can be stopped and started again over the same file."""

    def __init__(self, store: SqliteStore, running: RunningSpace, clock: HandClock) -> None:
        settings = DestinationSettings(
            id=MES,
            name="MES",
            base_url=running.url,
            token_url=f"{running.url}/token",
            solution_oid=CONFIG.solution_oid,
            patient_authority_oid=CONFIG.patient_authority_oid,
            timeout_s=5.0,
            accounts=(
                AccountSettings.model_validate(
                    {
                        "person": "anne",
                        "patient_id": "idpe-anne",
                        "client_id": "client-anne",
                        "client_secret_file": "unused",
                    }
                ),
            ),
        )
        self.store = store
        self.registry = store.registry
        self.clock = clock
        self.space = MesSpace(settings, {ANNE: MesAccount("client-anne", SecretStr("s3cret"))}, clock)
        self.planner = Planner(
            self.registry,
            store.readings,
            clock,
            [planning_destination(settings)],
            _no_period,
            policy=PlannerPolicy(settle=timedelta(0)),
        )
        self.dispatcher = Dispatcher(self.registry, [Route(self.space, 60.0)], clock, chance=random.Random(1))

    async def measure(self, number: int, value: str = "71.35", *, is_control: bool = False, later: float = 0) -> None:
        """A weigh-in of Anne's, or its correction, received `later` seconds after NOW."""
        stored = weight(
            number,
            at=NOW - timedelta(minutes=number),
            value=value,
            is_control=is_control,
            received_at=NOW + timedelta(seconds=later),
        )
        await self.store.readings.commit(Batch(readings=(stored.reading,)))

    async def send(self, seconds: float = 0) -> list[DepartureState]:
        """Plan and send what is due after some time; the states, oldest row first."""
        self.clock.advance(seconds)
        await self.planner.plan_readings()
        await self.planner.plan_backlog()
        await self.dispatcher.drain()
        return [row.state for row in reversed(await self.registry.departures())]


async def _no_period(person_id: PersonId, last_day: date, days: int) -> GlucosePeriod | None:
    return None


@contextlib.asynccontextmanager
async def house(path: Path, running: RunningSpace, clock: HandClock) -> AsyncIterator[House]:
    """One life of the process."""
    async with SqliteStore.open(path, clock=clock) as store:
        await store.registry.declare([Person(ANNE, "Anne", PARIS)], [SCALE])
        living = House(store, running, clock)
        try:
            yield living
        finally:
            await living.space.close()


@pytest.mark.parametrize("fault", [None, *(fault for fault in Fault if fault is not Fault.HANG)])
async def test_every_measure_arrives_once(tmp_path: Path, fault: Fault | None) -> None:
    """P2, P9: whatever goes wrong once, the measure that may leave arrives exactly once, or is refused for good."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1)
        if fault is not None:
            running.space.faults.arm(fault)
        await home.send()
        for _ in range(3):
            states = await home.send(86_400)
        refused = {Fault.CONSENT: DepartureState.CANCELLED, Fault.REFUSED: DepartureState.REJECTED}
        refused[Fault.ENTRY_4XX] = DepartureState.REJECTED
        expected = DepartureState.DONE if fault is None else refused.get(fault, DepartureState.DONE)
        arrived = len(running.space.store.observations)
        assert ([expected], int(expected is DepartureState.DONE)) == (states, arrived)
        assert await home.registry.verify_audit() is None


async def test_crash_after_the_post_sends_nothing_twice(tmp_path: Path) -> None:
    """A4, G5: a process that dies between the POST and its record leaves exactly one measure in the space."""
    clock = HandClock()
    async with run_space(CONFIG) as running:
        async with house(tmp_path / "p.db", running, clock) as home:
            await home.registry.grant(consent())
            await home.measure(1)
            await home.planner.plan_readings()
            (row,) = await home.registry.lease(MES, clock.now(), lease_s=60.0)
            await home.space.deliver(row, still_allowed=allowed)
        async with house(tmp_path / "p.db", running, clock) as home:
            assert await home.send(1) == [DepartureState.LEASED]
            assert await home.send(60) == [DepartureState.DONE]
        assert len(running.space.store.observations) == 1


async def test_withdrawal_stops_the_queue_and_leaves_a_trail(tmp_path: Path) -> None:
    """H1: what left before the withdrawal is on the trail, what was queued never leaves, the chain holds."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1)
        assert await home.send() == [DepartureState.DONE]
        await home.measure(2)
        await home.planner.plan_readings()
        await home.registry.withdraw(ANNE, DataType.WEIGHT, MES, home.clock.now())
        await home.measure(3)
        assert await home.send(3600) == [DepartureState.DONE, DepartureState.CANCELLED]
        assert len(running.space.store.observations) == 1
        kinds = [event.kind for event in reversed(await home.registry.audit())]
        expected = [AuditKind.CONSENT_GRANTED, AuditKind.DEPARTED, AuditKind.CONSENT_WITHDRAWN, AuditKind.REFUSED]
        assert expected == kinds
        assert await home.registry.verify_audit() is None


def values(running: RunningSpace) -> list[str]:
    """What the space holds."""
    held = [observation.valueQuantity for observation in running.space.store.observations]
    return [str(quantity.value) for quantity in held if quantity is not None]


async def test_correction_of_what_waits_leaves_instead(tmp_path: Path) -> None:
    """While the space is down a reading is corrected and another turns out to be no result: only the truth leaves."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        running.space.faults.arm(Fault.UNAVAILABLE, 2)
        await home.measure(1, "71.35")
        await home.measure(2, "72.00")
        assert await home.send() == [DepartureState.PENDING] * 2
        await home.measure(1, "70.10", later=1)
        await home.measure(2, "72.00", is_control=True, later=1)
        assert await home.send(3600) == [DepartureState.DONE, DepartureState.CANCELLED]
        assert ["70.10"] == values(running)
        assert AuditKind.REFUSED not in [event.kind for event in await home.registry.audit()]


@pytest.mark.parametrize(("fault", "held"), [(Fault.HTML, ["70.10"]), (Fault.LOST_ANSWER, ["71.35"])])
async def test_correction_of_what_may_have_left(tmp_path: Path, fault: Fault, held: list[str]) -> None:
    """A correction of an unknown row leaves if the old value did not arrive; if it did, nothing leaves twice."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1)
        running.space.faults.arm(fault)
        assert await home.send() == [DepartureState.UNKNOWN]
        await home.measure(1, "70.10", later=1)
        for _ in range(3):
            states = await home.send(3600)
        assert ([DepartureState.DONE], held) == (states, values(running))


async def test_unknown_row_that_must_not_leave_is_not_repeated(tmp_path: Path) -> None:
    """A row whose answer was lost and whose reading is called back meanwhile is not sent a second time."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1)
        running.space.faults.arm(Fault.HTML)
        await home.send()
        await home.measure(1, is_control=True, later=1)
        for _ in range(3):
            states = await home.send(3600)
        assert ([DepartureState.CANCELLED], []) == (states, values(running))


async def test_withdrawn_and_granted_again(tmp_path: Path) -> None:
    """What a withdrawal cancelled leaves exactly once when a new consent reaches back to it; what had left does not."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1, "71.00")
        await home.send()
        running.space.faults.arm(Fault.LOST_ANSWER)
        await home.measure(2, "72.00")
        await home.send(1)
        await home.measure(3, "73.00")
        await home.planner.plan_readings()
        await home.registry.withdraw(ANNE, DataType.WEIGHT, MES, home.clock.now())
        done, cancelled = DepartureState.DONE, DepartureState.CANCELLED
        assert await home.send(3600) == [done, cancelled, cancelled]
        await home.registry.grant(consent(granted_at=home.clock.now()))
        for _ in range(3):
            states = await home.send(3600)
        assert ([done] * 3, ["71.00", "72.00", "73.00"]) == (states, values(running))
        assert await home.registry.verify_audit() is None


async def test_trail_says_when_the_sending_began(tmp_path: Path) -> None:
    """The audit event of a departure bears the moment at which the gate let it go."""
    async with run_space(CONFIG) as running, house(tmp_path / "p.db", running, HandClock()) as home:
        await home.registry.grant(consent())
        await home.measure(1)
        await home.send()
        (event,) = [event for event in await home.registry.audit() if event.kind is AuditKind.DEPARTED]
        assert event.detail == "body_mass; sending began 2026-03-20T09:00:00.000+00:00"
