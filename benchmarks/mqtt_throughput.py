"""MQTT to disk: how close the gateway comes to the parts that it is made of.

    python benchmarks/mqtt_throughput.py [--count 50000] [--result benchmarks/results/mqtt_throughput.md]

Readings of 50 devices wait in the queue of a real mosquitto (QoS 1, persistent session); a receiver in a process of its
own connects and drains it. In one run, in turn and several rounds:

* bound A: paho alone, receives and acknowledges, in two forms (stock `loop`; `loop_read` until the socket is dry);
  beside it our connection, which leaves only the session to paho;
* bound B: the store alone, the same readings decoded beforehand and given from memory;
* the gateway: source, decoder, store, PUBACK after the commit.

Then the latency from publish to durable, with a publisher in another process, at a moderate rate and flat out.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.adapters.sources.mqtt import MqttSource
from gateway.adapters.sources.mqtt.client import MqttConnection
from gateway.adapters.sources.mqtt.packets import Publish
from gateway.adapters.stores.sqlite import SqliteStore
from gateway.clock import SystemClock
from gateway.devices.passerelle_json import DECODER, decode_reading_message
from gateway.model import Batch, Checkpoint, CommitReceipt, DeviceId, Provenance, RawFrame, Reading, SourceKind
from gateway.normalise.contact import Contact
from gateway.ports import DeviceSighting, ReadingStore
from gateway.sandbox.broker import run_mosquitto
from gateway.settings import MqttSettings

DEVICES = 50
ZONE = ZoneInfo("Europe/Paris")
TOPICS = ("gateway/+/reading", "gateway/+/status")
RECEIVERS = ("paho_stock", "paho_drained", "our_connection", "store_single", "store_grouped", "gateway")


def payload(sequence: int) -> tuple[str, bytes]:
    """Topic and reading number `sequence`; its record key carries the moment of publishing (ns, this machine)."""
    measured = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=sequence)
    record = {
        "record": f"{sequence}-{time.monotonic_ns()}",
        "time": measured.isoformat(),
        "measurements": [{"metric": "body_mass", "value": 60 + sequence % 4000 / 100, "unit": "kg"}],
    }
    return f"gateway/scale-{sequence % DEVICES}/reading", json.dumps(record, separators=(",", ":")).encode()


def paho_client(client_id: str, port: int, *, receive_maximum: int | None = None, window: int = 20) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        manual_ack=receive_maximum is not None,
    )
    client.max_inflight_messages_set(window)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if receive_maximum is not None:
        properties.SessionExpiryInterval = 3600
        properties.ReceiveMaximum = receive_maximum
    client.connect("127.0.0.1", port, clean_start=receive_maximum is None, properties=properties)
    return client


# --- publisher process ------------------------------------------------------------------------------------------------


def publish(
    port: int,
    count: int,
    rate: float,
    window: int,
    first: int,
    make: Callable[[int], tuple[str, bytes]] = payload,
) -> None:
    """Publish `count` readings with QoS 1, at `rate` per second (0: as fast as `window` unacknowledged ones allow)."""
    client = paho_client("publisher", port, window=window)
    client.loop_start()
    start = time.monotonic()
    last = None
    for number in range(count):
        if rate:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        else:
            while number - done(client) > window:
                time.sleep(0.0005)
        last = client.publish(*make(first + number), qos=1)
    if last is not None:
        last.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def done(client: Client) -> int:
    """Messages acknowledged by the broker so far."""
    return client._last_mid - len(client._out_messages)


# --- receiver process -------------------------------------------------------------------------------------------------


class Memory:
    """An intake that keeps nothing: for finding out what the store adds."""

    async def submit(self, batch: Batch) -> CommitReceipt:
        await asyncio.sleep(0)
        return CommitReceipt(added=len(batch.readings))

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return None

    async def sighted(self, sighting: DeviceSighting) -> None:
        return None


class Meter:
    """Counts readings that are durable, and how long each took since it was published."""

    def __init__(self, submit: Callable[[Batch], Awaitable[CommitReceipt]], count: int) -> None:
        self._submit = submit
        self._count = count
        self.latencies_ns: list[int] = []
        self.batches = 0
        self.first = 0.0
        self.last = 0.0
        self.finished = asyncio.Event()
        self.seen = 0

    async def submit(self, batch: Batch) -> CommitReceipt:
        self.first = self.first or time.perf_counter()
        receipt = await self._submit(batch)
        now = time.monotonic_ns()
        self.latencies_ns += [now - int(each.record_key.partition("-")[2]) for each in batch.readings]
        self.batches += 1
        self.seen += len(batch.readings)
        if self.seen >= self._count:
            self.last = time.perf_counter()
            self.finished.set()
        return receipt

    async def checkpoint(self, device_id: DeviceId, name: str) -> Checkpoint | None:
        return None

    async def sighted(self, sighting: DeviceSighting) -> None:
        return None


def report(seconds: float, count: int, latencies_ns: list[int] | None = None, batches: int = 0) -> None:
    """One JSON line on stdout for the parent."""
    figures: dict[str, float] = {
        "rate": count / seconds,
        "cpu_us": time.process_time() / count * 1e6,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if latencies_ns:
        ordered = sorted(latencies_ns)
        figures["p50_ms"] = ordered[len(ordered) // 2] / 1e6
        figures["p99_ms"] = ordered[len(ordered) * 99 // 100] / 1e6
        figures["per_batch"] = count / max(1, batches)
    print(json.dumps(figures), flush=True)


def receive_paho(port: int, count: int, receive_maximum: int, *, drained: bool) -> None:
    """Bound A with a socket that paho reads itself."""
    client = paho_client("passerelle", port, receive_maximum=receive_maximum)
    seen = 0
    first = 0.0

    def on_message(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        nonlocal seen, first
        first = first or time.perf_counter()
        seen += 1
        client.ack(message.mid, 1)

    client.on_message = on_message
    if drained:
        sock: Any = client.socket()
        while seen < count:
            ready, _, _ = select.select([sock], [sock] if client.want_write() else [], [], 1.0)
            before = -1
            while ready and before != seen:
                before = seen
                client.loop_read()
            client.loop_write()
            client.loop_misc()
    else:
        while seen < count:
            client.loop(1.0)
    report(time.perf_counter() - first, count)
    client.disconnect()


async def receive_ours(settings: MqttSettings, count: int) -> None:
    """Our connection: receive and acknowledge, nothing else."""
    finished = asyncio.Event()
    seen = 0
    first = 0.0

    def deliver(connection: MqttConnection, messages: list[Publish]) -> None:
        nonlocal seen, first
        first = first or time.perf_counter()
        seen += len(messages)
        connection.acknowledge([message.mid for message in messages])
        if seen >= count:
            finished.set()

    connection = await MqttConnection.open(settings, TOPICS, deliver)
    await finished.wait()
    report(time.perf_counter() - first, count)
    await connection.close()


def batches_of(count: int, size: int) -> Iterator[Batch]:
    """The same readings as over MQTT, decoded."""
    provenance = Provenance(SourceKind.MQTT, DECODER)
    readings: list[Reading] = []
    frames: list[RawFrame] = []
    for sequence in range(count):
        topic, body = payload(sequence)
        contact = Contact(DeviceId(f"scale-{sequence % DEVICES}"), ZONE, datetime.now(UTC), SourceKind.MQTT)
        frames.append(RawFrame(contact.device_id, SourceKind.MQTT, topic, body, contact.received_at))
        readings += decode_reading_message(body, contact, provenance, frame=len(frames) - 1).readings
        if len(frames) == size or sequence == count - 1:
            yield Batch(tuple(readings), tuple(frames))
            readings, frames = [], []


async def store_alone(store: ReadingStore, count: int, size: int, at_once: int) -> None:
    """Bound B: batches of `size` readings, `at_once` of them under way."""
    waiting = list(batches_of(count, size))
    gc.collect()
    feed = iter(waiting)
    start = time.perf_counter()

    async def worker() -> None:
        for batch in feed:
            await store.commit(batch)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(worker())
    report(time.perf_counter() - start, count)


async def through_gateway(
    settings: MqttSettings, submit: Callable[[Batch], Awaitable[CommitReceipt]], count: int, *, is_live: bool
) -> None:
    """The whole path; timed from before the connection, or (live) from the first commit."""
    source = MqttSource(settings, clock=SystemClock(), zone_of=lambda _: ZONE)
    meter = Meter(submit, count)
    meter.first = 0.0 if is_live else time.perf_counter()
    run = asyncio.ensure_future(source.run(meter))
    waiting = asyncio.ensure_future(meter.finished.wait())
    await source.connected()
    print("ready", file=sys.stderr, flush=True)
    await asyncio.wait([run, waiting], return_when=asyncio.FIRST_COMPLETED)
    report(meter.last - meter.first, count, meter.latencies_ns, meter.batches)
    run.cancel()
    await asyncio.wait([run])


async def receive(kind: str, port: int, count: int, receive_maximum: int, folder: Path, *, is_live: bool) -> None:
    """Run one receiver in this process."""
    settings = MqttSettings(enabled=True, host="127.0.0.1", port=port, tls=False, receive_maximum=receive_maximum)
    gc.collect()
    gc.freeze()
    if kind == "our_connection":
        await receive_ours(settings, count)
    elif kind == "gateway_memory":
        await through_gateway(settings, Memory().submit, count, is_live=is_live)
    else:
        async with SqliteStore.open(folder / f"{kind}-{os.getpid()}.db", clock=SystemClock()) as store:
            readings = store.readings
            if kind == "gateway":
                await through_gateway(settings, readings.commit, count, is_live=is_live)
            else:
                single = kind == "store_single"
                await store_alone(readings, count, 1 if single else 250, 500 if single else 3)


# --- parent -----------------------------------------------------------------------------------------------------------


def begin_session(port: int, receive_maximum: int) -> None:
    """Make the broker keep what comes for the receiver."""
    client = paho_client("passerelle", port, receive_maximum=receive_maximum)
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.loop(0.2)
    client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in TOPICS])
    while not subscribed:
        client.loop(0.2)
    client.disconnect()


async def child(*arguments: str, wait_ready: bool = False) -> asyncio.subprocess.Process:
    """This file again, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    if wait_ready and process.stderr is not None:
        while b"ready" not in (line := await process.stderr.readline()):
            if not line:
                raise SystemExit("the receiver ended before it was ready")
    return process


