"""Payloads of cuffs, belts, thermometers and oximeters in words."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.devices.describe import describe_characteristic

STAMP = "2025-02-03T04:05:06"


@pytest.mark.parametrize(
    ("uuid", "payload", "expected"),
    [
        (
            "2a35",
            "1e 7800 5000 5d00 e9070203040506 4800 01 0c00",
            {
                "systolic_mmhg": 120,
                "diastolic_mmhg": 80,
                "mean_mmhg": 93,
                "time_stamp": STAMP,
                "pulse_per_min": 72,
                "user_index": 1,
                "status": ["irregular_pulse", "pulse_rate_above_range"],
            },
        ),
        (
            "2a35",
            "21 a0f0 6bf0 ff07",
            {
                "systolic_mmhg": Decimal("120.00986928"),
                "systolic_kpa": 16,
                "diastolic_mmhg": Decimal("80.256600081"),
                "diastolic_kpa": Decimal("10.7"),
                "mean_mmhg": None,
                "mean_mmhg_not_available": "not_a_number",
                "time_stamp": None,
                "user_index": None,
                "status": [],
                "reserved_flags": 32,
            },
        ),
        (
            "2a35",
            "10 ff07 ff07 ff07 4080",
            {
                "not_available": "unsuccessful",
                "time_stamp": None,
                "user_index": None,
                "status": [],
                "reserved_status": 0x8040,
            },
        ),
        (
            "2a36",
            "00 a000 ff07 ff07",
            {"cuff_pressure_mmhg": 160, "time_stamp": None, "user_index": None, "status": []},
        ),
        ("2a49", "0500", {"features": ["body_movement_detection", "irregular_pulse_detection"]}),
        (
            "2a37",
            "1e 48 0a00 5503 0004",
            {
                "heart_rate_per_min": 72,
                "has_skin_contact": True,
                "energy_kj": 10,
                "rr_intervals_ms": [Decimal("833.0078125"), 1000],
            },
        ),
        ("2a37", "a4 00", {"heart_rate_per_min": 0, "has_skin_contact": False, "reserved_flags": 0xA0}),
        ("2a37", "01 2c01", {"heart_rate_per_min": 300}),
        ("2a38", "01", {"body_sensor_location": "chest"}),
        (
            "2a1c",
            "06 740100ff e9070203040506 03",
            {"temperature_c": Decimal("37.2"), "time_stamp": STAMP, "site": "ear"},
        ),
        (
            "2a1c",
            "09 da0300ff",
            {
                "temperature_c": 37,
                "temperature_f": Decimal("98.6"),
                "time_stamp": None,
                "site": None,
                "reserved_flags": 8,
            },
        ),
        (
            "2a1e",
            "00 ffff7f00",
            {
                "temperature_c": None,
                "temperature_c_not_available": "not_a_number",
                "time_stamp": None,
                "site": None,
            },
        ),
        ("2a1d", "06", {"site": "mouth"}),
        ("2a21", "100e", {"interval_s": 3600}),
        (
            "2a5e",
            "1f 6100 4400 e9070203040506 8000 200000 19f0",
            {
                "saturation_percent": 97,
                "pulse_per_min": 68,
                "time_stamp": STAMP,
                "is_clock_unset": True,
                "measurement_status": ["validated_data"],
                "device_status": ["low_perfusion"],
                "pulse_amplitude_percent": Decimal("2.5"),
            },
        ),
        (
            "2a5f",
            "27 6100 4400 6000 4500 6200 4300 4100",
            {
                "saturation_percent": 97,
                "pulse_per_min": 68,
                "fast_saturation_percent": 96,
                "fast_pulse_per_min": 69,
                "slow_saturation_percent": 98,
                "slow_pulse_per_min": 67,
                "measurement_status": ["early_estimated_data"],
                "reserved_status": 1,
                "reserved_flags": 0x20,
            },
        ),
        (
            "2a60",
            "0700 8001 200000",
            {
                "features": ["measurement_status", "device_and_sensor_status", "spot_check_storage"],
                "measurement_status_support": ["validated_data", "fully_qualified_data"],
                "device_status_support": ["low_perfusion"],
            },
        ),
        ("2a60", "0800", {"features": ["spot_check_time_stamp"]}),
    ],
)
def test_words_of_a_payload(uuid: str, payload: str, expected: dict[str, object]) -> None:
    """Every field with its unit in the name, exact, and nothing else."""
    described = describe_characteristic(uuid, bytes.fromhex(payload))
    assert ("characteristic", uuid) == next(iter(described.items()))
    assert expected == {key: value for key, value in described.items() if key not in {"characteristic", "name"}}
