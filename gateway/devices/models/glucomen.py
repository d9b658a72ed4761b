"""GlucoMen (Menarini)."""

from __future__ import annotations

from gateway.devices.drivers import Steps
from gateway.devices.models._family import Certainty, Check, Family, Note, Shown, like, named, says
from gateway.devices.quirks import Bonding, Quirks

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="glucomen",
    title="GlucoMen (Menarini)",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="glucomen",
            title="GlucoMen Day, GlucoMen Areo",
            matches=named("glucomen", services=frozenset({"1808"})),
            quirks=Quirks(bonding=Bonding.WHEN_REFUSED, hangs_up_unbonded=True),
            pairing=Steps(
                fr=(
                    "Allumez le lecteur et activez Bluetooth dans ses réglages.",
                    "Sur la page de la passerelle, choisissez le lecteur dans la liste.",
                    "Si le lecteur montre un nombre, tapez-le ; sinon attendez le message « associé ».",
                ),
                en=(
                    "Switch the meter on and switch Bluetooth on in its settings.",
                    "On the page of the gateway, choose the meter in the list.",
                    "If the meter shows a number, type it; otherwise wait for the message that it is paired.",
                ),
            ),
            recognises=says(maker=("menarini",), model=("glucomen",)),
        ),
    ),
    seen_by="local name `GlucoMen` with service 1808, or what Device Information says",
    notes=(
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