async def finish(process: asyncio.subprocess.Process) -> dict[str, float]:
    """Wait for a child; its JSON line, if it has one."""
    output, errors = await process.communicate()
    if process.returncode:
        raise SystemExit(errors.decode())
    figures: dict[str, float] = json.loads(output.splitlines()[-1]) if output.strip() else {}
    return figures


async def drain(kind: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Queue everything, then let one receiver drain it."""
    count = str(options.count)
    if kind.startswith("store"):
        arguments = ("1", count, str(options.receive_maximum), str(folder), "drain")
        return await finish(await child("receive", kind, *arguments))
    async with run_mosquitto(folder / kind, persistent=False) as broker:
        begin_session(broker.port, options.receive_maximum)
        await finish(await child("publish", str(broker.port), count, "0", "1000", "0"))
        arguments = (str(broker.port), count, str(options.receive_maximum), str(folder), "drain")
        receiver = await child("receive", kind, *arguments)
        return await finish(receiver)


async def live(options: argparse.Namespace, folder: Path, count: int, rate: int, *, durable: bool) -> dict[str, float]:
    """The gateway, while another process publishes."""
    async with run_mosquitto(folder / f"live-{rate}-{durable}", persistent=durable) as broker:
        begin_session(broker.port, options.receive_maximum)
        arguments = (str(broker.port), str(count), str(options.receive_maximum), str(folder), "live")
        receiver = await child("receive", "gateway", *arguments, wait_ready=True)
        await finish(await child("publish", str(broker.port), str(count), str(rate), "500", "0"))
        return await finish(receiver)


async def measure(options: argparse.Namespace) -> str:
    """Everything, as a Markdown page."""
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in options.kinds}
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        for number in range(options.rounds):
            for kind in options.kinds:
                rounds[kind].append(await drain(kind, options, folder))
                print(f"round {number + 1} {kind}: {rounds[kind][-1]}", file=sys.stderr, flush=True)
        lives = {}
        if "gateway" in options.kinds:
            for label, count, rate, durable in (
                ("500/s", 5000, 500, False),
                ("500/s, broker saving every change", 5000, 500, True),
                ("flat out", options.count, 0, False),
                ("flat out, broker saving every change", options.count // 5, 0, True),
            ):
                lives[label] = await live(options, folder, count, rate, durable=durable)
                print(f"live {label}: {lives[label]}", file=sys.stderr, flush=True)
    return page(options, rounds, lives)


NAMES = {
    "paho_stock": "A paho receives and acknowledges, `loop`",
    "paho_drained": "A paho, `loop_read` until the socket is dry",
    "our_connection": "our connection receives and acknowledges",
    "store_single": "B store alone, batches of 1, 500 at once",
    "store_grouped": "B store alone, batches of 250, 3 at once",
    "gateway_memory": "gateway without a disk (decode, no store)",
    "gateway": "**gateway: MQTT -> disk -> PUBACK**",
}


def spread(rounds: list[dict[str, float]]) -> str:
    """Slowest and fastest round."""
    rates = [each["rate"] for each in rounds]
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def page(
    options: argparse.Namespace, rounds: dict[str, list[dict[str, float]]], lives: dict[str, dict[str, float]]
) -> str:
    """The result as Markdown."""
    middle = {
        kind: {key: statistics.median(each[key] for each in figures) for key in figures[0]}
        for kind, figures in rounds.items()
    }
    lines = [
        "# MQTT to disk",
        "",
        f"`python benchmarks/mqtt_throughput.py --count {options.count} --rounds {options.rounds}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores {platform.machine()}, "
        f"Python {platform.python_version()}, mosquitto on the same machine. Medians of {options.rounds} rounds; "
        f"{options.count} readings of {DEVICES} devices queued in the broker, QoS 1, "
        f"receive_maximum {options.receive_maximum}.",
        "",
        "| path | readings/s | slowest to fastest round | CPU us/reading | peak RSS MB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {NAMES[kind]} | {figures['rate']:,.0f} | {spread(rounds[kind])} | {figures['cpu_us']:.0f} "
        f"| {figures['rss_mb']:.0f} |"
        for kind, figures in middle.items()
    ]
    if "gateway" in middle:
        a = max(middle[kind]["rate"] for kind in middle if kind.startswith("paho"))
        b = max(middle[kind]["rate"] for kind in middle if kind.startswith("store"))
        share = middle["gateway"]["rate"] / min(a, b)
        lines += [
            "",
            f"Bound A (best form) {a:,.0f}/s, bound B (best form) {b:,.0f}/s: the gateway reaches **{share:.0%} of the "
            f"smaller one** and {middle['gateway']['rate'] / b:.0%} of the store alone, with "
            f"{middle['gateway']['per_batch']:.0f} readings per commit.",
            "",
            "Latency from the publisher's call to the commit, publisher in another process:",
            "",
            "| load | readings/s | p50 ms | p99 ms | readings per commit | peak RSS MB |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {label} | {each['rate']:,.0f} | {each['p50_ms']:.1f} | {each['p99_ms']:.1f} | {each['per_batch']:.0f} "
            f"| {each['rss_mb']:.0f} |"
            for label, each in lives.items()
        ]
        lines += [
            "",
            "CPU and RSS are of the receiving process, imports included. Other work ran on the machine: compare within "
            "a column and look at the spread. Flat out, publisher, broker and gateway share the two cores. A broker "
            "that saves every change (`autosave_interval 1`) is itself the limit there: it writes its whole "
            "queue each time.",
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Dispatch: parent, publisher or receiver."""
    if sys.argv[1:2] == ["publish"]:
        port, count, rate, window, first = sys.argv[2:7]
        publish(int(port), int(count), float(rate), int(window), int(first))
        return
    if sys.argv[1:2] == ["receive"]:
        kind, port, count, receive_maximum, folder, mode = sys.argv[2:8]
        if kind in ("paho_stock", "paho_drained"):
            receive_paho(int(port), int(count), int(receive_maximum), drained=kind == "paho_drained")
        else:
            is_live = mode == "live"
            asyncio.run(receive(kind, int(port), int(count), int(receive_maximum), Path(folder), is_live=is_live))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--receive-maximum", type=int, default=2000)
    parser.add_argument("--kinds", nargs="+", default=list(RECEIVERS), choices=list(NAMES))
    parser.add_argument("--folder", type=Path, default=None, help="for the databases; default: /tmp")
    parser.add_argument("--result", type=Path, default=None, help="write the page there instead of stdout")
    options = parser.parse_args()
    text = asyncio.run(measure(options))
    if options.result is None:
        print(text)
    else:
        options.result.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
