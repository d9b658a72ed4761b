from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import structlog
from mqtt_kit import (
    KnownAddresses,
    Line,
    MemoryIntake,
    StillClock,
    captured,
    mqtt_settings,
    play,
    reading_json,
    running,
)

from gateway.adapters.sources.mqtt import source as source_module
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.changes import Changes
from gateway.devices.advert import Advert
from gateway.intake import StoreIntake
from gateway.model import (
    Batch,
    CommitReceipt,
    DeviceId,
    Metric,
    QuarantineReason,
    Reading,
    TimeQuality,
    Unit,
)
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.settings import MqttSettings

SCALE = DeviceId("scale")
ADDRESS = "5C:CA:D3:70:D4:A2"
NEIGHBOUR = "0C:1C:B1:00:00:02"
MARKER = Line("gateway/marker/reading", reading_json("end"))
CONFIG = Path(__file__).parents[2] / "config"
THEENGS: dict[str, object] = {"dialect": "theengs"}
ESPHOME: dict[str, object] = {
    "dialect": "esphome_miscale",
    "device": "scale",
    "topics": ["bathroom/sensor/+/state", "bathroom/status"],
}
HOME_ASSISTANT: dict[str, object] = {
    "dialect": "ha_statestream",
    "device": "scale",
    "entities": [
        {"entity": "sensor.bathroom_scale_weight", "metric": "body_mass", "unit": "kg"},
        {"entity": "sensor.bathroom_scale_impedance", "metric": "impedance", "unit": "Ohm"},
    ],
}


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(source_module, "_LONGEST_RETRY_S", 0.2)


def speaking(broker: Broker, *dialects: Mapping[str, object], **changes: object) -> MqttSettings:
    return mqtt_settings(broker, dialects=list(dialects), **changes)


def of_scale(intake: MemoryIntake) -> list[Reading]:
    """What was stored of the scale, in order of arrival."""
    return [reading for reading in intake.readings.values() if reading.device_id == SCALE]


def told(intake: MemoryIntake) -> list[tuple[Metric, Decimal | None]]:
    return [(reading.metric, reading.value) for reading in of_scale(intake)]


async def heard(
    broker: Broker, dialect: Mapping[str, object], lines: list[Line], *, known: KnownAddresses | None = None
) -> MemoryIntake:
    """What a fresh source makes of lines that are published while it listens."""
    intake = MemoryIntake()
    known = known or KnownAddresses(scale=ADDRESS)
    async with running(speaking(broker, dialect), intake, addresses=known):
        await play(broker, [*lines, MARKER])
        await intake.until(record="end")
    return intake


# --- what each dialect gives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "name", "decoder"),
    [
        (THEENGS, "theengs/weigh_in", "mqtt.theengs"),
        (THEENGS, "theengs/two_gateways", "mqtt.theengs"),
        (ESPHOME, "esphome_miscale/weigh_in", "mqtt.esphome_miscale"),
        (HOME_ASSISTANT, "ha_statestream/weigh_in", "mqtt.ha_statestream"),
    ],
)
async def test_one_weigh_in(tmp_path: Path, dialect: Mapping[str, object], name: str, decoder: str) -> None:
    """However often, by how many radios, on how many topics a weigh-in is told: one mass, one impedance, one name."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, dialect, captured(name))
    mass, impedance = sorted(of_scale(intake), key=lambda reading: reading.metric.value)
    assert (Metric.BODY_MASS, Metric.IMPEDANCE) == (mass.metric, impedance.metric)
    assert Decimal(503) == impedance.value
    assert mass.record_key == impedance.record_key == mass.context.weigh_in == impedance.context.weigh_in
    assert {TimeQuality.RECEIVED} == {mass.time_quality, impedance.time_quality}
    assert {decoder} == {mass.provenance.decoder, impedance.provenance.decoder}
    is_qos_0 = dialect is not HOME_ASSISTANT
    assert {is_qos_0} == {mass.provenance.is_unconfirmed, impedance.provenance.is_unconfirmed}
    assert [] == intake.quarantined


async def test_the_payload_is_kept(tmp_path: Path) -> None:
    """Each reading refers to the payload that it was decoded from; repeats that add nothing are not kept."""
    lines = captured("theengs/weigh_in")
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, THEENGS, lines)
    frames = [frame for batch in intake.batches for frame in batch.frames if frame.device_id == SCALE]
    assert [lines[0].payload, lines[2].payload] == [frame.payload for frame in frames]
    for batch in intake.batches:
        for reading in batch.readings:
            assert reading.frame is not None
            assert reading.device_id == batch.frames[reading.frame].device_id


async def test_pounds(tmp_path: Path) -> None:
    """The weight is taken in the unit that stands beside it."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, THEENGS, captured("theengs/pounds"))
    (mass,) = of_scale(intake)
    assert (Decimal("140.65"), Unit.LB, Decimal("63.79776684050")) == (
        mass.original_value,
        mass.original_unit,
        mass.value,
    )


