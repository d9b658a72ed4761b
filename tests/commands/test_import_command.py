"""`gateway import` with exports of other programs: a person's, once, and shown before it is stored."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path

import pytest

from gateway.cli import main

FIXTURES = Path(__file__).parents[1] / "fixtures" / "files"
CONFIG = """
[store]
path = "passerelle.db"
[[people]]
id = "camille"
name = "Camille"
[[people]]
id = "noe"
name = "Noé"
"""


class House:
    """A folder with a configuration, and the command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "hub.toml").write_text(CONFIG, encoding="utf-8")

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = main(["import", "--config", str(self.folder / "hub.toml"), *arguments])
        captured = self._capsys.readouterr()
        return status, captured.out, captured.err

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / "passerelle.db") as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def house(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> House:
    return House(tmp_path, capsys)


FILES = {
    "libreview.csv": ((), 8, 1),
    "libreview-fr-mmol.csv": (("--date-order", "mdy"), 2, 0),
    "clarity.csv": ((), 5, 1),
    "tidepool.json": ((), 4, 1),
    "glooko-cgm.csv": ((), 2, 0),
    "glooko-bg.csv": ((), 2, 0),
    "nightscout.json": ((), 2, 1),
    "openscale2.csv": ((), 9, 0),
    "openscale3.csv": ((), 10, 1),
    "withings-weight.csv": ((), 6, 0),
    "withings-bp.csv": ((), 4, 0),
    "withings-fr.csv": ((), 2, 0),
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_importing_an_export_twice_adds_nothing(house: House, name: str) -> None:
    """A dry run tells what would be added and stores nothing; then that is added; then nothing more."""
    options, count, problems = FILES[name]
    arguments = (*options, "--person", "camille", str(FIXTURES / name))
    status, out, err = house.run("--dry-run", *arguments)
    assert f"  {count} readings would be added; nothing was stored (dry run)." in out.splitlines()
    assert (2 if problems else 0, problems) == (status, len(err.splitlines()))
    assert [(0,)] == house.rows("SELECT count(*) FROM reading")
    assert [] == house.rows("SELECT device_id FROM device")
    _, out, _ = house.run(*arguments)
    assert f"  {count} new, 0 corrected, 0 known already." in out.splitlines()
    before = house.rows("SELECT * FROM reading"), house.rows("SELECT * FROM revision")
    _, out, _ = house.run(*arguments)
    assert f"  0 new, 0 corrected, {count} known already." in out.splitlines()
    assert before == (house.rows("SELECT * FROM reading"), house.rows("SELECT * FROM revision"))
    assert [(problems,)] == house.rows("SELECT count(*) FROM quarantine")
    owners = house.rows("SELECT DISTINCT p.person_id FROM reading r JOIN person p ON p.id = r.person")
    assert [("camille",)] == owners


def test_the_dry_run_counts_only_what_is_new(house: House) -> None:
    """After an import, the dry run of the same file finds nothing to add."""
    house.run("--person", "camille", str(FIXTURES / "clarity.csv"))
    _, out, _ = house.run("--dry-run", "--person", "camille", str(FIXTURES / "clarity.csv"))
    assert "  0 readings would be added; nothing was stored (dry run)." in out.splitlines()


def test_a_file_is_somebodys(house: House) -> None:
    """Without a person, or with one nobody knows, nothing is stored, and the people are named."""
    for person in ((), ("--person", "nobody")):
        status, _, err = house.run(*person, str(FIXTURES / "clarity.csv"))
        assert (2, "gateway: --person: say whose file it is: camille, noe\n") == (status, err)


def test_a_device_that_belongs_to_somebody_else_stops_the_import(house: House) -> None:
    """The same transmitter for two people is a mistake, not two histories."""
    house.run("--person", "camille", str(FIXTURES / "clarity.csv"))
    status, _, err = house.run("--person", "noe", str(FIXTURES / "clarity.csv"))
    assert (1, True) == (status, "belongs to camille" in err)
    assert [("camille",)] == house.rows("SELECT DISTINCT p.person_id FROM reading r JOIN person p ON p.id = r.person")


def test_an_archive_is_read_table_by_table(house: House) -> None:
    """The tables of an archive that are known are imported, the others left alone."""
    with zipfile.ZipFile(house.folder / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(FIXTURES / "withings-weight.csv", "data/weight.csv")
        archive.write(FIXTURES / "withings-bp.csv", "data/bp.csv")
        archive.writestr("data/sleep.csv", "from,to\n1,2\n")
    status, out, _ = house.run("--person", "noe", str(house.folder / "export.zip"))
    assert (0, 2) == (status, out.count(": Withings, for noe"))
    assert [(10,)] == house.rows("SELECT count(*) FROM reading")


@pytest.mark.parametrize("kind", ["bomb", "damaged", "nothing known"])
def test_an_unusual_archive_is_refused(house: House, kind: str) -> None:
    """I12: what unpacks to far more than it is, is damaged or holds nothing known is refused with a sentence."""
    path = house.folder / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "0" * 20_000_000 if kind == "bomb" else "x,y\n1,2\n")
    if kind == "damaged":
        content = bytearray(path.read_bytes())
        content[10:24] = b"\xff" * 14
        path.write_bytes(bytes(content))
    status, out, err = house.run("--person", "noe", str(path))
    assert (2, "", 1) == (status, out, len(err.splitlines()))


def test_a_file_of_another_kind_is_read_as_lines(house: House) -> None:
    """What no format recognises is taken for reading lines, whose errors name the line."""
    path = house.folder / "x.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    status, _, err = house.run(str(path))
    assert (2, 2) == (status, err.count("not a JSON object"))


ODD_NAMES = {
    "a line break in an id": (
        "odd.json",
        '[{"type":"cbg","deviceId":"d","id":"a\\nb","time":"2026-03-01T00:00:00Z","units":"mg/dL","value":100},'
        '{"type":"cbg","deviceId":"d","id":"good","time":"2026-03-01T00:05:00Z","units":"mg/dL","value":101}]',
        1,
    ),
    "digits that are none of ours": (
        "odd.csv",
        (FIXTURES / "clarity.csv").read_text(encoding="utf-8").replace("6415", "64²5"),
        5,
    ),
}


@pytest.mark.parametrize("name", sorted(ODD_NAMES))
def test_one_odd_name_does_not_keep_its_neighbours_out(house: House, name: str) -> None:
    """A row with a name that cannot be a record's is set aside, or named otherwise; the rest of the file is stored."""
    title, text, count = ODD_NAMES[name]
    (house.folder / title).write_text(text, encoding="utf-8")
    status, out, err = house.run("--person", "camille", str(house.folder / title))
    assert (2, f"  {count} new, 0 corrected, 0 known already.") == (status, out.splitlines()[-1])
    assert 1 == len(err.splitlines())


def test_a_device_of_a_file_writes_no_commands_to_the_terminal(house: House) -> None:
    """What a file calls a device is shown only where it is plain text, and kept without what cannot be shown."""
    text = (FIXTURES / "libreview.csv").read_text(encoding="utf-8").replace("FreeStyle Libre 2", "\x1b[2JLibre 2")
    (house.folder / "odd.csv").write_text(text, encoding="utf-8")
    _, out, err = house.run("--person", "camille", str(house.folder / "odd.csv"))
    assert "\x1b" not in out + err
    kept = house.rows("SELECT DISTINCT extra FROM reading")
    assert kept
    assert not any("\x1b" in str(each) or "\\u001b" in str(each) for each in kept)
