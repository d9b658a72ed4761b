from __future__ import annotations

import asyncio
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqtt_kit import (
    KnownAddresses,
    MemoryIntake,
    captured,
)

from gateway.adapters.sources.mqtt.backlog import Backlog
from gateway.adapters.sources.mqtt.dialects import DialectDecoder, Foreign
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.sources.mqtt.routes import Route, RouteTable
from gateway.adapters.sources.mqtt.strangers import Strangers
from gateway.devices.advert import Advert
from gateway.devices.dialects import DIALECTS, Dialect, Message, Said
from gateway.devices.dialects.theengs import THEENGS
from gateway.devices.procedures.untimed_records import UNTIMED_CHECKPOINT
from gateway.model import (
    Context,
    DeviceId,
    Metric,
    Reading,
    TimeMethod,
    Unit,
)
from gateway.normalise.reported import ReportedMeasurement, ReportedRecord
from gateway.settings_mqtt_dialects import DialectSettings, dialect_of

SCALE = DeviceId("scale")
ADDRESS = "5C:CA:D3:70:D4:A2"
STATESTREAM = dialect_of(
    DialectSettings.model_validate(
        {
            "dialect": "ha_statestream",
            "device": "scale",
            "entities": [{"entity": "sensor.x_weight", "metric": "body_mass", "unit": "kg"}],
        }
    )
)


def decoder_of(name: str, **addresses: str) -> DialectDecoder:
    (dialect,) = [each for each in DIALECTS if each.name == name]
    table = RouteTable([Route(dialect, dialect.topics)])
    return DialectDecoder(table, KnownAddresses(**(addresses or {"scale": ADDRESS})), lambda _: UTC, 65_536)


async def feed(
    decoder: DialectDecoder, intake: MemoryIntake, messages: list[Publish], *, at: datetime | None = None
) -> None:
    """Decode and commit as the source does."""
    received_at = at or datetime(2026, 3, 1, 12, tzinfo=UTC)
    for message in messages:
        batch, _ = await decoder.decode([Foreign(message, received_at)], intake)
        await intake.submit(batch)


@pytest.mark.parametrize("is_duplicate", [False, True])
async def test_a_storm(is_duplicate: bool) -> None:
    """B4: every message five times, with and without the DUP flag, is one row each."""
    lines = captured("theengs/weigh_in")
    decoder, intake = decoder_of("theengs"), MemoryIntake()
    messages = [
        Publish(line.topic, line.payload, 1, 7, is_duplicate and again > 0, False)
        for line in lines
        for again in range(5)
    ]
    await feed(decoder, intake, messages)
    assert {(Metric.BODY_MASS, Decimal("72.45")), (Metric.IMPEDANCE, Decimal(503))} == {
        (reading.metric, reading.value) for reading in intake.readings.values()
    }
    assert 2 == len(intake.readings)


async def test_a_clock_that_is_set_makes_no_second_weigh_in() -> None:
    """E6: what is told again just after the hub has found the time is the weigh-in of before, whatever the step."""
    (line, *_) = captured("theengs/weigh_in")
    decoder, intake = decoder_of("theengs"), MemoryIntake()
    message = Publish(line.topic, line.payload, 1, 7, False, False)
    wrong, right = datetime(2025, 12, 31, 10, tzinfo=UTC), datetime(2026, 6, 1, 10, tzinfo=UTC)
    for at, is_trusted in ((wrong, False), (wrong + timedelta(seconds=20), False), (right, True)):
        batch, _ = await decoder.decode([Foreign(message, at)], intake, clock_is_trusted=is_trusted)
        await intake.submit(batch)
    assert 1 == len([reading for reading in intake.readings.values() if reading.metric is Metric.BODY_MASS])


def named(topic: str) -> str | None:
    return None if topic.endswith("nobody") else ADDRESS


def decode_named(message: Message) -> Said:
    """A dialect of records that name themselves: `<name> <grams>` or `<name> gone`."""
    name, _, rest = message.payload.decode().partition(" ")
    mass = ReportedMeasurement(Metric.BODY_MASS, None if rest == "gone" else Decimal(rest) / 1000, Unit.KG)
    time = datetime(2026, 3, 1, 7, int(name[1:]), tzinfo=UTC)
    return Said(records=(ReportedRecord(name, 0, time, (mass,), Context(), rest == "gone"),))


NAMED = Dialect("named", "a test", ("named/+",), named, decode_named)
RECORDS = [b"r1 71350", b"r2 71400", b"r3 60200", b"r4 gone"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.sampled_from(RECORDS), max_size=20), st.permutations(RECORDS))
def test_any_order_and_repetition(more: list[bytes], order: list[bytes]) -> None:
    """B5: records that name themselves give the same store in any order and any number."""

    def store_of(payloads: list[bytes]) -> dict[str, Reading]:
        decoder = DialectDecoder(RouteTable([Route(NAMED, NAMED.topics)]), KnownAddresses(scale=ADDRESS), zone, 1000)
        intake = MemoryIntake()
        messages = [Publish("named/x", payload, 1, 1, at % 2 == 1, False) for at, payload in enumerate(payloads)]
        asyncio.run(feed(decoder, intake, messages))
        return {key: replace(reading, frame=None) for key, reading in intake.readings.items()}

    assert store_of(RECORDS) == store_of([*more, *order])