@pytest.mark.parametrize(
    ("dialect", "name"),
    [(THEENGS, "theengs/not_a_person"), (ESPHOME, "esphome_miscale/other_sensors")],
)
async def test_none_of_our_business(tmp_path: Path, dialect: Mapping[str, object], name: str) -> None:
    """Other sensors, objects on the scale and sensors without a value give nothing and are not set aside."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, dialect, captured(name))
    assert ([], []) == (of_scale(intake), intake.quarantined)


async def test_an_esphome_node_that_reconnects(tmp_path: Path) -> None:
    """What a node repeats after its connection was lost is known, although nothing marks it (hours later, too)."""
    lines = captured("esphome_miscale/reconnected")
    clock, intake = StillClock(), MemoryIntake()
    async with run_mosquitto(tmp_path) as broker, running(speaking(broker, ESPHOME), intake, clock=clock):
        await play(broker, lines[:2])
        await intake.until(readings=2)
        clock.at += timedelta(hours=9)
        await play(broker, [*lines[2:], MARKER])
        await intake.until(readings=3)
    assert [(Metric.BODY_MASS, Decimal("71.35")), (Metric.IMPEDANCE, Decimal(503))] == told(intake)


# --- who it is --------------------------------------------------------------------------------------------------------


async def test_the_neighbours_scale(tmp_path: Path) -> None:
    """C10: an address that nobody enrolled is neither recorded nor set aside, but counted and shown as heard."""
    intake, clock = MemoryIntake(), StillClock()
    known = KnownAddresses(scale=ADDRESS)
    async with (
        run_mosquitto(tmp_path) as broker,
        running(speaking(broker, THEENGS), intake, clock=clock, addresses=known) as source,
    ):
        await play(broker, [*captured("theengs/neighbour"), *captured("theengs/weigh_in")])
        await intake.until(readings=2)
        (stranger,) = source.strangers()
    assert (NEIGHBOUR, "theengs", 3, clock.at) == (
        stranger.address,
        stranger.dialect,
        stranger.messages,
        stranger.heard_at,
    )
    assert ({SCALE}, []) == ({reading.device_id for reading in intake.readings.values()}, intake.quarantined)


async def test_a_device_enrolled_meanwhile(tmp_path: Path) -> None:
    """A device that is enrolled while the source runs is recorded from then on, and no stranger any more."""
    intake, known = MemoryIntake(), KnownAddresses()
    async with (
        run_mosquitto(tmp_path) as broker,
        running(speaking(broker, THEENGS), intake, addresses=known) as source,
    ):
        await play(broker, [*captured("theengs/neighbour"), MARKER])
        await intake.until(readings=1)
        known.by_device[SCALE] = NEIGHBOUR
        await play(broker, captured("theengs/neighbour"))
        await intake.until(readings=2)
        assert () == source.strangers()
    assert [(Metric.BODY_MASS, Decimal("91.3")), (Metric.IMPEDANCE, Decimal(503))] == told(intake)


async def test_topic_identity_wins(tmp_path: Path) -> None:
    """J2: a payload that names another device than its topic is set aside with that reason, and said in the log."""
    with structlog.testing.capture_logs() as events:
        async with run_mosquitto(tmp_path) as broker:
            intake = await heard(broker, THEENGS, captured("theengs/other_identity") * 2)
    assert [] == of_scale(intake)
    assert [(QuarantineReason.IDENTITY_MISMATCH, SCALE)] * 2 == [
        (each.reason, each.frame.device_id) for each in intake.quarantined
    ]
    (warning,) = [event for event in events if event["event"] == "mqtt.identity_mismatch"]
    assert SCALE == warning["device"]
    assert NEIGHBOUR not in str(events)


@pytest.mark.parametrize(
    ("addresses", "readings", "reasons"),
    [
        ({"scale": ADDRESS}, 2, []),
        ({}, 2, []),
        ({"scale": NEIGHBOUR}, 0, [QuarantineReason.IDENTITY_MISMATCH]),
        ({"other": ADDRESS}, 0, [QuarantineReason.IDENTITY_MISMATCH]),
    ],
)
async def test_topics_bound_to_a_device(
    tmp_path: Path, addresses: dict[str, str], readings: int, reasons: list[QuarantineReason]
) -> None:
    """Bound topics are that device's, unless the payload names an address that is certainly not its own."""
    bound = THEENGS | {"device": "scale", "topics": [f"home/+/BTtoMQTT/{ADDRESS.replace(':', '')}"]}
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, bound, captured("theengs/two_gateways")[:1], known=KnownAddresses(**addresses))
    assert (readings, reasons) == (len(of_scale(intake)), [each.reason for each in intake.quarantined])


