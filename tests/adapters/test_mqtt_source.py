from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog
from mqtt_kit import MemoryIntake, StillClock, mqtt_settings, reading_json, running, secret_file

from gateway.adapters.sources.mqtt import source as source_module
from gateway.adapters.sources.mqtt.client import MqttConnection, MqttUnavailable
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.model import DeviceId, QuarantineReason, SourceKind
from gateway.sandbox.broker import Broker, BrokerTls, run_mosquitto
from gateway.sandbox.mqtt_scale import MqttScale

SCALE = DeviceId("scale-1")
TOPIC = "gateway/scale-1/reading"
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(source_module, "_LONGEST_RETRY_S", 0.2)
    monkeypatch.setattr(source_module, "_LONGEST_STORE_RETRY_S", 0.1)
    monkeypatch.setattr(source_module, "_ATTENTION_RETRY_S", 0.1)


@pytest.fixture
def events() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def publish(broker: Broker, *payloads: bytes, topic: str = TOPIC, retain: bool = False) -> None:
    """Publish as another client; returns when the broker has everything."""
    async with MqttScale(DeviceId("x"), host=broker.host, port=broker.port, topic_root="elsewhere") as scale:
        for payload in payloads:
            await scale.publish(topic, payload, retain=retain)


async def until(condition: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await condition.wait()


async def session_of(broker: Broker, **changes: object) -> None:
    """Begin the gateway's session, so that the broker keeps what comes."""
    settings = mqtt_settings(broker, **changes)
    connection = await MqttConnection.open(settings, [TOPIC.replace(SCALE, "+")], lambda _c, _m: None)
    await connection.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_reading_arrives(tmp_path: Path, protocol: Literal["5", "3.1.1"]) -> None:
    """With either protocol version a published weigh-in is stored with its payload and then acknowledged."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker, protocol=protocol), intake) as source:
        await publish(broker, reading_json("r1"))
        await intake.until(readings=1)
        (batch,) = intake.batches
        assert (SCALE, SourceKind.MQTT, TOPIC, reading_json("r1"), 0) == (
            batch.frames[0].device_id,
            batch.frames[0].source,
            batch.frames[0].channel,
            batch.frames[0].payload,
            batch.readings[0].frame,
        )
        await intake.until(sightings=1)
        assert (1, SCALE) == (source.counters.received, intake.sightings[0].device_id)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_no_puback_before_the_commit(tmp_path: Path, protocol: Literal["5", "3.1.1"]) -> None:
    """A message whose commit has not returned comes again after a crash, marked as a duplicate; none is lost."""
    async with run_mosquitto(tmp_path) as broker:
        settings = mqtt_settings(broker, protocol=protocol)
        held = MemoryIntake()
        held.gate.clear()
        async with running(settings, held):
            await publish(broker, reading_json("r1"), reading_json("r2"), reading_json("r3"))
            await held.until(offered=3)
        assert set() == held.records
        intake = MemoryIntake()
        async with running(settings, intake) as source:
            await intake.until(readings=3)
            assert ({"r1", "r2", "r3"}, 3) == (intake.records, source.counters.redelivered)


async def test_acknowledged_is_not_redelivered(tmp_path: Path) -> None:
    """After the PUBACK the broker forgets the message: the next run receives only what is new."""
    async with run_mosquitto(tmp_path) as broker:
        first = MemoryIntake()
        async with running(mqtt_settings(broker), first) as source:
            await publish(broker, reading_json("r1"))
            await first.until(readings=1, sightings=1)
            await publish(broker, reading_json("r2"))
            await first.until(readings=2)
            assert source.counters.acknowledged >= 1
        second = MemoryIntake()
        async with running(mqtt_settings(broker), second) as source:
            await publish(broker, reading_json("r3"))
            await second.until(readings=1)
            assert "r1" not in second.records


async def test_store_away_then_back(tmp_path: Path) -> None:
    """While the store cannot commit nothing is acknowledged; when it can, the same messages are stored once each."""
    intake = MemoryIntake()
    intake.is_away = True
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake) as source:
        await publish(broker, reading_json("r1"), reading_json("r2"))
        await intake.until(offered=4)  # offered again after the first refusals
        assert (0, set()) == (source.counters.acknowledged, intake.records)
        intake.is_away = False
        await intake.until(readings=2)
        assert {"r1", "r2"} == intake.records


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
async def test_broker_restart(tmp_path: Path, kill: bool, events: list[structlog.typing.EventDict]) -> None:
    """A restarted broker is found again, the session is resumed, and the loss is logged once."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake) as source:
        await publish(broker, reading_json("r1"))
        await intake.until(readings=1)
        await broker.restart(kill=kill)
        await publish(broker, reading_json("r2"))
        await intake.until(readings=2)
        assert ({"r1", "r2"}, 0) == (intake.records, source.counters.sessions_lost)
    assert 1 == sum(event["event"] == "mqtt.connection_lost" for event in events)


async def test_a_lost_session_is_noticed(tmp_path: Path, events: list[structlog.typing.EventDict]) -> None:
    """A broker that comes back without our session is reported, because messages may be gone."""
    intake = MemoryIntake()
    async with (
        run_mosquitto(tmp_path, persistent=False) as broker,
        running(mqtt_settings(broker), intake) as source,
    ):
        await broker.restart()
        await publish(broker, reading_json("r1"), reading_json("r2"), retain=True)
        await intake.until(readings=1)
        assert 1 == source.counters.sessions_lost
    assert "mqtt.session_lost" in [event["event"] for event in events]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_came_while_we_were_away(tmp_path: Path, protocol: Literal["5", "3.1.1"]) -> None:
    """The persistent session keeps messages published while the gateway is stopped."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        await session_of(broker, protocol=protocol)
        await publish(broker, *[reading_json(f"r{number}") for number in range(30)])
        await broker.restart()
        async with running(mqtt_settings(broker, protocol=protocol), intake):
            await intake.until(readings=30)
    assert {f"r{number}" for number in range(30)} == intake.records


async def test_one_wake_up_is_one_batch(tmp_path: Path) -> None:
    """A queue that arrives at once is committed in few batches, not one by one."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        await session_of(broker)
        await publish(broker, *[reading_json(f"r{number}") for number in range(200)])
        async with running(mqtt_settings(broker), intake):
            await intake.until(readings=200)
    assert len(intake.batches) <= 40


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_memory_is_bounded(tmp_path: Path, protocol: Literal["5", "3.1.1"]) -> None:
    """However long the queue and however slow the store, less than twice receive_maximum messages are held."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path, extra=["max_inflight_messages 0"]) as broker:
        await session_of(broker, protocol=protocol)
        await publish(broker, *[reading_json(f"r{number}") for number in range(300)])
        intake.gate.clear()
        settings = mqtt_settings(broker, protocol=protocol, receive_maximum=20)
        async with running(settings, intake) as source:
            await intake.until(offered=20)
            assert 20 <= source.counters.most_held < 40
            intake.gate.set()
            await intake.until(readings=300)
            assert source.counters.most_held < 40


async def test_retained_is_marked(tmp_path: Path) -> None:
    """A retained message is a statement about the past: marked, and no sign that the device lives."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        await publish(broker, reading_json("r1"), retain=True)
        async with running(mqtt_settings(broker), intake):
            await intake.until(readings=1)
            await publish(broker, reading_json("r2"))
            await intake.until(readings=2, sightings=1)
    marks = {reading.record_key: reading.provenance.is_retained for reading in intake.readings.values()}
    assert ({"r1": True, "r2": False}, 1) == (marks, len(intake.sightings))


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (TOPIC, b"not json", QuarantineReason.MALFORMED),
        (TOPIC, b"[" * 10_000, QuarantineReason.MALFORMED),
        (TOPIC, b"", QuarantineReason.MALFORMED),
        (TOPIC, reading_json("r", measurements=[{"metric": "body_mass", "value": 0, "unit": "kg"}]), "implausible"),
        (TOPIC, reading_json("r", device="scale-2"), QuarantineReason.IDENTITY_MISMATCH),
        (TOPIC, reading_json("r", person="camille"), QuarantineReason.IDENTITY_MISMATCH),
        (TOPIC, reading_json("r", schema="other/1"), QuarantineReason.UNSUPPORTED),
        (TOPIC, b" " * 70_000, QuarantineReason.TOO_LARGE),
        ("gateway/Scale 1/reading", reading_json("r"), QuarantineReason.MALFORMED),
        ("gateway/../reading", reading_json("r"), QuarantineReason.MALFORMED),
        ("gateway/scale-1/status", b"perhaps", QuarantineReason.MALFORMED),
    ],
)
async def test_bad_payloads_are_set_aside(tmp_path: Path, topic: str, payload: bytes, reason: str) -> None:
    """A payload that gives no reading is quarantined with its reason, acknowledged, and stops nobody else."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker:
        async with running(mqtt_settings(broker), intake):
            await publish(broker, payload, topic=topic)
            await publish(broker, reading_json("good"))
            await intake.until(quarantined=1, readings=1)
        (aside,) = intake.quarantined
        assert (reason, payload[:65_536], {"good"}) == (aside.reason, aside.frame.payload, intake.records)


async def test_ten_megabytes(tmp_path: Path) -> None:
    """A huge payload is set aside without its bulk, whatever the broker lets through."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake):
        await publish(broker, b"x" * 10_000_000, reading_json("r1"))
        await intake.until(quarantined=1, readings=1)
    assert (QuarantineReason.TOO_LARGE, 65_536) == (
        intake.quarantined[0].reason,
        len(intake.quarantined[0].frame.payload),
    )


