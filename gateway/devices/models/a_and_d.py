"""A&D Medical."""

from __future__ import annotations

from gateway.devices.drivers import Steps
from gateway.devices.models._family import Certainty, Check, Family, Note, Shown, like, named
from gateway.devices.quirks import Bonding, LinkEnd, Quirks

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="a_and_d",
    title="A&D Medical",
    drivers=(
        like(
            "gatt.scale",
            name="a_and_d.scale",
            title="A&D UC-352BLE, UC-350BLE",
            matches=named("a&d_uc", company=0x0069, services=frozenset({"181d"})),
            quirks=Quirks(bonding=Bonding.JUST_WORKS, link_end=LinkEnd.DEVICE_AFTER_TRANSFER),
            pairing=Steps(
                fr=(
                    "Gardez le bouton sous la balance appuyé jusqu’à ce que « Pr » s’affiche.",
                    "Sur la page de la passerelle, choisissez la balance dans la liste.",
                    "Attendez le message « associé », puis pesez-vous une fois.",
                ),
                en=(
                    "Hold the button under the scale down until it shows Pr.",
                    "On the page of the gateway, choose the scale in the list.",
                    "Wait for the message that it is paired, then weigh yourself once.",
                ),
            ),
        ),
    ),
    seen_by="local name `A&D_UC...`; without a name company id 0x0069 with service 181D",
    notes=(
        Note("Scales and blood pressure monitors follow the adopted services 181D and 1810.", Certainty.ONE_REPORT),
        Note("A stored weighing is told when the scale wakes after the next one.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "weighings by the standard service",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_source.py::test_scale_with_users_is_read_with_consent",),
        ),
        Check("the devices themselves", Shown.NOT),
    ),
)
