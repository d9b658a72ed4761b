"""One scale, heard by our radio and by another program's that publishes on MQTT: one weigh-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake, make_device

from gateway.adapters.sources.bluetooth import BluetoothSource
from gateway.adapters.sources.bluetooth.material import Material
from gateway.adapters.sources.mqtt import MqttSource
from gateway.broadcasts import Broadcasts
from gateway.devices.advert import Advert
from gateway.devices.drivers import load_drivers
from gateway.model import DeviceId, DeviceKind, Metric, SourceKind
from gateway.ports import Source
from gateway.sandbox.broadcast_frames import encode_mi_body_composition
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.sandbox.peripherals import VirtualBroadcaster
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.sealed_frames import encode_s400
from gateway.settings import BluetoothSettings, MqttSettings

ADDRESS, NEIGHBOUR = "C0:FF:EE:00:00:11", "C0:FF:EE:00:00:12"
SCALE = DeviceId("device-1")
KEY = bytes(range(16))
ALICE, BOB = Decimal("64.3"), Decimal("81.2")
STAMP = NOW.astimezone(PARIS).replace(tzinfo=None)


class Known:
    """The one enrolled address."""

    async def device_of(self, address: str) -> DeviceId | None:
        return SCALE if address == ADDRESS else None

    async def address_of(self, device_id: DeviceId) -> str | None:
        return ADDRESS if device_id == SCALE else None


def make_broadcasts(*, key: bytes | None = KEY) -> Broadcasts:
    broadcasts = Broadcasts(
        lambda device_id, zone, source: Material(device_id, zone, source=source),
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        drivers=load_drivers(),
        retry_s=0.05,
    )
    broadcasts.watch(make_device(ADDRESS, DeviceKind.BODY_COMPOSITION_ANALYSER), key)
    return broadcasts


def speaking(broker: Broker, dialect: str) -> MqttSettings:
    return MqttSettings.model_validate(
        {"enabled": True, "host": "127.0.0.1", "port": broker.port, "tls": False, "dialects": [{"dialect": dialect}]}
    )


def weigh_in(counter: int, minutes: int = 0, mass: Decimal = ALICE) -> list[bytes]:
    at = NOW + timedelta(minutes=minutes)
    return [
        encode_s400(KEY, ADDRESS, counter, at, mass_kg=mass, heart_rate_per_min=72, impedance_ohm=Decimal("512.3")),
        encode_s400(KEY, ADDRESS, counter + 1, at, impedance_ohm=Decimal("470.1")),
    ]


def published(
    payload: bytes, uuid: str = "0xfe95", address: str = ADDRESS, topic: str = "undecoded", **more: object
) -> tuple[str, bytes]:
    """As OpenMQTTGateway says it."""
    document = {"id": address, "mac_type": 1, "servicedata": payload.hex(), "servicedatauuid": uuid, "rssi": -60}
    return f"home/OMG_ESP32_BLE/BTtoMQTT/{topic}", json.dumps(document | more).encode()


def advert_of(service: str, payload: bytes) -> Advert:
    return Advert(services=frozenset({service}), service_data={service: payload})


async def publish(broker: Broker, *messages: tuple[str, bytes], is_retained: bool = False) -> None:
    for topic, payload in messages:
        words = ["-q", "0", "-t", topic, "-m", payload.decode(), *(["-r"] if is_retained else [])]
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), *words
        )
        assert 0 == await process.wait()


@asynccontextmanager
async def at_work(
    broker: Broker, broadcasts: Broadcasts, intake: MemoryIntake, dialect: str = "raw_adverts", *more: BluetoothSource
) -> AsyncIterator[None]:
    source = MqttSource(
        speaking(broker, dialect),
        clock=FrozenClock(),
        zone_of=lambda _device_id: PARIS,
        addresses=Known(),
        on_advert=broadcasts.hear_from_elsewhere,
    )
    async with asyncio.TaskGroup() as tasks:
        sources: list[Source] = [broadcasts, source, *more]
        runs = [tasks.create_task(each.run(intake)) for each in sources]
        async with asyncio.timeout(30):
            await source.connected()
        yield
        for run in runs:
            run.cancel()


async def test_raw_advertisements_are_decoded_as_our_own(tmp_path: Path) -> None:
    """Encrypted packets of an enrolled scale, on the undecoded topic and on its own: one whole weigh-in, over MQTT."""
    intake = MemoryIntake()
    first, second = weigh_in(10)
    async with run_mosquitto(tmp_path) as broker, at_work(broker, make_broadcasts(), intake):
        own = published(second, topic=ADDRESS.replace(":", ""))
        await publish(broker, published(first), own, published(first), published(second))
        await publish(broker, published(weigh_in(12, 5, BOB)[0]))
        await intake.until(lambda: len(intake.readings) == 7)
    metrics = [reading.metric for reading in intake.readings.values()]
    assert 2 == metrics.count(Metric.BODY_MASS)
    assert {SourceKind.MQTT} == {reading.provenance.source for reading in intake.readings.values()}
    assert {(SourceKind.MQTT, "adv.fe95")} == {(frame.source, frame.channel) for frame in intake.frames}
    assert 3 == len([batch for batch in intake.batches if batch.readings])


async def test_heard_over_bluetooth_and_over_mqtt_is_one_weigh_in(tmp_path: Path) -> None:
    """The same packets by both ways, one way ahead of the other, also after a restart: each reading once."""
    intake = MemoryIntake()
    first, second = weigh_in(10)
    async with VirtualAir() as air, run_mosquitto(tmp_path) as broker:
        scale = VirtualBroadcaster(air, ADDRESS, "MJTZC01YM", 0xFE95)
        await scale.start()
        for _ in range(2):
            broadcasts = make_broadcasts()
            bluetooth = BluetoothSource(
                BluetoothSettings(enabled=True, connect_timeout_s=5.0, retry_s=0.05, revisit_s=0.05),
                [make_device(ADDRESS, DeviceKind.BODY_COMPOSITION_ANALYSER)],
                zone_of=lambda _device_id: PARIS,
                clock=FrozenClock(),
                drivers=load_drivers(),
                keys={SCALE: KEY},
                broadcasts=broadcasts,
                scanner_backend=air.scanner_backend,
                client_backend=air.client_backend,
            )
            async with at_work(broker, broadcasts, intake, "raw_adverts", bluetooth):
                await scale.tell_each([first])
                await publish(broker, published(first), published(second))
                await scale.tell_each([second, first])
                await intake.until(lambda: len(intake.readings) >= 4)
        async with at_work(broker, make_broadcasts(), intake):
            await publish(broker, published(weigh_in(20, 9, BOB)[0]))
            await intake.until(lambda: len(intake.readings) >= 7)
    masses = [reading for batch in intake.batches for reading in batch.readings if reading.metric is Metric.BODY_MASS]
    assert [ALICE, BOB] == [reading.value for reading in masses]
    assert [] == intake.quarantined


async def test_scale_in_the_clear_over_both_ways_is_one_weigh_in() -> None:
    """A Xiaomi scale of the older kind has one listener too: its own time names the weigh-in."""
    intake, broadcasts = MemoryIntake(), make_broadcasts(key=None)
    told = [encode_mi_body_composition(ALICE, STAMP), encode_mi_body_composition(ALICE, STAMP, impedance_ohm=487)]
    driver = next(driver for driver in load_drivers() if driver.name == "xiaomi.body_composition")
    run = asyncio.create_task(broadcasts.run(intake))
    for payload in told:
        advert = advert_of("181b", payload)
        broadcasts.hear(ADDRESS, driver, advert)
        assert broadcasts.hear_from_elsewhere(ADDRESS.lower(), advert, NOW + timedelta(seconds=2))
    await intake.until(lambda: len(intake.readings) == 2)
    run.cancel()
    await asyncio.wait([run])
    assert 2 == len([batch for batch in intake.batches if batch.readings])


async def test_what_sender_and_we_decode_is_one_weigh_in(tmp_path: Path) -> None:
    """A message with the decoded values and the advertisement: ours counts, the sender's would be a second weigh-in."""
    intake = MemoryIntake()
    payload = encode_mi_body_composition(ALICE, STAMP)
    decoded: dict[str, Any] = {
        "type": "SCALE",
        "model_id": "XMTZC05HM",
        "unit": "kg",
        "weight": 64.3,
        "weighing_mode": "person",
    }
    topic = ADDRESS.replace(":", "")
    async with run_mosquitto(tmp_path) as broker, at_work(broker, make_broadcasts(), intake, "theengs"):
        await publish(broker, published(payload, "0x181b", topic=topic, **decoded))
        later = encode_mi_body_composition(BOB, STAMP + timedelta(minutes=5))
        await publish(broker, published(later, "0x181b"))
        await intake.until(lambda: len(intake.readings) == 2)
    assert {"broadcast.scale"} == {reading.provenance.decoder for reading in intake.readings.values()}


async def test_strangers_kept_and_contradicted_messages_give_nothing(tmp_path: Path) -> None:
    """Another address; one that the broker kept; a topic of one device with the payload of another; no key."""
    intake = MemoryIntake()
    first, _ = weigh_in(10)
    broadcasts = make_broadcasts()
    async with run_mosquitto(tmp_path) as broker:
        await publish(broker, published(first), is_retained=True)
        async with at_work(broker, broadcasts, intake):
            await publish(broker, published(first, address=NEIGHBOUR))
            await publish(broker, published(first, topic=NEIGHBOUR.replace(":", "")))
            await publish(broker, published(weigh_in(12, 5, BOB)[0]))
            await intake.until(lambda: len(intake.readings) == 3)
    assert {BOB} == {reading.value for reading in intake.readings.values() if reading.metric is Metric.BODY_MASS}
    locked = make_broadcasts(key=None)
    assert not locked.hear_from_elsewhere(ADDRESS, advert_of("fe95", first), NOW)
