"""The victim of `kill_loop.py`: a real gateway with a virtual meter beside it, and what its devices will ever say.

    python benchmarks/_kill_child.py FOLDER BROKER_PORT STORY_START [LAST_METER_RECORD]

Record k of either device follows from k alone, so that another process can tell what must be stored. The meter has made
as many tests as the story is old; a new process of this program has the same meter, with the same memory.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.app import BluetoothBackends, Running, run_gateway
from gateway.clock import SystemClock
from gateway.commands.run import run_until_stopped
from gateway.logs import configure_logs
from gateway.model import Consent, DataType, DestinationId, PersonId
from gateway.sandbox.peripherals import MeterContext, MeterRecord, VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.settings import Settings

__all__ = [
    "DATABASE",
    "METER",
    "METER_RECORDS_PER_S",
    "PERSON",
    "SCALE",
    "ZONE",
    "meter_key",
    "meter_record",
    "meter_records_due",
    "scale_key",
    "scale_mass_kg",
    "scale_message",
    "settings_for",
]

METER, SCALE, PERSON = "meter", "scale", PersonId("tester")
ADDRESS = "C0:FF:EE:00:00:4B"
DATABASE = "passerelle.db"
ZONE = ZoneInfo("Europe/Paris")
METER_RECORDS_PER_S = 40
MOST_METER_RECORDS = 60_000
"""The counter of a meter has 16 bits; this story does not wrap it."""
_FIRST_TEST = datetime(2020, 1, 1)  # noqa: DTZ001 - a meter's clock has no zone
_FIRST_WEIGH_IN = datetime(2020, 1, 1, tzinfo=UTC)
_GROWTH_S = 0.05


def meter_record(number: int) -> MeterRecord:
    """Test `number`, 1..60000; every fourth one comes with a context."""
    return MeterRecord(
        sequence=number,
        base_time=_FIRST_TEST + timedelta(minutes=number),
        glucose=Decimal(70 + number % 200),
        context=MeterContext(meal=1 + number % 5) if number % 4 == 0 else None,
    )


def meter_key(number: int) -> str:
    """What the gateway calls test `number`."""
    return f"{number}@{(_FIRST_TEST + timedelta(minutes=number)).isoformat()}"


def meter_records_due(story_start: datetime, now: datetime) -> int:
    """How many tests have been made by `now`; both aware."""
    age_s = max(0.0, (now - story_start).total_seconds())
    return min(MOST_METER_RECORDS, int(age_s * METER_RECORDS_PER_S))


def scale_key(number: int) -> str:
    """What the scale on MQTT calls weigh-in `number`."""
    return f"w{number}"


def scale_mass_kg(number: int) -> Decimal:
    """60.00 to 99.99 kg."""
    return Decimal(6000 + number % 4000).scaleb(-2)


def scale_message(number: int) -> bytes:
    """Payload of weigh-in `number`."""
    measured = (_FIRST_WEIGH_IN + timedelta(minutes=10 * number)).isoformat()
    return (
        f'{{"record":"{scale_key(number)}","time":"{measured}",'
        f'"measurements":[{{"metric":"body_mass","value":{scale_mass_kg(number)},"unit":"kg"}}]}}'
    ).encode()


def settings_for(folder: Path, broker_port: int) -> Settings:
    """The gateway's configuration: both sources on, no page, quick to come back to a device."""
    return Settings.model_validate(
        {
            "gateway": {"clock": "trusted"},
            "store": {"path": folder / DATABASE},
            "web": {"enabled": False},
            "mqtt": {"enabled": True, "host": "127.0.0.1", "port": broker_port, "tls": False},
            "bluetooth": {
                "enabled": True,
                "connect_timeout_s": 5,
                "procedure_timeout_s": 5,
                "quiet_s": 0.5,
                "retry_s": 0.2,
                "revisit_s": 0.05,
            },
            "people": [{"id": PERSON, "name": "Tester", "time_zone": ZONE.key}],
            "devices": [
                {"id": METER, "kind": "glucose_meter", "name": "Meter", "person": PERSON, "address": ADDRESS},
                {"id": SCALE, "kind": "scale", "name": "Scale", "person": PERSON},
            ],
        }
    )


async def _live(folder: Path, broker_port: int, story_start: datetime, last_record: int | None) -> None:
    clock = SystemClock()

    def due() -> int:
        return last_record if last_record is not None else meter_records_due(story_start, clock.now())

    def wall_clock() -> datetime:
        return clock.now().astimezone(ZONE).replace(tzinfo=None)

    async with VirtualAir() as air:
        memory = [meter_record(number) for number in range(1, due() + 1)]
        meter = VirtualMeter(air, ADDRESS, "kill-meter", "0001", memory, clock=wall_clock, secure=False)
        await meter.start()
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run_gateway(
                    settings_for(folder, broker_port),
                    backends=BluetoothBackends(air.scanner_backend, air.client_backend),
                    started=ready.set_result,
                ),
                name="gateway",
            )
            running = await ready
            now = clock.now()
            await running.registry.grant(Consent(PERSON, DataType.WEIGHT, DestinationId("nowhere"), now, now))
            print("ready", flush=True)  # the consent above counts as acknowledged from here on
            while True:
                meter.records.extend(meter_record(number) for number in range(len(meter.records) + 1, due() + 1))
                await asyncio.sleep(_GROWTH_S)


def main() -> int:
    """Live until killed; SIGTERM ends it cleanly."""
    folder, broker_port, story_start, *last = sys.argv[1:]
    configure_logs("json", "warning")
    return run_until_stopped(
        _live(Path(folder), int(broker_port), datetime.fromisoformat(story_start), int(last[0]) if last else None)
    )


if __name__ == "__main__":
    sys.exit(main())
