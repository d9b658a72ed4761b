"""The gateway's process is killed while it talks to devices, and a day around one radio."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLS = 6


async def run(folder: Path, script: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status and what a benchmark said, within two minutes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "benchmarks" / script), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    try:
        async with asyncio.timeout(120):
            output, progress = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(), progress.decode()[-4000:]


async def test_kill_during_fetch_pairing_and_live_values(tmp_path: Path) -> None:
    """Whenever the process dies, everything that was measured is stored once, and no device must be paired again."""
    arguments = ("--kills", str(KILLS), "--seed", "3", "--json", "--result", str(tmp_path / "kill.md"))
    status, output, progress = await run(tmp_path, "kill_bluetooth.py", *arguments)
    assert status in (0, 1), progress
    tally = json.loads(output)
    assert [] == tally["faults"]
    assert {"fetch": 2, "pairing": 2, "live": 2} == tally["kills"]
    assert 2 == tally["with_link"]["live"]
    assert all(count >= KILLS for count in tally["made"].values())


async def test_a_morning_of_twenty_devices(tmp_path: Path) -> None:
    """Eight hours of virtual time around one radio with few slots: every record of every device, once."""
    arguments = ("--hours", "8", "--seed", "2", "--result", str(tmp_path / "day.md"))
    status, output, progress = await run(tmp_path, "bluetooth_day.py", *arguments)
    assert 0 == status, output + progress
