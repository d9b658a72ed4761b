"""The victim of `kill_bluetooth.py`: a real gateway whose radio is a socket to the lab that holds the devices.

    python benchmarks/_kill_bluetooth_child.py FOLDER [unpair]

Database and bonds are files in FOLDER and outlive it, as a hub's do. With `unpair` the bond with the meter `pairing` is
forgotten first, as a person does before pairing again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.app import BluetoothBackends, Running, run_gateway
from gateway.commands.run import run_until_stopped
from gateway.logs import configure_logs
from gateway.sandbox.hci import DistantCentral, opened_transport
from gateway.settings import Settings

__all__ = ["ADDRESSES", "BONDS", "DATABASE", "DOOR", "PASSKEYS", "ZONE_NAME", "settings_for"]

DATABASE, BONDS, DOOR = "passerelle.db", "bonds.json", "hci"
ZONE_NAME = "Europe/Paris"
ADDRESSES = {"meter": "C0:FF:EE:00:0B:01", "pairing": "C0:FF:EE:00:0B:02", "sensor": "C0:FF:EE:00:0B:03"}
PASSKEYS = {ADDRESSES["meter"]: 123456, ADDRESSES["pairing"]: 654321}
_KINDS = {"meter": "glucose_meter", "pairing": "glucose_meter", "sensor": "cgm"}


def settings_for(folder: Path) -> Settings:
    """Bluetooth alone, quick to come back to a device."""
    return Settings.model_validate(
        {
            "gateway": {"clock": "trusted"},
            "store": {"path": folder / DATABASE},
            "web": {"enabled": False},
            "bluetooth": {
                "enabled": True,
                "connect_timeout_s": 5,
                "procedure_timeout_s": 5,
                "quiet_s": 0.3,
                "retry_s": 0.2,
                "revisit_s": 0.05,
            },
            "people": [{"id": "tester", "name": "Tester", "time_zone": ZONE_NAME}],
            "devices": [
                {"id": name, "kind": _KINDS[name], "name": name, "person": "tester", "address": address}
                for name, address in ADDRESSES.items()
            ],
        }
    )


async def _live(folder: Path, *, unpairs: bool) -> None:
    async with opened_transport(f"unix:{folder / DOOR}") as transport:
        radio = DistantCentral(transport, folder / BONDS, PASSKEYS)
        if unpairs:
            await radio.forget(ADDRESSES["pairing"])
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            backends = BluetoothBackends(radio.scanner_backend, radio.client_backend)
            tasks.create_task(
                run_gateway(settings_for(folder), backends=backends, started=ready.set_result), name="gateway"
            )
            await ready
            print("ready", flush=True)


def main() -> int:
    """Live until killed; SIGTERM ends it cleanly."""
    folder, *rest = sys.argv[1:]
    configure_logs("json", "warning")
    return run_until_stopped(_live(Path(folder), unpairs="unpair" in rest))


if __name__ == "__main__":
    sys.exit(main())
