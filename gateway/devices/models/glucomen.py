"""GlucoMen (Menarini)."""

from __future__ import annotations

from gateway.devices.models._family import (
    METER_STEPS,
    METER_WAKE_S,
    Certainty,
    Check,
    Family,
    Note,
    Shown,
    like,
    named,
    says,
)
from gateway.devices.quirks import Quirks

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="glucomen",
    title="GlucoMen (Menarini)",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="glucomen",
            title="GlucoMen Areo with Bluetooth",
            matches=named("glucomen", services=frozenset({"1808"})),
            quirks=Quirks(hangs_up_unbonded=True, wake_s=METER_WAKE_S),
            pairing=METER_STEPS,
            recognises=says(maker=("menarini",), model=("glucomen",)),
        ),
    ),
    seen_by="local name `GlucoMen` with service 1808, or what Device Information says",
    notes=(
        Note("GlucoMen Day is a sensor and a pump, not a meter: nothing is known about its radio.", Certainty.CAPTURED),
        Note("The models with Bluetooth are said to follow the standard.", Certainty.ONE_REPORT),
        Note("Areo 2K is read by NFC in the only public driver.", Certainty.CAPTURED),
    ),
    checks=(
        Check(
            "records with context by record access",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_source.py::test_meter_is_read_end_to_end",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
