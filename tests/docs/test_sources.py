"""The pages of the sources: one for each dialect, with a set-up that the configuration accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gateway.devices.dialects import DIALECTS, Message, mapping_dialect
from gateway.model import Metric
from gateway.settings import Settings, load_settings

PAGES = Path(__file__).resolve().parents[2] / "docs" / "sources"
ALL = sorted(PAGES.glob("*.md"))


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def loaded(text: str, folder: Path) -> Settings:
    """What the configuration makes of a block."""
    file = folder / "hub.toml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file)


@pytest.mark.parametrize("name", ["ble_scale_sync", "openscale_sync", "tasmota", "xiaomi_mi_scale"])
def test_a_dialect_has_a_page(name: str) -> None:
    """With the name that the configuration wants, and the topics it listens to."""
    (dialect,) = [each for each in DIALECTS if each.name == name]
    text = (PAGES / f"{name.replace('_', '-')}.md").read_text(encoding="utf-8")
    assert f'dialect = "{name}"' in "".join(blocks(text, "toml"))
    assert dialect.topics[0].split("/")[0] in text


@pytest.mark.parametrize("name", ["ble-scale-sync", "openscale-sync", "tasmota", "xiaomi-mi-scale"])
def test_set_ups_of_the_pages_are_sound(name: str, tmp_path: Path) -> None:
    """The configuration of the page can be loaded as it stands there, and is about the dialect."""
    (block,) = blocks((PAGES / f"{name}.md").read_text(encoding="utf-8"), "toml")
    (dialect,) = loaded(block, tmp_path).mqtt.dialects
    assert name.replace("-", "_") == dialect.dialect


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_links_of_the_sources_lead_somewhere(path: Path) -> None:
    """Every relative link names a file of the project."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target.partition("#")[0]).resolve().exists(), target


def test_mappings_of_the_page_read_the_messages_of_the_page(tmp_path: Path) -> None:
    """Each example is a valid configuration, and each published message gives the values that it shows."""
    text = (PAGES / "mapping.md").read_text(encoding="utf-8")
    mappings = [one.mapping() for block in blocks(text, "toml") for one in loaded(block, tmp_path).mqtt.mappings]
    assert [False, True, True, False, False] == [mapping.is_partial for mapping in mappings]
    given: dict[Metric, str] = {}
    for command in blocks(text, "sh"):
        words = shlex.split(command)
        topic, payload = words[words.index("-t") + 1], words[words.index("-m") + 1]
        mapping = next(one for one in mappings if one.topic == topic)
        said = mapping_dialect(mapping).decode(Message(topic, payload.encode()))
        assert not said.problems
        for measurements in (*(one.measurements for one in said.records), *(one.measurements for one in said.untimed)):
            given |= {one.metric: str(one.number) for one in measurements}
    assert {
        Metric.BODY_MASS: "71.35",
        Metric.BLOOD_PRESSURE_SYSTOLIC: "121",
        Metric.BLOOD_PRESSURE_DIASTOLIC: "79",
    } == given


def test_set_up_of_encrypted_scales_is_sound(tmp_path: Path) -> None:
    """The page about keys: its device with a key file, and its dialect, can be loaded as they stand there."""
    first, second = blocks((PAGES / "advertising.md").read_text(encoding="utf-8"), "toml")
    (device,) = loaded(first, tmp_path).devices
    assert tmp_path / "scale.key" == device.bind_key_file
    (dialect,) = loaded(second, tmp_path).mqtt.dialects
    assert "raw_adverts" == dialect.dialect
