"""The pages say what the program does: every example runs, and nothing that exists is missing."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web

from gateway.changes import Changes
from gateway.cli import build_parser, main
from gateway.devices.advert import Advert
from gateway.devices.describe import CHARACTERISTICS, SERVICE_DATA_FORMATS
from gateway.devices.drivers import GENERIC_DRIVERS, Driver, Opening
from gateway.model import CATALOGUE, Context, DepartureState, Metric, Reading
from gateway.reading_json import _Line, dump_reading, parse_reading
from gateway.sandbox.lab import KINDS
from gateway.sandbox.peripherals.fault_needs import FAULT_NEEDS
from gateway.sandbox.peripherals.faults import FAULT_WORDS
from gateway.settings import Settings, WebSettings, load_settings
from gateway.web import app as web_app
from gateway.web.app import create_app
from gateway.web.view import View

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
RECEIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOT_RUN = {"run", "demo"}


def page(name: str) -> str:
    """The text of a page below docs/, or of the README."""
    return (ROOT / name if (ROOT / name).is_file() else DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, expected lines) of every console block, in order."""
    for block in blocks(text, "console"):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = piece.splitlines()
            yield command, lines


def fits(expected: list[str], actual: str) -> bool:
    """Whether `actual` is what the page shows; `...` stands for anything, a line of its own for any lines."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + r"\n"
    open_end = bool(expected) and expected[-1].endswith("...")
    return re.fullmatch(pattern + (r"(?:.*\n)*" if open_end else ""), actual) is not None


def commands_of(parser: argparse.ArgumentParser, prefix: str = "gateway") -> Iterator[str]:
    """`gateway run`, `gateway consent grant`... every command without sub-commands of its own."""
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not found:
        yield prefix
    for action in found:
        for name, sub in action.choices.items():
            yield from commands_of(sub, f"{prefix} {name}")


@pytest.mark.parametrize("name", ["README.md", "commands.md", "gaps.md", "quarantine.md", "simulate.md"])
def test_every_console_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a page shows as typed and answered is what the program answers, in that order, from an empty folder."""
    text = page(name)
    monkeypatch.chdir(tmp_path)
    for block in blocks(text, "toml"):
        if block.startswith("# hub.toml\n"):
            (tmp_path / "hub.toml").write_text(block, encoding="utf-8")
    for block in blocks(text, "jsonl"):
        (tmp_path / "log.jsonl").write_text(block, encoding="utf-8")
    ran = 0
    for command, expected in examples(text):
        program, *arguments = shlex.split(command)
        assert program == "gateway", command
        main(arguments)
        captured = capfd.readouterr()
        answer = captured.out + captured.err
        assert fits(expected, answer), (
            f"{command}\n--- the page\n" + "\n".join(expected) + f"\n--- the program\n{answer}"
        )
        ran += 1
    assert ran > 3


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_gateway_line_is_understood(path: Path) -> None:
    """A `gateway` command of a shell block has arguments that the command line knows."""
    for block in blocks(path.read_text(encoding="utf-8"), "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and words[0] in {"sudo", "-u", "passerelle"}:
                words = words[1:]
            if words and words[0].rpartition("/")[2] == "gateway":
                build_parser().parse_args(words[1:])


def test_every_command_is_described() -> None:
    """commands.md has a section for each command and names every sub-command and option."""
    text = page("commands.md")
    for command in commands_of(build_parser()):
        _, name, *rest = command.split()
        assert f"## `gateway {name}" in text, command
        assert all(f"`{word}`" in text or f"gateway {name} {word}" in text for word in rest), command


def test_every_command_but_the_long_running_has_an_example() -> None:
    """Each command that ends by itself is shown with its answer."""
    shown = {" ".join(command.split()[:2]) for command, _ in examples(page("commands.md"))}
    known = {" ".join(command.split()[:2]) for command in commands_of(build_parser())}
    assert known - {f"gateway {name}" for name in NOT_RUN} == shown


def test_settings_page_is_fresh() -> None:
    """settings.md is what scripts/settings-page.py makes of the models."""
    make: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "settings-page.py"))
    assert make["page"]() == page("settings.md")


def test_settings_page_covers_the_whole_file() -> None:
    """Every section of the configuration has a table."""
    text = page("settings.md")
    for name, field in Settings.model_fields.items():
        title = f"[[{name}]]" if get_args(field.annotation) else f"[{name}]"
        assert f"## `{title}`" in text


def test_metrics_page_is_the_catalogue() -> None:
    """metrics.md lists each metric with unit, UCUM, codes and plausible range as the catalogue has them."""
    rows = [
        f"| `{metric.value}` | {info.data_type.value} | {info.unit.value} | `{info.unit.ucum}` "
        f"| {', '.join(unit.value for unit in info.units)} | {info.loinc or ''} | {info.mdc or ''} "
        f"| {info.lowest} to {info.highest} |"
        for metric, info in CATALOGUE.items()
    ]
    assert rows == [line for line in page("metrics.md").splitlines() if line.startswith("| `")]


