"""What was set aside is decoded again: the same store as if the decoder had always been right, in any order."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.addresses import AddressBook
from gateway.changes import Changes
from gateway.devices.procedures.cgm_checkpoint import CgmCheckpoint
from gateway.intake import StoreIntake
from gateway.intake_log import HttpFeed, LogClock, LogFeed, LoggedMessage
from gateway.model import (
    Batch,
    Checkpoint,
    Device,
    DeviceId,
    DeviceKind,
    Metric,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
    TimeQuality,
)
from gateway.ports import Redecoded, Redecoder
from gateway.redecoders import mqtt_decoder, redecoders_of
from gateway.replaying import Redecoders, Replayed, ReplayOutcome, replay, replay_all
from gateway.sandbox.frames import encode_body_composition, encode_cgm_measurement, encode_weight_measurement
from gateway.sandbox.frames_vital_signs import (
    encode_blood_pressure,
    encode_heart_rate,
    encode_spot_check,
    encode_temperature,
)
from gateway.sandbox.records import CgmSample, WeighIn
from gateway.sandbox.records_vital_signs import CuffReading, HeartBeat, SpotCheck, Temperature
from gateway.settings import Settings

ADDRESS = "00:00:5E:00:53:07"
DEVICES = (Device(DeviceId("mi-scale"), DeviceKind.SCALE, "Balance", address=ADDRESS),)
SETTINGS = Settings.model_validate({"mqtt": {"dialects": [{"dialect": "theengs"}]}})
PARIS = ZoneInfo("Europe/Paris")
SCALE = DeviceId("scale-1")
AT = datetime(2026, 3, 20, 7, 0, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
WALL = datetime(2026, 3, 20, 7, 55)  # noqa: DTZ001 - a device's own clock
OLD_DECODER = "an older decoder did not understand it"


async def _no_listener() -> HttpFeed:
    raise AssertionError("no request is fed here")


class House:
    """A store with the real intake before it and the real decoders beside it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.clock = LogClock(NOW)
        self.intake = StoreIntake(store.readings, store.registry, Changes())
        addresses = AddressBook(DEVICES, store.enrolments, self.clock)
        self.feeder = LogFeed(self.intake, mqtt_decoder(SETTINGS, lambda _: PARIS, addresses), self.clock, _no_listener)
        self.redecoders = redecoders_of(SETTINGS, self.intake, lambda _: PARIS, addresses)

    async def feed(self, *messages: LoggedMessage) -> None:
        """As the MQTT source would."""
        for message in messages:
            await self.feeder.feed(message, NOW)

    async def plant(self, frame: RawFrame, *, is_retained: bool | None = None) -> None:
        """As an older decoder has set it aside."""
        item = Quarantined(frame, QuarantineReason.MALFORMED, OLD_DECODER, is_retained, 1)
        await self.intake.submit(Batch(quarantined=(item,)))

    async def replay_one(self, number: int = 1) -> Replayed:
        """One row."""
        row = await self.store.quarantine.set_aside(number)
        assert row is not None
        return await replay(
            row, self.redecoders, intake=self.intake, quarantine=self.store.quarantine, clock=self.clock
        )

    async def replay_everything(self) -> list[Replayed]:
        """Every open row."""
        return [
            one
            async for one in replay_all(
                self.redecoders, intake=self.intake, quarantine=self.store.quarantine, clock=self.clock
            )
        ]

    async def readings(self) -> list[Reading]:
        """What is stored, by key."""
        stored = [item.reading for item in await self.store.readings.readings()]
        return sorted(stored, key=lambda reading: reading.key)

    async def dump(self) -> tuple[object, ...]:
        """Everything that must not depend on order and repetition."""
        rows = await self.store.quarantine.rows(limit=10_000)
        return (
            await self.readings(),
            sorted((row.item.frame.payload, repr(row.item)) for row in rows),
        )


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """An empty one."""
    async with SqliteStore.open(folder / "p.db", clock=LogClock(NOW)) as store:
        yield House(store)