async def test_logs_hold_no_payload(tmp_path: Path, events: list[structlog.typing.EventDict]) -> None:
    """Neither a reading nor a refused payload appears in the log."""
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake):
        await publish(broker, reading_json("r1"), b"Camille pese 71.35")
        await intake.until(readings=1, quarantined=1)
    assert not any("71.35" in str(event) for event in events)


async def test_status_and_battery(tmp_path: Path) -> None:
    """A status says that the device lives and how full its battery is; `offline` says nothing new."""
    intake = MemoryIntake()
    status = "gateway/scale-1/status"
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake):
        await publish(broker, b"offline", b'{"availability":"online","battery_percent":64,"model":"S1"}', topic=status)
        await intake.until(sightings=1)
    assert [(SCALE, 64, "S1")] == [(each.device_id, each.battery_percent, each.model) for each in intake.sightings]


async def test_sightings_are_few(tmp_path: Path) -> None:
    """A chatty device is noted once a minute."""
    intake, clock = MemoryIntake(), StillClock()
    async with run_mosquitto(tmp_path) as broker, running(mqtt_settings(broker), intake, clock=clock):
        for number in range(5):
            await publish(broker, reading_json(f"r{number}"))
        await intake.until(readings=5, sightings=1)
        assert 1 == len(intake.sightings)
        clock.seconds += 61
        await publish(broker, reading_json("r5"))
        await intake.until(readings=6, sightings=2)
        assert 2 == len(intake.sightings)


