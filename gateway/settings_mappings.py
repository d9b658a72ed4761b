"""`[[mqtt.mappings]]`: messages of a program that no dialect knows, described in the configuration."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.devices.dialects.mapping import MappedValue, Mapping, TimeFormat, path_parts
from gateway.devices.dialects.topics import filter_fault
from gateway.model import Metric, Unit, is_identifier

__all__ = ["MappedValueSettings", "MappingSettings"]


def _topic_filter(text: str) -> str:
    if (fault := filter_fault(text)) is not None:
        raise ValueError(fault)
    return text


def _path(text: str) -> str:
    path_parts(text)
    return text


def _identifier(text: str) -> str:
    if not is_identifier(text):
        raise ValueError("use 1 to 64 lower-case letters, digits, '-' and '_', beginning with a letter or digit")
    return text


def _check_unit(metric: Metric, unit: Unit | None, unit_path: str | None) -> None:
    if (unit is None) == (unit_path is None):
        raise ValueError(f"{metric.value} needs either unit or unit_path")
    known = metric.info.units
    if unit is not None and unit not in known:
        words = ", ".join(each.value for each in known)
        raise ValueError(f"unit {unit.value!r} does not measure {metric.value}; use one of {words}")


JsonPath = Annotated[str, Field(max_length=200), AfterValidator(_path)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MappedValueSettings(_Section):
    """`[[mqtt.mappings.values]]`: one number of the message."""

    metric: Metric = Field(description="What it measures; see metrics.md.")
    path: JsonPath = Field(default="", description="Dotted path in the JSON; empty: the payload is the number.")
    unit: Unit | None = Field(default=None, description="In which it is sent.")
    unit_path: JsonPath | None = Field(default=None, description="Where its unit stands, instead of `unit`.")

    @model_validator(mode="after")
    def _unit_that_measures_it(self) -> Self:
        _check_unit(self.metric, self.unit, self.unit_path)
        return self


class MappingSettings(_Section):
    """`[[mqtt.mappings]]`"""

    topic: Annotated[str, AfterValidator(_topic_filter)] = Field(description="Topic filter; `+` and `#` are allowed.")
    device: Annotated[str, AfterValidator(_identifier)] = Field(description="Id of the device that speaks there.")
    metric: Metric | None = Field(default=None, description="What the only number measures, without `values`.")
    path: JsonPath = Field(default="", description="Where it stands; empty: the payload is the number.")
    unit: Unit | None = Field(default=None, description="In which it is sent.")
    unit_path: JsonPath | None = Field(default=None, description="Where its unit stands, instead of `unit`.")
    values: tuple[MappedValueSettings, ...] = Field(default=(), description="Several numbers of one message.")
    time_path: JsonPath | None = Field(default=None, description="Where the time of the measurement stands.")
    time_format: TimeFormat = Field(
        default="iso", description="local: a wall clock, whatever offset is written behind it."
    )
    record_path: JsonPath | None = Field(default=None, description="Where the source's own name of a record stands.")
    user_path: JsonPath | None = Field(default=None, description="Where a name of the user stands: a hint.")
    partial: bool = Field(default=False, description="Other values of the same measurement come on other topics.")

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.values:
            if self.metric is not None or self.path or self.unit is not None or self.unit_path is not None:
                raise ValueError("give metric, path and unit either here or under [[mqtt.mappings.values]], not both")
            metrics = [value.metric for value in self.values]
            if len(set(metrics)) != len(metrics):
                raise ValueError("values: a metric appears twice")
        elif self.metric is None:
            raise ValueError("give metric, or several under [[mqtt.mappings.values]]")
        else:
            _check_unit(self.metric, self.unit, self.unit_path)
        return self

    def mapping(self) -> Mapping:
        """The same as a value of the domain."""
        values = [MappedValue(v.metric, v.path, v.unit, v.unit_path) for v in self.values]
        if self.metric is not None:
            values.append(MappedValue(self.metric, self.path, self.unit, self.unit_path))
        return Mapping(
            topic=self.topic,
            values=tuple(values),
            time_path=self.time_path,
            time_format=self.time_format,
            record_path=self.record_path,
            user_path=self.user_path,
            is_partial=self.partial,
        )