def message(document: object, *, minute: int = 0, is_retained: bool = False, what: str = "reading") -> LoggedMessage:
    """A message of the scale."""
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return LoggedMessage(f"gateway/{SCALE}/{what}", payload, is_retained, 1, AT + timedelta(minutes=minute))


def weigh_in(record: str = "1", mass: str = "71.2", **more: object) -> dict[str, Any]:
    """A weigh-in of our own format."""
    measurement = {"metric": "body_mass", "value": float(mass), "unit": "kg"}
    return {"record": record, "time": "2026-03-20T06:58:00Z", "measurements": [measurement]} | more


def mqtt_frame(logged: LoggedMessage) -> RawFrame:
    """The payload as the source would keep it."""
    assert logged.received_at is not None
    return RawFrame(SCALE, SourceKind.MQTT, logged.topic, logged.payload, logged.received_at)


async def test_after_a_decoder_fix_the_reading_is_there_as_if_it_had_always_been(tmp_path: Path) -> None:
    """The original reception, the payload beside it, the row resolved; the second replay has nothing to do."""
    logged = message(weigh_in())
    (tmp_path / "direct").mkdir()
    async with house(tmp_path / "direct") as direct:
        await direct.feed(logged)
        expected = await direct.readings()
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(logged), is_retained=False)
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.READ, 1, "read again: 1 reading") == (one.outcome, one.added, one.detail)
        assert expected == await home.readings()
        (stored,) = await home.store.readings.readings()
        assert stored.raw_id is not None
        raw = await home.store.readings.raw(stored.raw_id)
        assert raw is not None
        assert (logged.payload, AT) == (raw.payload, raw.received_at)
        (row,) = await home.store.quarantine.rows(with_resolved=True)
        assert (NOW, "read again: 1 reading") == (row.resolved_at, row.resolution)
        assert [] == await home.replay_everything()
        assert ReplayOutcome.RESOLVED is (await home.replay_one()).outcome


async def test_readings_that_came_in_another_way_meanwhile_are_known(tmp_path: Path) -> None:
    """The device has sent the record again before anybody replayed: nothing is added, the row is resolved."""
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(message(weigh_in())), is_retained=False)
        await home.feed(message(weigh_in(), minute=30))
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.READ, 0, 1) == (one.outcome, one.added, one.known)
        assert 1 == len(await home.readings())


async def test_what_still_fails_keeps_its_place_with_the_reason_of_today(tmp_path: Path) -> None:
    """The decoder's present sentence replaces the old one; a second replay changes nothing."""
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(message(weigh_in(mass="7120"))))
        for _ in range(2):
            (one,) = await home.replay_everything()
            assert (ReplayOutcome.STILL, QuarantineReason.IMPLAUSIBLE) == (one.outcome, one.reason)
        (row,) = await home.store.quarantine.rows()
        assert QuarantineReason.IMPLAUSIBLE is row.item.reason
        assert "7120" not in row.item.detail
        assert [] == await home.readings()


async def test_a_message_of_which_a_part_can_be_read(tmp_path: Path) -> None:
    """The good record is stored, and the row stays for the other."""
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(message([weigh_in("1"), weigh_in("2", device="another")])), is_retained=False)
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.PARTLY, 1, QuarantineReason.IDENTITY_MISMATCH) == (one.outcome, one.added, one.reason)
        assert 1 == len(await home.readings())
        assert 1 == len(await home.store.quarantine.rows())


async def test_a_message_without_anything_to_read(tmp_path: Path) -> None:
    """A status that an older decoder refused is resolved without a reading."""
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(message(b"online", what="status")))
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.NOTHING, "nothing to read in it") == (one.outcome, one.detail)
        assert [] == await home.store.quarantine.rows()