async def test_wrong_password_then_right(tmp_path: Path, events: list[structlog.typing.EventDict]) -> None:
    """Refused credentials need a person; once the file is right the source connects without a restart."""
    password = secret_file(tmp_path / "password", "wrong")
    async with run_mosquitto(tmp_path / "broker", users={"passerelle": "right"}) as broker:
        settings = mqtt_settings(broker, username="passerelle", password_file=password)
        with pytest.raises(MqttUnavailable, match="refused the connection") as refusal:
            await MqttConnection.open(settings, [TOPIC], lambda _c, _m: None)
        assert refusal.value.needs_attention
        async with running(settings, MemoryIntake(), wait=False) as source:
            password.write_text("right", encoding="utf-8")
            async with asyncio.timeout(20):
                await source.connected()
    assert not any("wrong" in str(event) for event in events)


async def test_two_gateways_with_one_client_id(tmp_path: Path) -> None:
    """Two gateways that take each other's session are told so and slow down, instead of fighting for ever."""
    contested = asyncio.Event()

    def watch(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        if event["event"] == "mqtt.session_contested":
            contested.set()
        raise structlog.DropEvent

    structlog.configure(processors=[watch])
    try:
        async with run_mosquitto(tmp_path) as broker:
            settings = mqtt_settings(broker)
            async with running(settings, MemoryIntake()), running(settings, MemoryIntake()):
                await until(contested)
    finally:
        structlog.reset_defaults()


def certificates(folder: Path, name: str) -> BrokerTls:
    """A CA and a certificate for `name`."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    folder.mkdir()
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA", "-days", "2")
    openssl("req", *new, "-keyout", "hub.key", "-out", "hub.csr", "-subj", "/CN=hub")
    (folder / "names").write_text(f"subjectAltName={name}\n", encoding="utf-8")
    openssl(
        *("x509", "-req", "-in", "hub.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "hub.crt", "-days", "2", "-extfile", "names"),
    )
    return BrokerTls(folder / "ca.crt", folder / "hub.crt", folder / "hub.key")


async def test_tls(tmp_path: Path) -> None:
    """With the right CA readings arrive over TLS; a broken-off and large exchange included."""
    tls = certificates(tmp_path / "pki", "IP:127.0.0.1")
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path / "broker", tls=tls, extra=["allow_zero_length_clientid true"]) as broker:
        settings = mqtt_settings(broker, tls=True, ca_file=tls.ca_file)
        async with running(settings, intake):
            await asyncio.to_thread(_publish_over_tls, broker, tls)
            await intake.until(readings=1)
    assert {"r1"} == intake.records


def _publish_over_tls(broker: Broker, tls: BrokerTls) -> None:
    subprocess.run(
        [
            *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "--cafile", str(tls.ca_file)),
            *("-q", "1", "-t", TOPIC, "-m", reading_json("r1").decode()),
        ],
        check=True,
    )


@pytest.mark.parametrize(("name", "use_own_ca"), [("IP:127.0.0.1", False), ("DNS:elsewhere", True)])
async def test_tls_refused(tmp_path: Path, name: str, use_own_ca: bool) -> None:
    """An unknown CA or another name is refused and said so; there is no way round it."""
    tls = certificates(tmp_path / "pki", name)
    async with run_mosquitto(tmp_path / "broker", tls=tls) as broker:
        settings = mqtt_settings(broker, tls=True, ca_file=tls.ca_file if use_own_ca else None)
        with pytest.raises(MqttUnavailable, match="certificate was refused") as refusal:
            await MqttConnection.open(settings, [TOPIC], lambda _c, _m: None)
    assert refusal.value.needs_attention
    assert isinstance(refusal.value.__cause__, ssl.SSLCertVerificationError)


async def test_no_broker() -> None:
    """Nobody listening is a passing fault, not a crash."""
    settings = mqtt_settings(Broker(Path(), 1, "mosquitto", Path()))
    with pytest.raises(MqttUnavailable, match="cannot be reached") as refusal:
        await MqttConnection.open(settings, [TOPIC], lambda _c, _m: None)
    assert not refusal.value.needs_attention


async def test_a_server_that_does_not_speak_mqtt() -> None:
    """Whatever answers on the port, the answer is MqttUnavailable."""

    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(10)
            writer.write(b"\x30\xff\xff\xff\xff\xff not MQTT")
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        broker = Broker(Path(), server.sockets[0].getsockname()[1], "mosquitto", Path())
        with pytest.raises(MqttUnavailable, match="does not speak MQTT"):
            await MqttConnection.open(mqtt_settings(broker), [TOPIC], lambda _c, _m: None)
        await until(ended)


async def test_shipped_configuration(tmp_path: Path) -> None:
    """With our mosquitto.conf and ACL a device writes its own topic only; sessions survive a kill."""
    template = (CONFIG / "mosquitto.conf").read_text(encoding="utf-8")
    for line in ("listener 1883 127.0.0.1", "password_file /etc/mosquitto/passerelle.passwords"):
        assert line in template
        template = template.replace(line, "")
    template = template.replace("acl_file /etc/mosquitto/passerelle.acl", "")
    template = template.replace("/var/lib/mosquitto/", f"{tmp_path}/broker/")
    users = {"passerelle": "p", "scale-1": "a", "scale-2": "b"}
    acl = (CONFIG / "mosquitto.acl").read_text(encoding="utf-8")
    intake = MemoryIntake()
    async with run_mosquitto(tmp_path / "broker", template=template, users=users, acl=acl) as broker:
        password = secret_file(tmp_path / "password", "p")
        async with running(mqtt_settings(broker, username="passerelle", password_file=password), intake) as source:
            for device, secret in (("scale-2", "b"), ("scale-1", "a")):
                async with MqttScale(
                    DeviceId(device), host=broker.host, port=broker.port, username=device, password=secret
                ) as scale:
                    await scale.publish(TOPIC, reading_json(device))
            await intake.until(readings=1)
            await broker.restart(kill=True)
            async with MqttScale(SCALE, host=broker.host, port=broker.port, username=SCALE, password="a") as scale:
                await scale.publish(TOPIC, reading_json("after"))
            await intake.until(readings=2)
            assert 0 == source.counters.sessions_lost
    assert {"scale-1", "after"} == intake.records


def test_publish_is_a_value() -> None:
    """A message can be shortened without touching the original."""
    message = Publish("t", b"abc", 1, 7, False, False)
    assert (b"a", b"abc") == (message._replace(payload=b"a").payload, message.payload)
