"""ble-scale-sync, xiaomi_mi_scale and Tasmota: each message of a weigh-in as these programs send it."""

from __future__ import annotations

from datetime import datetime

import pytest
from dialect_kit import message, messages, numbers, only_record, only_untimed

from gateway.devices.dialects.ble_scale_sync import BLE_SCALE_SYNC
from gateway.devices.dialects.shape import Said
from gateway.devices.dialects.tasmota import TASMOTA
from gateway.devices.dialects.xiaomi_mi_scale import XIAOMI_MI_SCALE
from gateway.model import Metric, QuarantineReason

STAT = "stat/tasmota_48D204/SENSOR"


def test_ble_scale_sync_gives_a_weigh_in_without_a_time() -> None:
    """All of it in the program's units; what a formula made is marked; the slug of the topic is a hint."""
    _, retained, live, *_ = messages("ble_scale_sync/household.jsonl")
    untimed = only_untimed(BLE_SCALE_SYNC.decode(live))
    assert untimed == only_untimed(BLE_SCALE_SYNC.decode(retained))
    assert {
        Metric.BODY_MASS: "71.35 kg",
        Metric.IMPEDANCE: "512 Ohm",
        Metric.BODY_MASS_INDEX: "22.5 kg/m2",
        Metric.BODY_FAT_PERCENTAGE: "18.4 %",
        Metric.BODY_WATER_PERCENTAGE: "56.2 %",
        Metric.BONE_MASS: "3.1 kg",
        Metric.MUSCLE_MASS: "55.1 kg",
        Metric.VISCERAL_FAT_RATING: "6 1",
        Metric.BASAL_METABOLISM: "1620 kcal",
    } == numbers(untimed.measurements)
    assert {Metric.BODY_MASS, Metric.IMPEDANCE} == {
        one.metric for one in untimed.measurements if not one.is_device_derived
    }
    assert ("ada", False) == (untimed.context.user_name, untimed.is_partial)


def test_ble_scale_sync_zero_is_not_measured_and_a_status_no_weigh_in() -> None:
    """A scale without electrodes; the topic of a household of one names nobody."""
    online, _, _, plain, offline = messages("ble_scale_sync/household.jsonl")
    untimed = only_untimed(BLE_SCALE_SYNC.decode(plain))
    assert {Metric.BODY_MASS: "71.2 kg", Metric.BODY_MASS_INDEX: "22.5 kg/m2"} == numbers(untimed.measurements)
    assert untimed.context.user_name is None
    assert [Said(), Said()] == [BLE_SCALE_SYNC.decode(one) for one in (online, offline)]
    (problem,) = BLE_SCALE_SYNC.decode(message("scale/body-composition", {"other": 1})).problems
    assert QuarantineReason.UNSUPPORTED is problem.reason


def test_xiaomi_mi_scale_time_is_the_wall_clock_it_is() -> None:
    """The `+00:00` behind a local time is not believed; the retained copy is the same record."""
    plain, full, retained, _ = messages("xiaomi_mi_scale/weigh-in.jsonl")
    record = only_record(XIAOMI_MI_SCALE.decode(full))
    assert record == only_record(XIAOMI_MI_SCALE.decode(retained))
    assert datetime(2026, 3, 1, 7, 12, 5) == record.time  # noqa: DTZ001 -- a wall clock
    assert ("t2026-03-01T07:12:05", "ADA") == (record.record_key, record.context.user_name)
    assert {
        Metric.BODY_MASS: "71.35 kg",
        Metric.IMPEDANCE: "487 Ohm",
        Metric.BODY_MASS_INDEX: "22.52 kg/m2",
        Metric.BASAL_METABOLISM: "1620.4 kcal",
        Metric.VISCERAL_FAT_RATING: "6.1 1",
        Metric.FAT_FREE_MASS: "58.22 kg",
        Metric.BODY_FAT_PERCENTAGE: "18.4 %",
        Metric.BODY_WATER_PERCENTAGE: "56.2 %",
        Metric.BONE_MASS: "3.1 kg",
        Metric.MUSCLE_MASS: "55.1 kg",
        Metric.PROTEIN_PERCENTAGE: "17.8 %",
    } == numbers(record.measurements)
    assert 4 == len(only_record(XIAOMI_MI_SCALE.decode(plain)).measurements)