def zone(_device: DeviceId) -> ZoneInfo:
    return ZoneInfo("Europe/Paris")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.sampled_from([*DIALECTS, STATESTREAM]),
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "home/g/BTtoMQTT/5CCAD370D4A2",
                    "node/sensor/x_weight/state",
                    "node/status",
                    "homeassistant/sensor/x_weight/state",
                    "homeassistant/sensor/x_weight/unit_of_measurement",
                    "home/g/BTtoMQTT/x",
                ]
            ),
            st.binary(max_size=60)
            | st.sampled_from([b"71.35", b"online", b'{"type":"SCALE","weight":71,"unit":"kg"}']),
            st.booleans(),
            st.booleans(),
            st.integers(0, 1),
        ),
        max_size=8,
    ),
)
def test_any_bytes(dialect: Dialect, lines: list[tuple[str, bytes, bool, bool, int]]) -> None:
    """Whatever bytes come on the topics of a dialect, they become readings or quarantined payloads, and no error."""
    device = None if dialect.name == "theengs" else SCALE
    decoder = DialectDecoder(
        RouteTable([Route(dialect, dialect.topics, device)]), KnownAddresses(scale=ADDRESS), zone, 50
    )
    intake = MemoryIntake()
    messages = [Publish(topic, payload, qos, 1, dup, kept) for topic, payload, dup, kept, qos in lines]
    asyncio.run(feed(decoder, intake, messages))
    for reading in intake.readings.values():
        assert reading.metric in (Metric.BODY_MASS, Metric.IMPEDANCE)
        assert reading.time_method is not TimeMethod.SOURCE_INSTANT


async def test_the_checkpoint_is_read_before_the_first_message() -> None:
    """The memory of a device is asked for once, before its first message, and committed with what it remembers."""
    lines = captured("theengs/weigh_in")
    messages = [Publish(line.topic, line.payload, 0, 0, False, False) for line in lines]
    intake = MemoryIntake()
    await feed(decoder_of("theengs"), intake, messages)
    assert (SCALE, UNTIMED_CHECKPOINT) in intake.checkpoints
    first = next(batch for batch in intake.batches if batch.readings)
    assert [UNTIMED_CHECKPOINT] == [checkpoint.name for checkpoint in first.checkpoints]
    before = len(intake.readings)
    await feed(decoder_of("theengs"), intake, messages)
    assert before == len(intake.readings)


def test_a_backlog_ends_at_the_first_break() -> None:
    """After a long absence what comes without a break may be old; a second of silence ends that."""
    backlog = Backlog()
    backlog.resumed(0.0, has_queue=True)
    assert [True, True, False, False] == [backlog.is_draining(at) for at in (0.1, 1.0, 2.5, 2.6)]


def test_a_short_absence_needs_no_care() -> None:
    """A connection lost for less than a minute, and a session without a queue, make nothing old."""
    backlog = Backlog()
    backlog.resumed(0.0, has_queue=False)
    assert not backlog.is_draining(0.1)
    backlog.stopped(100.0)
    backlog.resumed(159.0, has_queue=True)
    assert not backlog.is_draining(159.1)
    backlog.stopped(200.0)
    backlog.stopped(250.0)
    backlog.resumed(261.0, has_queue=True)
    assert backlog.is_draining(261.1)


def test_a_pause_for_the_disk_does_not_end_a_backlog() -> None:
    """While a long queue drains, waiting for the store is no silence; after five minutes it counts as drained."""
    backlog = Backlog()
    backlog.resumed(0.0, has_queue=True)
    assert backlog.is_draining(0.5)
    backlog.stopped(0.5)
    backlog.resumed(20.0, has_queue=True)
    assert backlog.is_draining(20.1)
    assert not all(backlog.is_draining(20.1 + at / 2) for at in range(700))


def test_routes_are_found_in_bounded_memory() -> None:
    """A topic has the route of the filter that matches it, however many other topics came."""
    routes = {each.name: Route(each, each.topics) for each in DIALECTS}
    theengs, esphome = routes["theengs"], routes["esphome_miscale"]
    table = RouteTable([theengs, esphome])
    assert ("home/+/BTtoMQTT/+", "+/sensor/+/state", "+/status") == table.topics
    for number in range(25_000):
        assert None is table.find(f"elsewhere/{number}")
    assert (theengs, esphome) == (table.find("home/a/BTtoMQTT/b"), table.find("node/status"))
    assert len(table._known) <= 10_000


def test_strangers_are_bounded() -> None:
    """Of many addresses those heard last are remembered."""
    strangers = Strangers()
    for number in range(1000):
        strangers.note(f"{number:012X}", "theengs", datetime(2026, 3, 1, tzinfo=UTC))
    assert (200, f"{999:012X}") == (len(strangers.all()), strangers.all()[0].address)


async def test_old_advertisements_are_not_handed_on() -> None:
    """An advertisement that was redelivered, waited or was kept is no word about now; one of today's is."""
    found: list[datetime] = []
    (theengs,) = [each for each in DIALECTS if each.name == "theengs"]

    def note(_address: str, _advert: Advert, heard_at: datetime) -> bool:
        found.append(heard_at)
        return False

    decoder = DialectDecoder(RouteTable([Route(theengs, theengs.topics)]), KnownAddresses(), zone, 65_536, note)
    line = captured("theengs/undecoded")[0]
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    fresh = Publish(line.topic, line.payload, 1, 1, False, False)
    old = [
        Foreign(fresh._replace(is_duplicate=True), at),
        Foreign(fresh._replace(is_retained=True), at),
        Foreign(fresh, at, is_backlog=True),
    ]
    await decoder.decode([*old, Foreign(fresh, at + timedelta(seconds=1))], MemoryIntake())
    assert [at + timedelta(seconds=1)] == found


def test_long_topics_are_not_remembered() -> None:
    """A topic has up to 65535 bytes and whoever may publish chooses it: what is remembered stays small."""
    theengs = Route(THEENGS, THEENGS.topics)
    table = RouteTable([theengs])
    tracemalloc.start()
    try:
        for number in range(1000):
            topic = f"home/{number}{'x' * 20_000}/BTtoMQTT/AABBCCDDEEFF"
            assert theengs is table.find(topic)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
