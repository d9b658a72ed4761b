"""FORA and other meters made by TaiDoc."""

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
from gateway.devices.quirks import ClockAccess, Quirks, RecordNumbering

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="fora",
    title="FORA, TaiDoc",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="fora",
            title="FORA Diamond, DM30b and other TaiDoc meters with the Glucose Service",
            matches=named("fora", "taidoc", "diamond", services=frozenset({"1808"})),
            quirks=Quirks(
                hangs_up_unbonded=True,
                wake_s=METER_WAKE_S,
                clock=ClockAccess.NONE,
                numbering=RecordNumbering.BACKWARDS,
                sends_whole_memory=True,
                is_dual=True,
            ),
            pairing=METER_STEPS,
            recognises=says(maker=("taidoc", "foracare"), model=("fora", "dm30", "diamond")),
        ),
    ),
    seen_by="local name `FORA`, `TAIDOC` or `DIAMOND` with service 1808, or what Device Information says",
    seen_certainty=Certainty.CAPTURED,
    notes=(
        Note("Other TaiDoc meters have a protocol of their own and no 1808: those are not read.", Certainty.ONE_REPORT),
        Note("The local name DIAMOND was not found in any driver.", Certainty.ONE_REPORT),
        Note(
            "Firmware 1.2.4 of DM30b numbers records backwards, 0 is the newest: base time and value name a record.",
            Certainty.CAPTURED,
        ),
        Note("There is no clock service, so a wrong clock of the meter is not noticed.", Certainty.CAPTURED),
        Note("Ketone strips may reuse the glucose characteristic with meal 6 in the context.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "numbers that move at each test: every record once, no epochs",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_glucose_dump.py::test_numbers_that_move_make_no_second_record",),
        ),
        Check(
            "the family is found by what Device Information says",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_models.py::test_backwards_meter_is_recognised_after_connecting",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