@pytest.mark.parametrize(
    ("is_retained", "quality"),
    [(False, TimeQuality.RECEIVED), (True, TimeQuality.UNKNOWN), (None, TimeQuality.UNKNOWN)],
)
async def test_how_it_was_delivered_is_remembered(
    tmp_path: Path, is_retained: bool | None, quality: TimeQuality
) -> None:
    """A record without a time was measured at its reception only if the message was live; unknown counts as kept."""
    document = weigh_in()
    del document["time"]
    async with house(tmp_path) as home:
        await home.plant(mqtt_frame(message(document)), is_retained=is_retained)
        await home.replay_everything()
        (reading,) = await home.readings()
        assert (quality, is_retained is not False) == (reading.time_quality, reading.provenance.is_retained)


async def test_the_source_notes_how_a_message_was_delivered(tmp_path: Path) -> None:
    """What the decoder sets aside carries both facts into the store."""
    async with house(tmp_path) as home:
        await home.feed(message(b"no", is_retained=True))
        (row,) = await home.store.quarantine.rows()
        assert (True, 1) == (row.item.is_retained, row.item.qos)


async def test_what_was_cut_and_what_nobody_decodes_stays(tmp_path: Path) -> None:
    """The beginning of a payload is not the payload; a source without a redecoder is named."""
    async with house(tmp_path) as home:
        whole = mqtt_frame(message(weigh_in()))
        item = Quarantined(whole, QuarantineReason.TOO_LARGE, "more than 10 bytes")
        await home.intake.submit(Batch(quarantined=(item,)))
        await home.plant(replace(whole, source=SourceKind.FILE, channel="clarity.csv"))
        first, second = await home.replay_everything()
        assert {ReplayOutcome.WANTING} == {first.outcome, second.outcome}
        assert "beginning" in first.detail
        assert "file" in second.detail
        assert [QuarantineReason.MALFORMED, QuarantineReason.TOO_LARGE] == sorted(
            row.item.reason for row in await home.store.quarantine.rows()
        )


async def test_after_a_stop_between_commit_and_resolve_the_readings_are_known(tmp_path: Path) -> None:
    """The readings are durable before the row is resolved: doing it again adds nothing."""
    async with house(tmp_path) as home:
        logged = message(weigh_in())
        await home.plant(mqtt_frame(logged), is_retained=False)
        redecoder = home.redecoders.find(mqtt_frame(logged))
        row = await home.store.quarantine.set_aside(1)
        assert redecoder is not None
        assert row is not None
        await home.intake.submit(replace((await redecoder.redecode(row.item)).batch, quarantined=()))
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.READ, 0, 1) == (one.outcome, one.added, one.known)


TOPIC = "home/TheengsGateway/BTtoMQTT/00005E005307"


def theengs(mass: str = "72.45", claims: str = ADDRESS, *, minute: int = 0) -> LoggedMessage:
    """A weigh-in as Theengs Gateway publishes it: without name and time."""
    document = {"id": claims, "name": "MIBFS", "type": "SCALE", "model_id": "XMTZC02HM/XMTZC05HM", "unit": "kg"}
    payload = json.dumps(document | {"weighing_mode": "person", "weight": float(mass)}).encode()
    return LoggedMessage(TOPIC, payload, False, 0, AT + timedelta(minutes=minute))


def theengs_frame(logged: LoggedMessage) -> RawFrame:
    """As the source keeps it."""
    return RawFrame(DeviceId("mi-scale"), SourceKind.MQTT, logged.topic, logged.payload, AT)


async def test_a_dialect_is_decoded_again_by_its_own_decoder(tmp_path: Path) -> None:
    """What neither names nor dates itself is told once, at an unknown time, however often it is replayed; the memory
    of the running source is left alone."""
    async with house(tmp_path) as home:
        await home.plant(theengs_frame(theengs()))
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.READ, 1) == (one.outcome, one.added)
        (reading,) = await home.readings()
        assert (Decimal("72.45"), TimeQuality.UNKNOWN, AT) == (reading.value, reading.time_quality, reading.received_at)
        assert [] == await home.store.readings.facts()


async def test_a_weigh_in_of_a_dialect_that_is_known_is_not_told_twice(tmp_path: Path) -> None:
    """It was set aside, and came again: a replay adds nothing to the one that is there."""
    async with house(tmp_path) as home:
        await home.feed(theengs(minute=1))
        before = await home.readings()
        await home.plant(theengs_frame(theengs()))
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.NOTHING, 0) == (one.outcome, one.added)
        assert before == await home.readings()
        assert 1 == len(before)


