"""The example driver of the documentation: really built, really installed, found and used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "example-driver"
USE = """
from datetime import UTC, datetime
from gateway.devices.advert import Advert
from gateway.devices.drivers import driver_for, load_drivers

advert = Advert(manufacturer_data={0xFFFF: bytes.fromhex("a50701df1b")})
driver = driver_for(advert, load_drivers())
(keep,) = driver.listen(None).on_advert(advert, datetime(2026, 3, 1, tzinfo=UTC))
print(driver.name, keep.records[0].mass, keep.records[0].unit, dict(keep.mark.state))
"""
CONFIGURATION = """
[store]
path = "passerelle.db"
[web]
enabled = false
[bluetooth]
enabled = true
"""


def environment(target: Path) -> dict[str, str]:
    """Of a Python that has what is installed in `target` besides the gateway."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(target), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1"}


def run(target: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python of its own, as after `pip install`."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(target),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip into a folder of its own, without any index."""
    source = tmp_path_factory.mktemp("source") / "example-driver"
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("target")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    done = run(target, "-m", "pip", "install", *options, "--target", str(target), str(source), folder=source)
    assert 0 == done.returncode, done.stderr
    return target


def entry(target: Path, value: str) -> Path:
    """A folder with an installed package whose only entry is `value`."""
    metadata = target / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[gateway.devices]\nbroken = {value}\n", encoding="utf-8")
    return target


def test_the_installed_driver_reads_its_scale(installed: Path, tmp_path: Path) -> None:
    """The gateway finds it by its entry point, it claims its advertisement, and its listener gives the weight."""
    done = run(installed, "-c", USE, folder=tmp_path)
    assert ("acme.feather 71.35 kg {'packet': 7}\n", "") == (done.stdout, done.stderr)


def test_the_tests_of_the_example_pass(installed: Path, tmp_path: Path) -> None:
    """Whoever copies the folder begins with tests that hold."""
    shutil.copy(EXAMPLE / "test_passerelle_acme.py", tmp_path)
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    done = run(installed, "-m", "pytest", *options, ".", folder=tmp_path)
    assert 0 == done.returncode, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(
    ("module", "value", "words"),
    [
        (None, "gone:DRIVER", "cannot be loaded (ModuleNotFoundError)"),
        ("DRIVER = 1\n", "broken:DRIVER", "is not a gateway.devices.drivers.Driver"),
        ("DRIVER = 1\n", "broken:OTHER", "cannot be loaded (AttributeError)"),
        ("DRIVER = (\n", "broken:DRIVER", "cannot be loaded (SyntaxError)"),
        (
            "from gateway.devices.drivers import Driver\nDRIVER = Driver(old_field=1)\n",
            "broken:DRIVER",
            "cannot be loaded (TypeError)",
        ),
    ],
)
def test_a_broken_entry_stops_the_start(tmp_path: Path, module: str | None, value: str, words: str) -> None:
    """The gateway does not start without it in silence: it names the entry and what is wrong."""
    target = entry(tmp_path, value)
    if module is not None:
        (target / "broken.py").write_text(module, encoding="utf-8")
    (tmp_path / "hub.toml").write_text(CONFIGURATION, encoding="utf-8")
    done = run(target, "-m", "gateway", "run", "--config", str(tmp_path / "hub.toml"), folder=tmp_path)
    assert (2, f"gateway: gateway.devices:broken: {words}") == (done.returncode, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
