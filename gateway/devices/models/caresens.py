"""CareSens (i-SENS), sold under other names too, and dual meters like it."""

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
from gateway.devices.quirks import ClockAccess, Quirks

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="caresens",
    title="CareSens (i-SENS), Keto-Mojo",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="caresens",
            title="CareSens N Premier, CareSens Dual, Keto-Mojo",
            matches=named("caresens", "keto-mojo", "ketomojo", company=0x089E, services=frozenset({"1808"})),
            quirks=Quirks(
                hangs_up_unbonded=True,
                wake_s=METER_WAKE_S,
                clock=ClockAccess.VENDOR,
                is_dual=True,
            ),
            services=("fff0",),
            pairing=METER_STEPS,
            recognises=says(maker=("i-sens", "isens"), model=("caresens", "keto-mojo")),
        ),
    ),
    seen_by="local name `CareSens` or `Keto-Mojo`, company id 0x089E, with 1808; or what Device Information says",
    notes=(
        Note(
            "There is no 1805. The clock is set by writing C0 03 01 00, date and time to FFF1, twice. It cannot be "
            "read, so that its error cannot be measured first: the gateway never sets it.",
            Certainty.CAPTURED,
        ),
        Note(
            "Ketone is marked by meal 6 in the context only: a number waits five seconds for its context.",
            Certainty.CAPTURED,
        ),
        Note("Keto-Mojo meters behave like these or like FORA.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "a number waits for its context, and ketone is never glucose",
            Shown.SCRIPTED,
            (
                "tests/devices/procedures/test_dual_meter.py::test_number_waits_for_its_context",
                "tests/devices/procedures/test_dual_meter.py::test_number_without_its_context_is_not_told",
            ),
        ),
        Check(
            "the clock is left alone, whatever is permitted",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_dual_meter.py::test_clock_that_cannot_be_read_is_not_set",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