async def test_the_shipped_rights_cover_dialects(tmp_path: Path) -> None:
    """J1: with the lines of the ACL taken in, the gateway reads a dialect's topics, and its bridge writes no other."""
    text = (CONFIG / "mosquitto.acl").read_text(encoding="utf-8")
    acl = re.sub(r"^# ((?:user|topic) .*)$", r"\1", text, flags=re.MULTILINE)
    users = {"passerelle": "p", "theengs": "t", "esphome": "e", "home-assistant": "h", "scale-1": "s"}
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("p", encoding="utf-8")
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path, users=users, acl=acl) as broker:
        settings = speaking(broker, THEENGS, ESPHOME, HOME_ASSISTANT, username="passerelle", password_file=str(secret))
        async with running(settings, intake, addresses=KnownAddresses(other=ADDRESS)):
            (line,) = captured("theengs/two_gateways")[:1]
            forged = [Line("gateway/scale-1/reading", reading_json("forged")), *captured("esphome_miscale/weigh_in")]
            await play(broker, [*forged, line], username="theengs", password="t")
            await intake.until(readings=2)
            await play(broker, [line, *captured("esphome_miscale/weigh_in")], username="esphome", password="e")
            await intake.until(readings=4)
            await play(broker, [Line("gateway/scale-1/reading", reading_json("own"))], username="scale-1", password="s")
            await intake.until(readings=5)
    assert {"other": 2, "scale": 2, "scale-1": 1} == {
        name: sum(reading.device_id == name for reading in intake.readings.values())
        for name in ("other", "scale", "scale-1")
    }
    assert "forged" not in intake.records


# --- again and again --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[tuple[SqliteStore, StoreIntake]]:
    """A real store and its doorway."""
    clock = StillClock()
    async with SqliteStore.open(folder / "passerelle.db", clock=clock) as store:
        yield store, StoreIntake(store.readings, store.registry, Changes())


class Dying:
    """A doorway whose process dies at the first commit of a reading: before it, or after it and before the PUBACK."""

    def __init__(self, inner: StoreIntake, *, is_committed: bool) -> None:
        self._inner = inner
        self._is_committed = is_committed
        self.checkpoint = inner.checkpoint
        self.sighted = inner.sighted
        self.died = asyncio.Event()

    async def submit(self, batch: Batch) -> CommitReceipt:
        if not batch.readings:
            return await self._inner.submit(batch)
        if self._is_committed:
            await self._inner.submit(batch)
        self.died.set()
        await asyncio.Event().wait()
        raise AssertionError


class Surviving:
    """A doorway that says when the marker is durable."""

    def __init__(self, inner: StoreIntake) -> None:
        self._inner = inner
        self.checkpoint = inner.checkpoint
        self.sighted = inner.sighted
        self.is_marked = asyncio.Event()

    async def submit(self, batch: Batch) -> CommitReceipt:
        receipt = await self._inner.submit(batch)
        if any(reading.record_key == "end" for reading in batch.readings):
            self.is_marked.set()
        return receipt


