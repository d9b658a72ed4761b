"""The demonstration: the real gateway, with virtual devices, a real broker and a sandbox health space around it.

Only what surrounds the gateway is made up: it runs as `gateway run` would, from a configuration of its own. Everything
is kept in one folder, so that a second start continues.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.app import BluetoothBackends, Running, run_gateway
from gateway.clock import SystemClock
from gateway.demo_devices import DemoDevices
from gateway.errors import ConfigurationError
from gateway.model import (
    Consent,
    DataType,
    DecisionSource,
    DepartureState,
    DestinationId,
    DeviceId,
    PersonId,
    StoredWeighIn,
)
from gateway.ports import Registry
from gateway.sandbox.broker import Broker, run_mosquitto
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.space import RunningSpace, run_space
from gateway.sandbox.space_config import SandboxAccount, SandboxConfig
from gateway.settings import Settings

__all__ = ["run_demo"]

_ZONE = ZoneInfo("Europe/Paris")
_HISTORY_DAYS = 15
_SOLUTION, _AUTHORITY = "2.999.5.1", "2.999.5.1.1"
_SPACE = DestinationId("mes-sandbox")
_CAMILLE, _DOMINIQUE = PersonId("camille"), PersonId("dominique")
_STEPS = 5

Say = Callable[[str], None]


async def run_demo(folder: Path, *, port: int = 8080, seconds: float | None = None, say: Say | None = None) -> None:
    """Run until cancelled, or for `seconds`.

    Args:
        folder: keeps database, broker, sandbox and what the virtual devices have measured.
        port: of the page, on this machine only; 0 takes a free one.
        seconds: None: for ever.
        say: where progress goes, a line at a time; default: standard output.
    """
    tell = say or _print
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _run(folder, port, tell)
    except asyncio.CancelledError:
        tell("Stopped. Everything is kept; start again to continue.")
        raise
    tell("The time is over. Everything is kept; start again to continue.")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _run(folder: Path, port: int, say: Say) -> None:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True, mode=0o700)
    known = (folder / "passerelle.db").exists()
    say("Passerelle, demonstration. Everything stays on this machine; nothing here is a real person.")
    if known:
        say(f"Continuing from what is stored in {folder}.")
    keys = await asyncio.to_thread(_secrets, folder)
    born = await asyncio.to_thread(_born, folder)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(
            run_mosquitto(
                folder / "broker",
                users={"passerelle": keys["mqtt-gateway"], "scale-d": keys["mqtt-scale"]},
                acl="user passerelle\ntopic read gateway/#\n\nuser scale-d\ntopic write gateway/scale-d/#\n",
            )
        )
        say(f"[1/{_STEPS}] MQTT broker: mosquitto on 127.0.0.1:{broker.port}, with a password for each client.")
        space = await stack.enter_async_context(run_space(_sandbox(folder, keys)))
        say(f"[2/{_STEPS}] Health space: a sandbox at {space.url} that checks what it gets as the real one would.")
        air = await stack.enter_async_context(VirtualAir())
        devices = DemoDevices(
            folder / "devices.json", air, born, _ZONE, int(keys["scale-code"]), int(keys["meter-passkey"])
        )
        await devices.power_on()
        say(f"[3/{_STEPS}] Bluetooth: a virtual glucose meter, a glucose sensor and a scale, on a radio in memory.")
        settings = _settings(folder, port, broker, space)
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run_gateway(
                    settings,
                    backends=BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds),
                    started=ready.set_result,
                ),
                name="gateway",
            )
            running = await ready
            say(f"[4/{_STEPS}] The gateway runs: Bluetooth and MQTT in, {settings.store.path.name} as its store.")
            if not known:
                await _agree(running.registry, born)
            say(f"[5/{_STEPS}] Consent: Camille agreed that glucose and weight may leave. Dominique did not agree.")
            say("")
            say(f"ready  ->  {running.url}      (Ctrl-C ends it)")
            digits = keys["meter-passkey"]
            say(f"try    ->  {running.url}/bluetooth   a meter waits to be paired; it shows {digits[:3]} {digits[3:]}")
            say("")
            tasks.create_task(_narrate(running, space, say), name="demo.narrator")
            tasks.create_task(devices.live(broker, keys["mqtt-scale"]), name="demo.devices")


def _secrets(folder: Path) -> dict[str, str]:
    """Made once, each in a file of its own that only this user can read."""
    made = {}
    place = folder / "secrets"
    place.mkdir(exist_ok=True, mode=0o700)
    for name in ("mqtt-gateway", "mqtt-scale", "space-camille", "space-dominique", "scale-code", "meter-passkey"):
        path = place / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(_made(name) + "\n", encoding="utf-8")
        made[name] = path.read_text(encoding="utf-8").strip()
    return made


def _made(name: str) -> str:
    if name == "scale-code":
        return str(secrets.randbelow(10_000))
    if name == "meter-passkey":
        return f"{secrets.randbelow(900_000) + 100_000}"
    return secrets.token_urlsafe(24)


def _born(folder: Path) -> datetime:
    """When the story of the virtual devices begins: local midnight a fortnight before the first start, UTC."""
    path = folder / "story.json"
    if not path.exists():
        day = datetime.now(UTC).astimezone(_ZONE).date() - timedelta(days=_HISTORY_DAYS)
        born = datetime.combine(day, time(), _ZONE).astimezone(UTC)
        path.write_text(json.dumps({"born": born.isoformat()}), encoding="utf-8")
    try:
        return datetime.fromisoformat(json.loads(path.read_text(encoding="utf-8"))["born"])
    except (ValueError, KeyError) as error:
        raise ConfigurationError([("", f"{path} is damaged; remove the folder {folder} to begin anew")]) from error


def _sandbox(folder: Path, keys: dict[str, str]) -> SandboxConfig:
    return SandboxConfig(
        _SOLUTION,
        _AUTHORITY,
        (
            SandboxAccount("hub-camille", keys["space-camille"], "idpe-camille"),
            SandboxAccount("hub-dominique", keys["space-dominique"], "idpe-dominique"),
        ),
        folder / "space.jsonl",
    )


def _settings(folder: Path, port: int, broker: Broker, space: RunningSpace) -> Settings:
    secret = folder.resolve() / "secrets"
    return Settings.model_validate(
        {
            "gateway": {"time_zone": _ZONE.key, "clock": "trusted", "log_level": "warning"},
            "store": {"path": folder / "passerelle.db"},
            "web": {"port": port},
            "bluetooth": {"enabled": True, "revisit_s": 4, "retry_s": 4, "quiet_s": 1.5},
            "mqtt": {
                "enabled": True,
                "host": broker.host,
                "port": broker.port,
                "tls": False,
                "username": "passerelle",
                "password_file": secret / "mqtt-gateway",
            },
            "people": [
                {"id": _CAMILLE, "name": "Camille"},
                {"id": _DOMINIQUE, "name": "Dominique"},
            ],
            "devices": [
                {**device, "scale_consent_file": secret / "scale-code"} if "scale_user" in device else device
                for device in DemoDevices.CONFIGURATION
            ],
            "destinations": [
                {
                    "id": _SPACE,
                    "name": "Espace santé (bac à sable)",
                    "base_url": space.url,
                    "token_url": f"{space.url}/token",
                    "solution_oid": _SOLUTION,
                    "patient_authority_oid": _AUTHORITY,
                    "accounts": [
                        {
                            "person": person,
                            "patient_id": f"idpe-{person}",
                            "client_id": f"hub-{person}",
                            "client_secret_file": secret / f"space-{person}",
                        }
                        for person in (_CAMILLE, _DOMINIQUE)
                    ],
                }
            ],
        }
    )


async def _agree(registry: Registry, born: datetime) -> None:
    """What Camille would do on the consent page."""
    now = SystemClock().now()
    for data_type in (DataType.GLUCOSE, DataType.WEIGHT):
        await registry.grant(Consent(_CAMILLE, data_type, _SPACE, granted_at=now, covers_from=born))


_KEEPERS = {DeviceId("scale-c"): _CAMILLE, DeviceId("scale-d"): _DOMINIQUE}
"""Who used each scale before the demonstration began."""
_FIRST_REASONS = frozenset({"memory_before_enrolment", "no_history"})


async def _sort_memories(running: Running) -> int:
    """What the two would do on the page of weigh-ins with what their scales remember; returns how many others wait."""
    waiting = await running.inbox.attributions.waiting(limit=200)
    old = {each.number: _KEEPERS[each.device_id] for each in waiting if _is_memory(each)}
    for person_id in (_CAMILLE, _DOMINIQUE):
        theirs = [number for number, whose in old.items() if whose == person_id]
        await running.inbox.assign(theirs, person_id, DecisionSource.PAGE)
    return sum(each.decision is not None and each.number not in old for each in waiting)


def _is_memory(weigh_in: StoredWeighIn) -> bool:
    reasons = weigh_in.decision.evidence.get("reasons") if weigh_in.decision is not None else None
    return weigh_in.device_id in _KEEPERS and isinstance(reasons, list) and reasons[0] in _FIRST_REASONS


async def _narrate(running: Running, space: RunningSpace, say: Say) -> None:
    """Say what happens, once per fact, in plain words."""
    said: set[str] = set()

    def once(key: str, line: str) -> None:
        if key not in said:
            said.add(key)
            say(line)

    with running.changes.follow() as changed:
        while True:
            asking = await _sort_memories(running)
            for item in await running.store.latest():
                reading = item.reading
                name = next((d["name"] for d in DemoDevices.CONFIGURATION if d["id"] == reading.device_id), "")
                via = reading.provenance.source.value
                once(
                    reading.device_id, f"  received   {name} ({via}): {reading.metric.value.replace('_', ' ')} and more"
                )
            if asking:
                once("asks", f"  asks       who was on the scale? A guest, perhaps: {running.url}/weigh-ins")
            today = running.summaries.today(_CAMILLE)
            period = await running.summaries.glucose(_CAMILLE, today - timedelta(days=1), 14)
            if period.is_sufficient and period.mean_mg_dl is not None and period.in_range_percent is not None:
                once(
                    "summary",
                    f"  summarised Camille, 14 days: {period.count} sensor readings, mean {period.mean_mg_dl:.0f} "
                    f"mg/dL, {period.in_range_percent:.0f} % in range, GMI {period.gmi_percent:.1f} %",
                )
            counts = await running.registry.departure_counts()
            done = counts.get(DepartureState.DONE, 0)
            if done:
                held = len(space.space.store.observations)
                once("sent", f"  sent       accepted by the health space; it holds {held} observations now")
            if done and all(counts.get(s, 0) == 0 for s in (DepartureState.PENDING, DepartureState.LEASED)):
                held = len(space.space.store.observations)
                once(
                    "all", f"  sent       everything that Camille agreed to: {done} accepted, {held} held by the space"
                )
            changed.clear()
            await changed.wait()
            await asyncio.sleep(0.3)
