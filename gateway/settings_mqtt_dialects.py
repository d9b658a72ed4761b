"""`[[mqtt.dialects]]`: what other programs publish on the broker, and which device it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.devices.dialects import DIALECTS, Dialect, Entity
from gateway.devices.dialects.topics import filter_fault, overlap
from gateway.model import Metric, Unit, is_identifier

__all__ = ["DialectSettings", "EntitySettings", "check_devices", "check_filters", "dialect_of"]

_EXAMPLE = "AA:BB:CC:DD:EE:FF"
_BY_NAME = {dialect.name: dialect for dialect in DIALECTS}


def _dialect_name(text: str) -> str:
    if text not in _BY_NAME:
        raise ValueError(f"no such dialect; known are {', '.join(sorted(_BY_NAME))}")
    return text


def _identifier(text: str) -> str:
    if not is_identifier(text):
        raise ValueError("not the id of a device: lower-case letters, digits, '-' and '_'")
    return text


def _topic_filter(text: str) -> str:
    if (fault := filter_fault(text)) is not None:
        raise ValueError(fault)
    return text


DialectName = Annotated[str, AfterValidator(_dialect_name)]
TopicFilter = Annotated[str, AfterValidator(_topic_filter)]
DeviceName = Annotated[str, AfterValidator(_identifier)]


class EntitySettings(BaseModel):
    """`[[mqtt.dialects.entities]]`: what one bare number means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str = Field(
        min_length=1, max_length=255, description="ESPHome: the object id in the topic; Home Assistant: `sensor.name`."
    )
    metric: Metric = Field(description="Which one, as in docs/mqtt.md.")
    unit: Unit = Field(description="In which the number is published.")

    @model_validator(mode="after")
    def _unit_of_metric(self) -> Self:
        if self.unit not in self.metric.info.units:
            words = ", ".join(unit.value for unit in self.metric.info.units)
            raise ValueError(f"{self.metric.value} is measured in {words}")
        return self


class DialectSettings(BaseModel):
    """`[[mqtt.dialects]]`: one program that publishes on the broker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dialect: DialectName = Field(description="Who publishes; docs/mqtt.md lists them.")
    topics: tuple[TopicFilter, ...] = Field(default=(), description="Topic filters; default: the dialect's own.")
    device: DeviceName | None = Field(
        default=None, description="Everything on these topics is this device; default: the address in the topic says."
    )
    entities: tuple[EntitySettings, ...] = Field(default=(), description="What bare numbers mean.")

    @model_validator(mode="after")
    def _has_a_device_and_a_meaning(self) -> Self:
        dialect = _BY_NAME[self.dialect]
        if self.device is None and not any(_names_devices(dialect, each) for each in dialect.topics):
            raise ValueError(f"the topics of {self.dialect} name no Bluetooth address: give device")
        if self.device is not None and any(_names_devices(dialect, each) for each in self.filters):
            raise ValueError(
                "these topics are those of every scale in reach, the neighbours' too: name the topics of one, or leave"
                " device out and give it its address under [[devices]]"
            )
        if self.entities and dialect.configured is None:
            raise ValueError(f"{self.dialect} explains itself and takes no entities")
        if dialect.needs_entities and not self.entities:
            raise ValueError(f"{self.dialect} needs entities: which number is which metric, in which unit")
        names = [each.entity for each in self.entities]
        if len(set(names)) != len(names):
            raise ValueError("entities: one appears twice")
        return self

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return self.topics or _BY_NAME[self.dialect].topics


def dialect_of(settings: DialectSettings) -> Dialect:
    """The dialect, with what the configuration says of its numbers."""
    dialect = _BY_NAME[settings.dialect]
    if dialect.configured is None or not settings.entities:
        return dialect
    return dialect.configured(tuple(Entity(each.entity, each.metric, each.unit) for each in settings.entities))


def check_filters(topic_root: str, sections: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Every message has one meaning: no two filters match one topic, nor one of our own.

    Args:
        topic_root: first level of our own topics.
        sections: path of each section in the file, and its topic filters.

    Raises:
        ValueError: two filters overlap; the sentence names both.
    """
    taken = [("mqtt.topic_root", f"{topic_root}/+/reading"), ("mqtt.topic_root", f"{topic_root}/+/status")]
    for path, filters in sections:
        for each in filters:
            for other_path, other in taken:
                if overlap(each, other):
                    raise ValueError(
                        f"{path}: the topics {each!r} overlap {other!r} of {other_path}; name narrower topics"
                    )
            taken.append((path, each))


def check_devices(
    dialects: Sequence[DialectSettings], mappings: Sequence[str | None], addresses: Mapping[str, str | None]
) -> None:
    """Every device that topics are bound to is there, and has its address where only the payload says who speaks.

    Args:
        dialects: the section `[[mqtt.dialects]]`.
        mappings: the device of each of `[[mqtt.mappings]]`.
        addresses: every configured device, and its Bluetooth address.

    Raises:
        ValueError: one is not; the sentence names it.
    """
    bound = [(f"dialects[{at}]", each.device) for at, each in enumerate(dialects)]
    bound += [(f"mappings[{at}]", each) for at, each in enumerate(mappings)]
    for where, name in bound:
        if name is not None and name not in addresses:
            raise ValueError(f"mqtt.{where}.device: nothing called {name!r} under [[devices]]")
    for at, each in enumerate(dialects):
        if _BY_NAME[each.dialect].needs_address and each.device is not None and addresses[each.device] is None:
            raise ValueError(
                f"mqtt.dialects[{at}].device: {each.dialect} tells every scale in reach, the neighbours' too; give"
                f" {each.device!r} its address under [[devices]]"
            )


def _names_devices(dialect: Dialect, topic_filter: str) -> bool:
    """Whether a topic that the filter matches can name any address: asked with one in each of its open places."""
    levels = topic_filter.split("/")
    for example in (_EXAMPLE, _EXAMPLE.replace(":", "")):
        for at, level in enumerate(levels):
            if level in "+#":
                topic = "/".join([*levels[:at], example, *levels[at + 1 :]]).replace("+", "x").replace("#", "x")
                if dialect.address_of(topic) == _EXAMPLE:
                    return True
    return False