async def test_a_dialect_that_contradicts_its_topic_stays_set_aside(tmp_path: Path) -> None:
    """The topic says whose it is; the source notes how it was delivered."""
    async with house(tmp_path) as home:
        await home.feed(theengs(claims="00:00:5E:00:53:99"))
        (row,) = await home.store.quarantine.rows()
        assert (QuarantineReason.IDENTITY_MISMATCH, False, 0) == (row.item.reason, row.item.is_retained, row.item.qos)
        (one,) = await home.replay_everything()
        assert (ReplayOutcome.STILL, QuarantineReason.IDENTITY_MISMATCH) == (one.outcome, one.reason)


# --- Bluetooth ------------------------------------------------------------------------------------------------------


def bluetooth_frame(char: str, payload: bytes) -> RawFrame:
    """A payload as the session would keep it."""
    return RawFrame(DeviceId("device"), SourceKind.BLUETOOTH, char, payload, AT)


TIMED = WeighIn(Decimal("71.2"), user=1, time_stamp=WALL, fat_percent=Decimal("21.5"))


@pytest.mark.parametrize(
    ("char", "payload", "metric", "value"),
    [
        (
            "2a35",
            encode_blood_pressure(CuffReading(Decimal(128), Decimal(83), time_stamp=WALL)),
            Metric.BLOOD_PRESSURE_SYSTOLIC,
            "128",
        ),
        ("2a1c", encode_temperature(Temperature(Decimal("36.8"), time_stamp=WALL)), Metric.BODY_TEMPERATURE, "36.8"),
        (
            "2a5e",
            encode_spot_check(SpotCheck(Decimal(97), Decimal(64), time_stamp=WALL)),
            Metric.OXYGEN_SATURATION,
            "97",
        ),
        ("2a9d", encode_weight_measurement(TIMED), Metric.BODY_MASS, "71.20"),
        ("2a9c", encode_body_composition(TIMED)[0], Metric.BODY_FAT_PERCENTAGE, "21.5"),
    ],
)
async def test_a_frame_that_says_enough(tmp_path: Path, char: str, payload: bytes, metric: Metric, value: str) -> None:
    """A cuff, a thermometer, an oximeter, a scale that stamps: the reading of the frame, at the device's time."""
    async with house(tmp_path) as home:
        await home.plant(bluetooth_frame(char, payload))
        one = await home.replay_one()
        assert ReplayOutcome.READ is one.outcome
        found = {reading.metric: reading for reading in await home.readings()}
        assert (Decimal(value), WALL) == (found[metric].value, found[metric].device_time)
        assert datetime(2026, 3, 20, 6, 55, tzinfo=UTC) == found[metric].effective_at
        assert AT == found[metric].received_at


@pytest.mark.parametrize(
    ("char", "payload"),
    [
        ("2a18", bytes.fromhex("0b2a00ea0703140714003c0070b0110000")),
        ("2a34", b"\x02\x01\x00\x01"),
        ("2a37", encode_heart_rate(HeartBeat(64))),
        ("2a9d", encode_weight_measurement(replace(TIMED, time_stamp=None))),
        ("2a9c", encode_body_composition(replace(TIMED, time_stamp=None))[0]),
        ("2aa7", encode_cgm_measurement(CgmSample(5, Decimal(104)), crc=True)),
        ("adv.181d", b"\x22"),
        ("af9df7a1-e595-11e3-96b4-0002a5d5c51b", b"\x00"),
    ],
)
async def test_a_frame_that_needs_its_device(tmp_path: Path, char: str, payload: bytes) -> None:
    """What a payload alone does not say is not guessed: the row stays, and the sentence says what is missing."""
    async with house(tmp_path) as home:
        await home.plant(bluetooth_frame(char, payload))
        one = await home.replay_one()
        assert ReplayOutcome.WANTING is one.outcome
        assert one.detail
        assert [] == await home.readings()
        (row,) = await home.store.quarantine.rows()
        assert OLD_DECODER == row.item.detail


