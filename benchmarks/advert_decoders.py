"""What ready-made decoders of advertisements cost on this machine, beside our own over `cryptography`.

    python benchmarks/advert_decoders.py [--folder DIR] [--rounds 5] [--result FILE]

Each candidate gets a virtual environment of its own (made by this program, with pip, from the package index), where a
child process is started for each round: the time that `-X importtime` gives for its import, its memory before and
after, and the rate at which it decodes one advertisement of a scale (repeats and replay protection taken out, so that
each is really decoded). Disk is the size of what was installed, with everything that it depends on. The scales are
found by giving each candidate the same advertisements: captured ones with published keys, and worked examples.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _machine import machine

ROOT: Final = Path(__file__).resolve().parents[1]
ADVERTS: Final = {
    "Mi Smart Scale (181D)": ("C0:FF:EE:00:00:11", "181d", "224632e9070203040506", None),
    "Mi Body Composition Scale (181B)": ("C0:FF:EE:00:00:11", "181b", "0226e9070203040506e7014632", None),
    "Xiaomi S400 (FE95)": (
        "8C:D0:B2:F6:BE:EF",
        "fe95",
        "4859d53b0abc078ff2348c844138e930220000009e538599",
        "0728974d657a4b60964c1b1677f35f7c",
    ),
    "Xiaomi S200 (FE95)": (
        "D0:7B:6F:27:D7:29",
        "fe95",
        "4859044c019a80a275939010f0abc4fadc0600003d29c044",
        "653b1b10e1cb35e4ac5e60fa45f3bf29",
    ),
    "BTHome, in the clear (FCD2)": ("C0:FF:EE:00:00:11", "fcd2", "40002a015f062319", None),
    "BTHome, encrypted (FCD2)": (
        "C0:FF:EE:00:00:11",
        "fcd2",
        "SEALED",
        "000102030405060708090a0b0c0d0e0f",
    ),
}
_COMMON: Final = """
import json, resource, sys, time

def rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])

adverts = json.loads(sys.argv[1])
before = rss()
"""
_LOOP: Final = """
found, rate = {}, None
for name, (address, uuid, data, key) in adverts.items():
    data, key = bytes.fromhex(data), None if key is None else bytes.fromhex(key)
    try:
        found[name] = bool(decode(address, uuid, data, key))
    except Exception as error:
        found[name] = False
    if name == sys.argv[2] and found[name]:
        count, began = 0, time.process_time()
        while time.process_time() - began < 0.3:
            decode(address, uuid, data, key)
            count += 1
        rate = count / (time.process_time() - began)
print(json.dumps({"kib": loaded - before, "found": found, "rate": rate}))
"""
_HASS: Final = """
class Values:
    pass

def info(address, uuid, data):
    full = f"0000{uuid}-0000-1000-8000-00805f9b34fb"
    return dict(name="MI_SCALE", address=address, rssi=-60, manufacturer_data={}, service_data={full: data},
                service_uuids=[full], source="")

def has_mass(update):
    return any("mass" in key.key for key in update.entity_values)
"""
_XIAOMI: Final = f"""
from xiaomi_ble import XiaomiBluetoothDeviceData
from home_assistant_bluetooth import BluetoothServiceInfo
loaded = rss()
{_HASS}
def decode(address, uuid, data, key):
    return has_mass(XiaomiBluetoothDeviceData(bindkey=key).update(BluetoothServiceInfo(**info(address, uuid, data))))
"""
_BTHOME: Final = f"""
from bthome_ble import BTHomeBluetoothDeviceData
from habluetooth import BluetoothServiceInfoBleak
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
loaded = rss()
{_HASS}
def decode(address, uuid, data, key):
    said = info(address, uuid, data)
    advert = AdvertisementData("MI_SCALE", {{}}, said["service_data"], said["service_uuids"], None, -60, ())
    device = BLEDevice(address, "MI_SCALE", {{}})
    heard = BluetoothServiceInfoBleak(**said, device=device, advertisement=advert, connectable=False, time=0.0,
                                      tx_power=None)
    return has_mass(BTHomeBluetoothDeviceData(bindkey=key).update(heard))
"""
_THEENGS: Final = """
from TheengsDecoder import decodeBLE
loaded = rss()
def decode(address, uuid, data, key):
    document = {"id": address, "name": "MI_SCALE", "servicedatauuid": uuid, "servicedata": data.hex()}
    said = decodeBLE(json.dumps(document))
    return said and "weight" in json.loads(said)
"""
_OURS: Final = """
from gateway.devices import xiaomi_scale, bthome, mibeacon
from gateway.devices.sealed import Lock
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.exceptions import InvalidTag
loaded = rss()
def decode(address, uuid, data, key):
    if uuid == "fe95":
        opened = mibeacon.open_mibeacon(mibeacon.parse_mibeacon(data), Lock(address, key))
        return mibeacon.parse_mi_weigh_in(opened).mass_kg
    if uuid == "fcd2" and key is not None:
        return bthome.open_bthome(bthome.parse_sealed_bthome(data), Lock(address, key)).mass
    if uuid == "fcd2":
        return bthome.parse_bthome(data).mass
    return (xiaomi_scale.parse_mi_scale_v1 if uuid == "181d" else xiaomi_scale.parse_mi_body_composition)(data).weight
