"""Our bundles against the published profiles, by an external checker that is not part of this project.

PASSERELLE_FHIRCHECK names an executable or Python script that takes FHIR JSON files, prints one line per violation and
ends with status 0 when there is none. The golden files are what the gateway sends: another test keeps them equal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.conformance

GOLDEN = sorted((Path(__file__).parents[1] / "fixtures" / "fhir").glob("*.json"))


@pytest.fixture(scope="module")
def checker() -> list[str]:
    """The command that checks files, run with our interpreter when it is a Python script."""
    given = os.environ.get("PASSERELLE_FHIRCHECK")
    if not given:
        pytest.skip("PASSERELLE_FHIRCHECK is not set: name the checker of FHIR profiles to run this test")
    path = Path(given)
    if not path.is_file():
        pytest.fail(f"PASSERELLE_FHIRCHECK names {path}, which is not a file")
    with path.open("rb") as script:
        is_python = b"python" in script.readline()
    return [sys.executable, str(path)] if is_python else [str(path)]


def test_every_bundle_conforms_to_its_profiles(checker: list[str]) -> None:
    """Weight, capillary glucose, mean and GMI conform in every terminology: no violation in any golden file."""
    assert GOLDEN
    done = subprocess.run([*checker, *map(str, GOLDEN)], capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-2000:]) == (0, "")


def test_the_checker_finds_a_fault(checker: list[str], tmp_path: Path) -> None:
    """The checker is awake: a weight in pounds is a violation."""
    (weight,) = [path for path in GOLDEN if path.stem == "body-mass"]
    broken = tmp_path / "broken.json"
    broken.write_text(weight.read_text(encoding="utf-8").replace('"code": "kg"', '"code": "[lb_av]"'), encoding="utf-8")
    done = subprocess.run([*checker, str(broken)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