@pytest.mark.parametrize("char", ["2a35", "2a1c", "2a5e", "2a9d", "2a9c"])
async def test_a_spoiled_frame_stays_spoiled(tmp_path: Path, char: str) -> None:
    """With the sentence of today's decoder."""
    async with house(tmp_path) as home:
        await home.plant(bluetooth_frame(char, b"\x02"))
        one = await home.replay_one()
        assert (ReplayOutcome.STILL, QuarantineReason.MALFORMED) == (one.outcome, one.reason)


@pytest.mark.parametrize(
    ("began", "crc", "offset_min", "outcome"),
    [
        (AT - timedelta(minutes=50), True, 45, ReplayOutcome.READ),
        (AT - timedelta(minutes=50), False, 45, ReplayOutcome.WANTING),
        (AT - timedelta(minutes=50), True, 3000, ReplayOutcome.WANTING),
        (AT + timedelta(minutes=50), True, 45, ReplayOutcome.WANTING),
    ],
    ids=["fits", "no-crc", "after-reception", "later-session"],
)
async def test_a_sensor_record_and_its_session(
    tmp_path: Path, began: datetime, crc: bool, offset_min: int, outcome: ReplayOutcome
) -> None:
    """It is placed by the session that was running when it came, and only where its CRC proves it whole."""
    sensor = DeviceId("device")
    async with house(tmp_path) as home:
        mark = CgmCheckpoint(began, 40).mark
        assert mark is not None
        await home.intake.submit(Batch(checkpoints=(Checkpoint(sensor, mark.name, mark.state),)))
        payload = encode_cgm_measurement(CgmSample(offset_min, Decimal(104)), crc=crc)
        await home.plant(bluetooth_frame("2aa7", payload))
        assert outcome is (await home.replay_one()).outcome
        expected = [began + timedelta(minutes=offset_min)] if outcome is ReplayOutcome.READ else []
        assert expected == [reading.effective_at for reading in await home.readings()]


# --- properties -----------------------------------------------------------------------------------------------------

POOL: tuple[LoggedMessage, ...] = (
    message(weigh_in("1")),
    message(weigh_in("1"), minute=3, is_retained=True),
    message(weigh_in("1", "71.4"), minute=5),
    message(weigh_in("1", "71.3"), minute=5),
    message(weigh_in("2", "72.0"), minute=1),
    message([weigh_in("3"), weigh_in("4", "9999")], minute=2),
    message(weigh_in("5", device="other"), minute=2),
    message(weigh_in("5", device="other"), minute=4, is_retained=True),
    message(b"\xff\xfe", minute=2),
    message(b"\xff\xfe", minute=1),
    message(b"\xff\xfe", minute=1, is_retained=True),
    message(weigh_in("6", person="ada"), minute=6),
    replace(message(b"{}", minute=6), topic="elsewhere"),
    message(b"online", minute=7, what="status"),
    message(b"maybe", minute=7, what="status"),
)
READABLE = (0, 4)


async def _dump_after(steps: Sequence[int | None]) -> tuple[object, ...]:
    """A fresh house after these messages; None: everything set aside is replayed."""
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder)) as home:
            for step in steps:
                if step is None:
                    await home.replay_everything()
                else:
                    await home.feed(POOL[step])
            return await home.dump()


@settings(max_examples=25)
@given(st.data())
def test_any_order_any_repetition_any_replay_the_same_store(data: st.DataObject) -> None:
    """A set of messages gives one store: readings and quarantine, however often and in whatever order they come, and
    whenever somebody replays what was set aside."""
    chosen = data.draw(st.sets(st.sampled_from(range(len(POOL))), min_size=1))
    once = sorted(chosen)
    again = data.draw(st.lists(st.sampled_from(once), max_size=8))
    replays: list[int | None] = data.draw(st.lists(st.none(), max_size=3))
    steps = data.draw(st.permutations([*once, *again, *replays]))
    assert asyncio.run(_dump_after(once)) == asyncio.run(_dump_after(steps))


