"""The victim of `kill_bluez.py`: a real gateway on this machine's BlueZ, and a person beside it who pairs devices.

    python benchmarks/_kill_bluez_child.py FOLDER [ADDRESS...]

The database is a file in FOLDER; the bonds are bluetoothd's. Each ADDRESS is paired, one after the other, before the
rest is only watched. What happens is said on standard output, a line each: `ready`, the states of a pairing, `asked`
and `answered` around the digits, `failed: ` with the reason.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from _kill_bluetooth_child import PASSKEYS, settings_for

from gateway.app import Running, run_gateway
from gateway.commands.run import run_until_stopped
from gateway.logs import configure_logs
from gateway.pairing.office import PairingOffice
from gateway.settings import Settings

__all__ = ["bluez_settings"]


def bluez_settings(folder: Path) -> Settings:
    """Those of the other victim, slower: BlueZ keeps a link for 2 s after it was given back."""
    settings = settings_for(folder)
    patient = {
        "connect_timeout_s": 10.0,
        "procedure_timeout_s": 5.0,
        "quiet_s": 1.0,
        "retry_s": 2.5,
        "revisit_s": 2.5,
    }
    return settings.model_copy(update={"bluetooth": settings.bluetooth.model_copy(update=patient)})


def _say(word: str) -> None:
    print(word, flush=True)


async def _pair(office: PairingOffice, address: str) -> None:
    """Once, as a person does; a person also tries again."""
    await office.act("pair", {"address": address})
    was_asked, before = False, ""
    while True:
        attempt = (await office.state())["attempt"]
        if attempt["state"] != before:
            before = attempt["state"]
            _say(before)
        if attempt["state"] == "wants_passkey" and not was_asked:
            was_asked = True
            _say("asked")
            await office.act("passkey", {"attempt": attempt["id"], "passkey": f"{PASSKEYS[address]:06d}"})
            _say("answered")
        elif attempt["is_over"]:
            if attempt["state"] != "paired":
                _say(f"failed: {attempt['failure']}")
            return
        try:
            async with asyncio.timeout(0.25):
                await office.changed()
        except TimeoutError:
            continue  # the state may have changed while it was put together


async def _live(folder: Path, addresses: Sequence[str]) -> None:
    ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_gateway(bluez_settings(folder), started=ready.set_result), name="gateway")
        office = (await ready).office
        _say("ready")
        for address in addresses:
            if office is not None:
                await _pair(office, address)


def main() -> int:
    """Live until killed; SIGTERM ends it cleanly."""
    folder, *addresses = sys.argv[1:]
    configure_logs("json", "info")
    return run_until_stopped(_live(Path(folder), addresses))


if __name__ == "__main__":
    sys.exit(main())
