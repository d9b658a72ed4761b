"""The gateway's process is killed while it takes readings in."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KILLS = 3


async def test_kill_loses_nothing_and_stores_nothing_twice(tmp_path: Path) -> None:
    """Whatever was acknowledged before a `kill -9`, over MQTT or by a meter's watermark, is stored exactly once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "benchmarks" / "kill_loop.py")),
        *("--kills", str(KILLS), "--seed", "3", "--json", "--result", str(tmp_path / "kill_loop.md")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    try:
        async with asyncio.timeout(100):
            output, progress = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # it ends its broker and its victim
            await process.wait()
    assert process.returncode in (0, 1), progress.decode()[-4000:]
    tally = json.loads(output)
    assert [] == tally["faults"]
    assert process.returncode == 0
    assert tally["kills"] == KILLS
    assert tally["published"] > 100
    assert tally["meter_records"] > 40
