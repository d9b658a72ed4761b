"""openScale sync: what one measurement is, whichever of the messages about it comes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from dialect_kit import message, messages, numbers, only_record

from gateway.devices.dialects.openscale_sync import METRICS, OPENSCALE_SYNC
from gateway.devices.dialects.shape import Said
from gateway.model import Metric, QuarantineReason

TOPIC = "openScaleSync/1/measurements/"


def test_a_measurement_is_read_in_full() -> None:
    """Weight, percentages and the other types by key, in the app's units; what is no metric of ours is left out."""
    record = only_record(OPENSCALE_SYNC.decode(messages("openscale_sync/days.jsonl")[0]))
    assert "1@2026-03-01T06:12Z" == record.record_key
    assert datetime(2026, 3, 1, 6, 12, tzinfo=UTC) == record.time
    assert {
        Metric.BODY_MASS: "71.35 kg",
        Metric.BODY_FAT_PERCENTAGE: "18.4 %",
        Metric.BODY_WATER_PERCENTAGE: "56.2 %",
        Metric.MUSCLE_PERCENTAGE: "44.008408 %",
        Metric.BODY_MASS_INDEX: "22.5 kg/m2",
        Metric.FAT_FREE_MASS: "58.22 kg",
        Metric.BONE_MASS: "3.1 kg",
        Metric.WAIST_CIRCUMFERENCE: "82.0 cm",
        Metric.BASAL_METABOLISM: "1620.0 kcal",
    } == numbers(record.measurements)
    assert {Metric.BODY_MASS, Metric.WAIST_CIRCUMFERENCE} == {
        one.metric for one in record.measurements if not one.is_device_derived
    }
    assert ("1", record.record_key) == (record.context.user_name, record.context.weigh_in)


def test_update_last_and_history_name_the_record_of_the_insert() -> None:
    """A retained copy says exactly what the live message said: the store sees no correction in it."""
    insert, last, _, update, second, history, *_ = messages("openscale_sync/days.jsonl")
    assert only_record(OPENSCALE_SYNC.decode(insert)) == only_record(OPENSCALE_SYNC.decode(last))
    corrected = only_record(OPENSCALE_SYNC.decode(update))
    rows = OPENSCALE_SYNC.decode(history)
    assert ("1@2026-03-01T06:12Z", "71.5 kg") == (
        corrected.record_key,
        numbers(corrected.measurements)[Metric.BODY_MASS],
    )
    assert Said((corrected, only_record(OPENSCALE_SYNC.decode(second)))) == rows


def test_a_deletion_withdraws_every_metric_that_the_record_may_have() -> None:
    """It names the minute and nothing else, so all of them are taken back."""
    *_, delete, _, _ = messages("openscale_sync/days.jsonl")
    record = only_record(OPENSCALE_SYNC.decode(delete))
    assert record.is_withdrawn
    assert ("1@2026-03-02T06:05Z", METRICS) == (record.record_key, tuple(one.metric for one in record.measurements))


def test_two_users_of_one_minute_are_two_records() -> None:
    """Whose it is belongs to the name of the record."""
    ada, _, zoe, *_ = messages("openscale_sync/days.jsonl")
    assert ["1@2026-03-01T06:12Z", "2@2026-03-01T06:12Z"] == [
        only_record(OPENSCALE_SYNC.decode(one)).record_key for one in (ada, zoe)
    ]


def test_nobody_is_deleted_by_a_message() -> None:
    """`clear` is set aside for a person; an empty `last` and a removed retained message say nothing."""
    *_, empty, clear = messages("openscale_sync/days.jsonl")
    (problem,) = OPENSCALE_SYNC.decode(clear).problems
    assert QuarantineReason.UNSUPPORTED is problem.reason
    assert Said() == OPENSCALE_SYNC.decode(empty)
    assert Said() == OPENSCALE_SYNC.decode(message(f"{TOPIC}history", b""))


def test_the_older_topics_without_a_user_are_understood() -> None:
    """Fat was called `fat`, times were milliseconds, and the deletion finds the same record."""
    insert, every, delete = map(OPENSCALE_SYNC.decode, messages("openscale_sync/without-user.jsonl"))
    record = only_record(insert)
    assert {Metric.BODY_MASS: "81.85 kg", Metric.BODY_FAT_PERCENTAGE: "21.5 %"} == numbers(record.measurements)
    assert record.record_key == only_record(delete).record_key == "@2025-06-16T06:00Z"
    assert "@2025-06-15T06:00Z" == only_record(every).record_key


def test_types_are_known_by_identity_in_newer_versions() -> None:
    """`builtin.bone` is the bone mass, and a row of the history says the same."""
    insert, history = map(OPENSCALE_SYNC.decode, messages("openscale_sync/api-3.jsonl"))
    assert {
        Metric.BODY_MASS: "71.35 kg",
        Metric.BODY_MASS_INDEX: "22.5 kg/m2",
        Metric.BONE_MASS: "3.1 kg",
    } == numbers(only_record(insert).measurements)
    assert insert == history


def test_a_payload_of_another_user_is_set_aside() -> None:
    """The topic wins, and the contradiction is shown."""
    (problem,) = OPENSCALE_SYNC.decode(
        message(f"{TOPIC}insert", {"userId": 2, "date": "2026-03-01T07:12+0100", "weight": 71})
    ).problems
    assert QuarantineReason.IDENTITY_MISMATCH is problem.reason


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("insert", {"weight": 71.3}),
        ("insert", {"date": "2026-03-01T07:12", "weight": 71.3}),
        ("insert", {"date": "2026-02-30T07:12+0100", "weight": 71.3}),
        ("insert", {"date": "2026-03-01T07:12+0100", "weight": True}),
        ("insert", [1]),
        ("insert", {"date": -1, "weight": 71}),
        ("delete", {}),
        ("delete", {"dateTime": 10**20}),
        ("history", {"fields": ["date", "date"], "rows": []}),
        ("history", {"fields": ["weight"], "rows": []}),
        ("history", {"fields": ["date", "weight"], "rows": [[1]]}),
        ("history", {"rows": []}),
    ],
)
def test_what_does_not_fit_is_named(event: str, payload: object) -> None:
    """A reason for the quarantine, without a value in it."""
    said = OPENSCALE_SYNC.decode(message(f"{TOPIC}{event}", payload))
    assert not said.records
    assert all("71" not in problem.detail for problem in said.problems)
    assert said.problems


def test_one_bad_value_does_not_take_the_others_along() -> None:
    """Fat that is no number, and a unit that measures no bone, are named; the weight stays."""
    said = OPENSCALE_SYNC.decode(
        message(
            f"{TOPIC}insert",
            {
                "date": "2026-03-01T07:12+0100",
                "weight": "71.3",
                "body_fat": "unknown",
                "values": [{"key": "BONE", "unit": "%", "value": 4.2}, {"key": 3}, 1, {"key": "WAIST", "unit": 4}],
            },
        )
    )
    assert {Metric.BODY_MASS: "71.3 kg"} == numbers(said.records[0].measurements)
    assert [QuarantineReason.MALFORMED, QuarantineReason.UNSUPPORTED, QuarantineReason.UNSUPPORTED] == [
        problem.reason for problem in said.problems
    ]


@pytest.mark.parametrize(
    "topic", ["openScaleSync/inbound/1/x", "openScaleSync/1/measurements/other", "measurements", ""]
)
def test_other_topics_are_none_of_our_business(topic: str) -> None:
    """What the app reads, and what it may publish one day."""
    assert Said() == OPENSCALE_SYNC.decode(message(topic, {"weight": 71}))
