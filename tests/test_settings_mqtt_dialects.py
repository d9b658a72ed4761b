from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import main
from gateway.errors import ConfigurationError
from gateway.model import Metric, Unit
from gateway.settings import load_settings
from gateway.settings_mqtt_dialects import dialect_of

SCALE = '[[devices]]\nid = "scale"\nkind = "scale"\nname = "Pèse-personne"\n'
THEENGS = '[[mqtt.dialects]]\ndialect = "theengs"\n'
ESPHOME = '[[mqtt.dialects]]\ndialect = "esphome_miscale"\n'
TASMOTA = '[[mqtt.dialects]]\ndialect = "tasmota"\ndevice = "scale"\n'
HOME_ASSISTANT = '[[mqtt.dialects]]\ndialect = "ha_statestream"\ndevice = "scale"\n'
ENTITY = '[[mqtt.dialects.entities]]\nentity = "sensor.scale"\nmetric = "body_mass"\nunit = "kg"\n'


def faults(folder: Path, text: str) -> list[tuple[str, str]]:
    """What is wrong with a configuration file."""
    path = folder / "hub.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path)
    return list(caught.value.problems)


def test_a_sound_configuration(tmp_path: Path) -> None:
    """Three dialects side by side, each with its topics, device and entities."""
    path = tmp_path / "hub.toml"
    narrow = 'device = "scale"\ntopics = ["bathroom/sensor/+/state", "bathroom/status"]\n'
    path.write_text(THEENGS + ESPHOME + narrow + HOME_ASSISTANT + ENTITY + SCALE, encoding="utf-8")
    first, second, third = load_settings(path).mqtt.dialects
    assert (("home/+/BTtoMQTT/+",), None) == (first.filters, first.device)
    assert ("bathroom/sensor/+/state", "bathroom/status") == second.filters
    assert (Metric.BODY_MASS, Unit.KG) == (third.entities[0].metric, third.entities[0].unit)
    assert ["theengs", "esphome_miscale", "ha_statestream"] == [dialect_of(e).name for e in (first, second, third)]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ('[[mqtt.dialects]]\ndialect = "theeengs"\n', "mqtt.dialects[0].dialect", "known are"),
        (THEENGS + 'topic = ["a"]\n', "mqtt.dialects[0].topic", "unknown key"),
        (THEENGS + 'topics = ["#"]\n', "mqtt.dialects[0].topics[0]", "names what it is about"),
        (ESPHOME + 'device = "nobody"\n', "", "nothing called 'nobody'"),
        (THEENGS + 'device = "scale"\n' + SCALE, "mqtt.dialects[0]", "those of every scale in reach"),
        (THEENGS + 'device = "scale"\ntopics = ["home/#"]\n' + SCALE, "mqtt.dialects[0]", "the neighbours' too"),
        (ESPHOME, "mqtt.dialects[0]", "give device"),
        (TASMOTA + SCALE, "", "give 'scale' its address"),
        (HOME_ASSISTANT + SCALE, "mqtt.dialects[0]", "needs entities"),
        (THEENGS + ENTITY, "mqtt.dialects[0]", "takes no entities"),
        (HOME_ASSISTANT + ENTITY + ENTITY + SCALE, "mqtt.dialects[0]", "appears twice"),
        (HOME_ASSISTANT + ENTITY.replace("kg", "mg/dL") + SCALE, "mqtt.dialects[0].entities[0]", "is measured in kg"),
        (THEENGS + THEENGS, "mqtt", "dialects[1]: the topics 'home/+/BTtoMQTT/+' overlap"),
        (THEENGS + 'topics = ["gateway/+/reading"]\n', "mqtt", "overlap 'gateway/+/reading' of mqtt.topic_root"),
        (ESPHOME + 'device = "scale"\n' + HOME_ASSISTANT + ENTITY + SCALE, "mqtt", "name narrower topics"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, where: str, words: str) -> None:
    """Each fault stops the start, with its place in the file and a sentence that says what to do."""
    ((path, sentence),) = faults(tmp_path, text)
    assert where == path
    assert words in sentence


def test_check_says_what_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`gateway check` says in a sentence which dialect is taken on which topics, and for whom."""
    path = tmp_path / "hub.toml"
    path.write_text("[mqtt]\nenabled = true\n" + THEENGS + HOME_ASSISTANT + ENTITY + SCALE, encoding="utf-8")
    assert 0 == main(["check", "--config", str(path)])
    said = capsys.readouterr().out
    assert "MQTT takes theengs on home/+/BTtoMQTT/+ for the devices whose address the topic names." in said
    assert "homeassistant/+/+/unit_of_measurement for scale." in said