def test_reading_lines_examples_are_read_and_written_again() -> None:
    """Each example line is understood, and what is written of it is the same reading."""
    lines = [line for block in blocks(page("reading-lines.md"), "json") for line in block.splitlines()]
    assert len(lines) >= 4
    readings: list[Reading] = []
    for line in lines:
        reading, person_id = parse_reading(line, received_at=RECEIVED)
        readings.append(reading)
        assert (reading, person_id) == parse_reading(dump_reading(reading, person_id), received_at=RECEIVED)
    assert {Metric.BODY_MASS, Metric.GLUCOSE_CAPILLARY, Metric.GLUCOSE_INTERSTITIAL} == {r.metric for r in readings}


def test_reading_lines_page_names_every_field() -> None:
    """Each key of a line and of its context is in a table."""
    text = page("reading-lines.md")
    for name in (*_Line.model_fields, *Context.__dataclass_fields__):
        assert f"`{name}`" in text, name


async def test_web_page_names_every_route(tmp_path: Path) -> None:
    """web.md has each route of the application, each header it sends and what its guard answers."""
    text = page("web.md")
    application = create_app(object.__new__(View), Changes(), WebSettings(), language="fr")
    for resource in application.router.resources():
        assert f"`{resource.canonical}" in text, resource.canonical
    for name in web_app._HEADERS:
        assert f"`{name}`" in text, name
    assert isinstance(application, web.Application)


def test_health_space_page_names_every_state() -> None:
    """health-space.md explains each state of the outbox."""
    text = page("health-space.md")
    assert [] == [state.value for state in DepartureState if f"| `{state.value}` |" not in text]


def test_devices_page_names_every_driver() -> None:
    """devices.md has each driver that is built in."""
    text = page("devices.md")
    assert [] == [driver.name for driver in GENERIC_DRIVERS if f"`{driver.name}`" not in text]


def test_devices_page_is_fresh() -> None:
    """The tables of devices.md are what scripts/devices-page.py makes of the code and its tests."""
    make: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "devices-page.py"))
    assert make["page"]() == page("devices.md")


def test_every_format_has_fields_a_decoder_and_tests() -> None:
    """Nothing that `gateway decode` knows is without a decoder of its own and a test that calls it."""
    make: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "devices-page.py"))
    rows = make["rows"]()
    assert {*CHARACTERISTICS, *SERVICE_DATA_FORMATS} == {row.uuid for row in rows}
    assert [] == [row.uuid for row in rows if not (row.fields and row.decoders and row.tests)]


def test_simulate_page_names_every_kind_fault_and_option() -> None:
    """simulate.md has each kind with its faults, explains each fault as the program does, and each option."""
    text = page("simulate.md")
    for word, meaning in FAULT_WORDS.items():
        shown = word.replace("|", "\\|")
        assert f"| `{shown}` | {meaning} |" in text
    for name, kind in KINDS.items():
        possible = [word for word, part in FAULT_NEEDS.items() if part is None or part in kind.parts]
        assert f"| `{name}` | {kind.title} | {', '.join(possible)} |" in text
    parser = build_parser().parse_args(["simulate", "cgm"])
    for name in vars(parser).keys() - {"run", "kind"}:
        assert f"`--{name}" in text, name


def test_driver_example_is_a_driver() -> None:
    """The driver that writing-a-driver.md shows can be loaded, and claims its advertisement only."""
    (code,) = blocks(page("writing-a-driver.md"), "python")
    names: dict[str, Any] = {}
    exec(compile(code, "architecture.md", "exec"), names)  # noqa: S102
    driver = names["DRIVER"]
    assert isinstance(driver, Driver)
    assert driver.matches(Advert(services=frozenset({"181d"}), manufacturer_data={0x1234: b""}))
    assert not driver.matches(Advert(services=frozenset({"181d"})))
    assert driver.open is not None
    assert not driver.open(Opening(local_now=RECEIVED)).is_done


def test_example_configurations_are_sound(tmp_path: Path) -> None:
    """config/hub.toml and every configuration in the pages can be loaded."""
    assert load_settings(ROOT / "config" / "hub.toml").bluetooth.enabled
    for path in PAGES:
        for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), "toml")):
            if block.startswith("# hub.toml"):
                file = tmp_path / f"{path.stem}-{number}.toml"
                file.write_text(block, encoding="utf-8")
                assert ZoneInfo("Europe/Paris").key == load_settings(file).gateway.time_zone
            else:
                tomllib.loads(block)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file of the project, and its anchor a heading of that page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


def test_readme_is_short() -> None:
    """The first page fits in a few minutes."""
    assert len(page("README.md").splitlines()) < 200