@pytest.mark.parametrize("is_committed", [False, True], ids=["before the commit", "before the PUBACK"])
@pytest.mark.parametrize(
    ("dialect", "name"),
    [(ESPHOME, "esphome_miscale/weigh_in"), (HOME_ASSISTANT, "ha_statestream/weigh_in")],
)
async def test_a_crash_loses_nothing_and_tells_nothing_twice(
    tmp_path: Path, dialect: Mapping[str, object], name: str, is_committed: bool
) -> None:
    """A1, A2: what a dying process had received is redelivered, and is one weigh-in all the same."""
    lines = [line._replace(qos=1) for line in captured(name)]
    async with run_mosquitto(tmp_path) as broker, stored(tmp_path) as (store, intake):
        settings = speaking(broker, dialect)
        dying = Dying(intake, is_committed=is_committed)
        async with running(settings, dying):
            await play(broker, lines)
            async with asyncio.timeout(20):
                await dying.died.wait()
        surviving = Surviving(intake)
        async with running(settings, surviving) as source:
            await play(broker, [MARKER])
            async with asyncio.timeout(20):
                await surviving.is_marked.wait()
        readings = [each.reading for each in await store.readings.readings(device_id=SCALE)]
    assert source.counters.redelivered > 0
    assert [Decimal("71.35"), Decimal(503)] == [each.value for each in sorted(readings, key=lambda r: r.metric.value)]
    assert 1 == len({each.record_key for each in readings})


async def test_what_waited_while_we_were_away(tmp_path: Path) -> None:
    """What was published while no gateway ran is one weigh-in of unknown time; what was told before is known."""
    lines = [line._replace(qos=1) for line in captured("esphome_miscale/weigh_in")[1:]]
    intake, clock = MemoryIntake(), StillClock()
    async with run_mosquitto(tmp_path) as broker:
        settings = speaking(broker, ESPHOME)
        async with running(settings, intake, clock=clock):
            await play(broker, [*lines, MARKER])
            await intake.until(readings=3)
        later = [line._replace(payload=line.payload.replace(b"71.35", b"72.10")) for line in lines]
        await play(broker, [*lines, *later])
        clock.at += timedelta(hours=8)
        async with running(settings, intake, clock=clock):
            await intake.until(readings=4)
            await play(broker, [Line("gateway/marker/reading", reading_json("end2"))])
            await intake.until(record="end2")
    old = [(r.value, r.time_quality) for r in of_scale(intake) if r.metric is Metric.BODY_MASS]
    assert [(Decimal("71.35"), TimeQuality.RECEIVED), (Decimal("72.10"), TimeQuality.UNKNOWN)] == old


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_retained_is_never_news(tmp_path: Path, protocol: str) -> None:
    """B13: a kept message of before is told once, at an unknown time; at every reconnection it is known."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        await play(broker, captured("esphome_miscale/retained"))
        for number in range(3):
            clock = StillClock()
            clock.at += timedelta(hours=number)
            settings = speaking(broker, ESPHOME, protocol=protocol, client_id=f"gateway-{number}")
            async with running(settings, intake, clock=clock):
                await play(broker, [Line("gateway/marker/reading", reading_json(f"end{number}"))])
                await intake.until(record=f"end{number}")
    readings = of_scale(intake)
    assert [(Metric.BODY_MASS, Decimal("71.35")), (Metric.IMPEDANCE, Decimal(503))] == told(intake)
    assert {(TimeQuality.UNKNOWN, True)} == {(r.time_quality, r.provenance.is_retained) for r in readings}
    assert not any(reading.is_result for reading in readings)


async def test_a_retained_weigh_in_that_is_known(tmp_path: Path) -> None:
    """A weigh-in that was heard live keeps its time when the broker hands it out again to a new subscriber."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        async with running(speaking(broker, ESPHOME), intake):
            await play(broker, [*captured("esphome_miscale/retained")[1:], MARKER])
            await intake.until(readings=3)
        async with running(speaking(broker, ESPHOME, client_id="another"), intake) as source:
            await play(broker, [Line("gateway/marker/reading", reading_json("end2"))])
            await intake.until(readings=4)
            assert source.counters.received >= 3
    assert {TimeQuality.RECEIVED} == {reading.time_quality for reading in of_scale(intake)}
    assert 2 == len(of_scale(intake))