@settings(max_examples=15)
@given(st.permutations([0, 4, 2, 3, 5, 8]), st.integers(0, 6))
def test_a_replay_gives_the_store_of_a_decoder_that_was_always_right(order: list[int], when: int) -> None:
    """Two messages that an older decoder set aside, replayed at any moment among others: the store is the same."""

    async def later() -> tuple[object, ...]:
        with tempfile.TemporaryDirectory() as folder:
            async with house(Path(folder)) as home:
                for number in READABLE:
                    await home.plant(mqtt_frame(POOL[number]), is_retained=POOL[number].is_retained)
                for place, number in enumerate(order):
                    if place == when:
                        await home.replay_everything()
                    if number not in READABLE:
                        await home.feed(POOL[number])
                await home.replay_everything()
                return await home.dump()

    assert asyncio.run(_dump_after(order)) == asyncio.run(later())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_SPOILED = st.tuples(st.sampled_from(["record", "time", "measurements", "context", "epoch", "device"]), _JSON).map(
    lambda change: json.dumps(weigh_in() | {change[0]: change[1]}).encode()
)
_CHARS = st.sampled_from(["2a35", "2a1c", "2a5e", "2a9d", "2a9c", "2aa7", "2a18", "2a34", "adv.fe95", "x"])


@settings(max_examples=60)
@given(
    topic=st.sampled_from([f"gateway/{SCALE}/reading", f"gateway/{SCALE}/status", "gateway//reading", "#", ""])
    | st.text(max_size=20),
    payload=st.binary(max_size=64) | _JSON.map(lambda document: json.dumps(document).encode()) | _SPOILED,
    is_retained=st.booleans(),
    char=_CHARS,
)
def test_no_payload_raises(topic: str, payload: bytes, is_retained: bool, char: str) -> None:
    """Whatever comes becomes readings, a row or nothing; what is replayed likewise; no other way out."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with house(Path(folder)) as home:
                await home.feed(LoggedMessage(topic, payload, is_retained, 1, AT))
                mark = CgmCheckpoint(AT - timedelta(hours=1), 1).mark
                assert mark is not None
                await home.intake.submit(Batch(checkpoints=(Checkpoint(DeviceId("device"), mark.name, mark.state),)))
                await home.plant(bluetooth_frame(char, payload))
                outcomes = await home.replay_everything()
                assert len(outcomes) == len(await home.store.quarantine.rows(with_resolved=True))

    asyncio.run(run())


class _Faulty:
    """A redecoder with a fault that nobody foresaw, in one kind of payload."""

    def __init__(self, sound: Redecoder) -> None:
        self._sound = sound

    async def redecode(self, item: Quarantined) -> Redecoded:
        """As the one behind it, but for one payload."""
        if item.frame.payload == b"faulty":
            raise OverflowError("what nobody foresaw")
        return await self._sound.redecode(item)


async def test_one_payload_that_no_decoder_survives_does_not_stop_the_others(tmp_path: Path) -> None:
    """It stays as it was, and is told; the rows after it are read."""
    async with house(tmp_path) as home:
        await home.plant(replace(mqtt_frame(message(weigh_in())), payload=b"faulty"))
        await home.plant(mqtt_frame(message(weigh_in())))
        sound = home.redecoders.find(mqtt_frame(message(weigh_in())))
        assert sound is not None
        home.redecoders = Redecoders()
        home.redecoders.register(SourceKind.MQTT, _Faulty(sound))
        outcomes = await home.replay_everything()
        assert [(1, ReplayOutcome.WANTING), (2, ReplayOutcome.READ)] == [(one.number, one.outcome) for one in outcomes]
        assert "nobody foresaw" not in outcomes[0].detail
        assert [Decimal("71.2")] == [reading.value for reading in await home.readings()]
        (left,) = await home.store.quarantine.rows()
        assert (1, OLD_DECODER) == (left.number, left.item.detail)
