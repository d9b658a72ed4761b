"""A&D Medical."""

from __future__ import annotations

from gateway.devices.models._family import (
    CUFF_STEPS,
    SCALE_STEPS,
    Certainty,
    Check,
    Family,
    Note,
    Shown,
    like,
    named,
)
from gateway.devices.quirks import Quirks

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="a_and_d",
    title="A&D Medical",
    drivers=(
        like(
            "gatt.scale",
            name="a_and_d.scale",
            title="A&D UC-352BLE",
            matches=named("a&d_uc", company=0x0069, services=frozenset({"181d"})),
            quirks=Quirks(),
            pairing=SCALE_STEPS,
        ),
        like(
            "gatt.blood_pressure",
            name="a_and_d.cuff",
            title="A&D UA-651BLE",
            matches=named("a&d_ua", company=0x0069, services=frozenset({"1810"})),
            quirks=Quirks(),
            pairing=CUFF_STEPS,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `A&D_UC...`, `A&D_UA...`; without a name company id 0x0069 with service 181D or 1810",
    notes=(
        Note("Scales and blood pressure monitors follow the adopted services 181D and 1810.", Certainty.ONE_REPORT),
        Note("One published stand-in of UC-352BLE has a weight service of its own and no 181D.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "weighings by the standard service",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_source.py::test_scale_with_users_is_read_with_consent",),
        ),
        Check(
            "blood pressures by the standard service",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_vital_signs.py::test_cuff_is_read_end_to_end",),
        ),
        Check("the devices themselves", Shown.NOT),
    ),
)