# --- what has to be set aside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "name", "malformed", "implausible"),
    [(THEENGS, "theengs/malformed", 6, 2), (ESPHOME, "esphome_miscale/malformed", 5, 0)],
)
async def test_malformed_and_absurd(
    tmp_path: Path, dialect: Mapping[str, object], name: str, malformed: int, implausible: int
) -> None:
    """B8, B9: what is no reading is set aside with its bytes and a reason that holds no value, and acknowledged."""
    lines = captured(name)
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, dialect, lines)
    reasons = [each.reason for each in intake.quarantined]
    assert (malformed, implausible) == (
        reasons.count(QuarantineReason.MALFORMED),
        reasons.count(QuarantineReason.IMPLAUSIBLE),
    )
    assert [] == of_scale(intake)
    assert {line.payload for line in lines} >= {each.frame.payload for each in intake.quarantined}
    assert not any(re.search(r"\d{2}[.,]\d", each.detail) for each in intake.quarantined)


async def test_hostile_payloads(tmp_path: Path) -> None:
    """B8: deep nesting, NaN, a key twice, UTF-16, a lone surrogate, NUL and too many bytes do no harm."""
    topic = "home/OMG/BTtoMQTT/5CCAD370D4A2"
    bodies = [
        b"[" * 10_000,
        b'{"weight":NaN,"type":"SCALE","unit":"kg"}',
        b'{"weight":70,"weight":71}',
        '{"weight":70}'.encode("utf-16"),
        b'{"name":"\\ud800","type":"SCALE","weight":"\\ud800","unit":"kg"}',
        b"\0",
        b'{"pad":"' + b"x" * 70_000 + b'"}',
    ]
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, THEENGS, [Line(topic, body) for body in bodies])
    assert len(bodies) == len(intake.quarantined)
    assert {QuarantineReason.MALFORMED, QuarantineReason.TOO_LARGE} == {each.reason for each in intake.quarantined}
    assert max(len(each.frame.payload) for each in intake.quarantined) <= 65_536


async def test_an_entity_in_another_unit(tmp_path: Path) -> None:
    """An entity whose unit was changed in Home Assistant is seen in the quarantine."""
    async with run_mosquitto(tmp_path) as broker:
        intake = await heard(broker, HOME_ASSISTANT, captured("ha_statestream/other_unit"))
    assert [QuarantineReason.UNSUPPORTED] == [each.reason for each in intake.quarantined]


# --- the seam for advertisements --------------------------------------------------------------------------------------


async def test_advertisements_go_to_the_sink(tmp_path: Path) -> None:
    """What other radios heard and did not decode is handed on, with its address and the time, enrolled or not."""
    found: list[tuple[str, Advert, datetime]] = []
    clock, intake = StillClock(), MemoryIntake()

    def note(address: str, advert: Advert, heard_at: datetime) -> bool:
        found.append((address, advert, heard_at))
        return False

    async with (
        run_mosquitto(tmp_path) as broker,
        running(speaking(broker, THEENGS), intake, clock=clock, on_advert=note),
    ):
        await play(broker, [*captured("theengs/undecoded"), MARKER])
        await intake.until(readings=1)
    assert [(ADDRESS, {"181b"}, clock.at), (ADDRESS, set(), clock.at)] == [
        (address, set(advert.service_data), heard_at) for address, advert, heard_at in found
    ]


# --- while the store is away ------------------------------------------------------------------------------------------


async def test_a_store_that_is_away(tmp_path: Path) -> None:
    """While the memory cannot be read nothing is decoded or acknowledged; then everything is, once."""
    intake = MemoryIntake()
    intake.is_away = True
    async with run_mosquitto(tmp_path) as broker, running(speaking(broker, ESPHOME), intake) as source:
        await play(broker, [line._replace(qos=1) for line in captured("esphome_miscale/weigh_in")])
        await intake.until(asked=2)
        assert (0, 0) == (source.counters.acknowledged, len(intake.readings))
        intake.is_away = False
        await intake.until(readings=2)
    assert 2 == len(intake.readings)