"""


@dataclass(frozen=True)
class Candidate:
    """One of the ways.

    Attributes:
        name: for the table.
        packages: what pip installs.
        module: whose import is timed.
        code: defines `decode(address, uuid, data, key)` and sets `loaded`.
        licence: of the package.
        timed: the advertisement whose rate is measured.
    """

    name: str
    packages: tuple[str, ...]
    module: str
    code: str
    licence: str
    timed: str


CANDIDATES: Final = (
    Candidate("xiaomi-ble", ("xiaomi-ble",), "xiaomi_ble", _XIAOMI, "Apache-2.0", "Xiaomi S400 (FE95)"),
    Candidate("bthome-ble", ("bthome-ble",), "bthome_ble", _BTHOME, "MIT", "BTHome, encrypted (FCD2)"),
    Candidate(
        "TheengsDecoder", ("TheengsDecoder",), "TheengsDecoder", _THEENGS, "GPL-3.0", "Mi Body Composition Scale (181B)"
    ),
    Candidate(
        "ours over cryptography",
        ("cryptography",),
        "cryptography.hazmat.primitives.ciphers.aead",
        _OURS,
        "Apache-2.0",
        "Xiaomi S400 (FE95)",
    ),
)


def adverts() -> dict[str, tuple[str, str, str, str | None]]:
    """With the encrypted BTHome packet that the sandbox makes, which shares no code with our decoder."""
    sys.path.insert(0, str(ROOT))
    from decimal import Decimal

    from gateway.sandbox.sealed_frames import encode_sealed_bthome

    made = dict(ADVERTS)
    address, service, _, key = made["BTHome, encrypted (FCD2)"]
    sealed = encode_sealed_bthome(bytes.fromhex(key or ""), address, 1000, Decimal("64.35"), 42)
    made["BTHome, encrypted (FCD2)"] = address, service, sealed.hex(), key
    return made


def installed(candidate: Candidate, folder: Path) -> tuple[Path, int, str]:
    """Its Python, the octets that it and its dependencies take, and the version of its first package."""
    home = folder / candidate.module.partition(".")[0]
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *candidate.packages], check=True)
    packages = next((home / "lib").glob("python3*/site-packages"))
    apart = re.compile(r"pip|setuptools|_distutils_hack|pkg_resources|distutils-precedence|__pycache__")
    files = (file for entry in packages.iterdir() if not apart.match(entry.name) for file in [entry, *entry.rglob("*")])
    size = sum(file.stat().st_size for file in files if file.is_file() and "__pycache__" not in file.parts)
    shown = subprocess.run(
        [python, "-m", "pip", "show", candidate.packages[0]], check=True, capture_output=True, text=True
    )
    version = next(line.partition(": ")[2] for line in shown.stdout.splitlines() if line.startswith("Version"))
    return python, size, version


def import_ms(python: Path, module: str) -> float:
    """As `-X importtime` says, everything that it loads included."""
    done = subprocess.run(
        [python, "-X", "importtime", "-c", f"import {module}"], check=True, capture_output=True, text=True
    )
    last = [line for line in done.stderr.splitlines() if line.startswith("import time:")][-1]
    own = [line for line in done.stderr.splitlines() if line.endswith(f"| {module}")]
    return int((own or [last])[-1].split("|")[1]) / 1000


def measured(candidate: Candidate, python: Path, told: str) -> dict[str, Any]:
    """One run of the child."""
    # our decoders need nothing but the package that holds the cipher: the rooms that they are in are pure
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} if candidate.code is _OURS else {}
    interpreter = sys.executable if candidate.code is _OURS else str(python)
    done = subprocess.run(
        [interpreter, "-W", "ignore", "-c", _COMMON + candidate.code + _LOOP, told, candidate.timed],
        check=True,
        capture_output=True,
        text=True,
        env=environment or None,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def page(rows: list[str], found: dict[str, dict[str, bool]], rounds: int) -> str:
    """The result as Markdown."""
    names = list(found)
    lines = [
        "# Decoders of advertisements",
        "",
        f"`python benchmarks/advert_decoders.py`, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {machine()}; median "
        f"of {rounds} runs, each in a process of its own.",
        "",
        "| | licence | import, ms | memory, MiB | disk with dependencies, MiB | one advertisement, per second |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "Rate: of an S400's packet (xiaomi-ble, ours), of an encrypted BTHome packet (bthome-ble), of a Mi body "
        "composition scale's (TheengsDecoder, which opens nothing that is encrypted); of processor time. Ours: import "
        "of the cipher; memory and rate with our decoders.",
        "",
        f"| advertisement of | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    lines += [
        f"| {advert} | {' | '.join('mass' if found[name][advert] else '-' for name in names)} |" for advert in ADVERTS
    ]
    return "\n".join(lines) + "\n"


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the environments are kept; default: a temporary folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--result", type=Path)
    options = parser.parse_args()
    told = json.dumps(adverts())
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        for candidate in CANDIDATES:
            python, size, version = installed(candidate, folder)
            imports = [import_ms(python, candidate.module) for _ in range(options.rounds)]
            runs = [measured(candidate, python, told) for _ in range(options.rounds)]
            found[candidate.name] = runs[0]["found"]
            rate = statistics.median(run["rate"] for run in runs)
            memory = statistics.median(run["kib"] for run in runs) / 1024
            rows.append(
                f"| {candidate.name} ({candidate.packages[0]} {version}) | {candidate.licence} | "
                f"{statistics.median(imports):.0f} | {memory:.1f} | {size / 2**20:.1f} | {rate:,.0f} |"
            )
            say(rows[-1])
    text = page(rows, found, options.rounds)
    say(text)
    if options.result is not None:
        options.result.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