def test_xiaomi_mi_scale_of_old_versions() -> None:
    """Numbers as texts, pounds, a time with another separator."""
    *_, old = messages("xiaomi_mi_scale/weigh-in.jsonl")
    record = only_record(XIAOMI_MI_SCALE.decode(old))
    assert "157.30 lb" == numbers(record.measurements)[Metric.BODY_MASS]
    assert datetime(2020, 11, 2, 7, 12, 5) == record.time  # noqa: DTZ001 -- a wall clock


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"weight": 71, "timestamp": "2026-03-01T07:12:05+00:00"}, QuarantineReason.UNSUPPORTED),
        ({"weight": 71, "weight_unit": "st"}, QuarantineReason.UNSUPPORTED),
        ({"weight": "nan", "weight_unit": "kg"}, QuarantineReason.MALFORMED),
        ({"weight": True, "weight_unit": "kg"}, QuarantineReason.MALFORMED),
        ({"weight": 71, "weight_unit": "kg", "timestamp": "2026-02-30T07:12:05+00:00"}, QuarantineReason.MALFORMED),
        ({"weight": 71, "weight_unit": "kg", "timestamp": 5}, QuarantineReason.MALFORMED),
    ],
)
def test_xiaomi_mi_scale_faults_are_named(payload: object, reason: QuarantineReason) -> None:
    """Nothing is guessed: no unit, no time that exists, no number."""
    said = XIAOMI_MI_SCALE.decode(message("miscale/ADA/weight", payload))
    assert Said(problems=said.problems) == said
    assert [reason] == [problem.reason for problem in said.problems]


def test_xiaomi_mi_scale_believes_an_offset_that_is_one() -> None:
    """An offset other than zero is an instant; without a time the weigh-in is nameless."""
    payload = {"weight": 143, "weight_unit": "jin", "timestamp": "2026-03-01T07:12:05+01:00"}
    record = only_record(XIAOMI_MI_SCALE.decode(message("miscale/ADA/weight", payload)))
    assert "t2026-03-01T06:12:05Z" == record.record_key
    del payload["timestamp"]
    untimed = only_untimed(XIAOMI_MI_SCALE.decode(message("miscale/ADA/weight", payload)))
    assert {Metric.BODY_MASS: "143 jin"} == numbers(untimed.measurements)


def test_tasmota_takes_what_has_settled_and_is_still_loaded() -> None:
    """Unsettled and removed are no weigh-ins; a weight whose impedance may follow is one half."""
    unsettled, half, whole, removed, *_ = map(TASMOTA.decode, messages("tasmota/bridge.jsonl"))
    assert [Said(claims="70:87:9E:56:8C:44")] * 2 == [unsettled, removed]
    first, second = only_untimed(half), only_untimed(whole)
    assert ({Metric.BODY_MASS: "71.35 kg"}, True) == (numbers(first.measurements), first.is_partial)
    assert {Metric.BODY_MASS: "71.35 kg", Metric.IMPEDANCE: "487 Ohm"} == numbers(second.measurements)
    assert not second.is_partial
    assert "70:87:9E:56:8C:44" == whole.claims


def test_tasmota_summaries_are_no_weigh_ins() -> None:
    """They repeat the last weight for days."""
    *_, tele, single, old = map(TASMOTA.decode, messages("tasmota/bridge.jsonl"))
    assert [Said(), Said()] == [tele, single]
    untimed = only_untimed(old)
    assert ({Metric.BODY_MASS: "3 kg"}, False) == (numbers(untimed.measurements), untimed.is_partial)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"MISCALEV1568c44": {"WeightStabilized": 1}}, QuarantineReason.MALFORMED),
        (
            {"MISCALEV1568c44": {"MAC": "70879e568c44", "WeightStabilized": 1, "WeightRemoved": 0, "WeightUnit": ""}},
            QuarantineReason.UNSUPPORTED,
        ),
        ({"MISCALEV1568c44": {}, "MISCALEV2568c45": {}}, QuarantineReason.IDENTITY_MISMATCH),
        ([], QuarantineReason.MALFORMED),
    ],
)
def test_tasmota_faults_are_named(payload: object, reason: QuarantineReason) -> None:
    """A scale without an address, a unit nobody knows, two scales at once."""
    assert [reason] == [problem.reason for problem in TASMOTA.decode(message(STAT, payload)).problems]
