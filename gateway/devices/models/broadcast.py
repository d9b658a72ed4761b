"""Scales that only broadcast: Xiaomi, and home-made ones that speak BTHome."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.devices.advert import Advert
from gateway.devices.bthome import BTHOME_SERVICE, is_bthome_encrypted, parse_bthome
from gateway.devices.drivers import Driver, Steps
from gateway.devices.models._family import Certainty, Check, Family, Note, NotRead, Shown
from gateway.devices.procedures import BthomeScale, Listener, MiScale
from gateway.devices.procedures.broadcast_scale import BROADCAST_CHECKPOINT
from gateway.devices.quirks import Bonding, ClockAccess, Quirks
from gateway.errors import MalformedFrame
from gateway.model import DeviceKind

__all__ = ["BTHOME", "XIAOMI"]

_State = Mapping[str, str | int | bool | None] | None
_QUIRKS = Quirks(bonding=Bonding.NONE, clock=ClockAccess.NONE, is_low_trust=True)
_STEPS = Steps(
    fr=(
        "Posez la balance sur un sol dur, à moins de dix mètres de la passerelle.",
        "Montez dessus : elle apparaît dans la liste sur la page de la passerelle.",
        "Choisissez-la, puis pesez-vous une fois pieds nus. Il n’y a pas de code à taper.",
        "Vérifiez que le poids affiché est le vôtre : un voisin peut avoir la même balance.",
    ),
    en=(
        "Put the scale on a hard floor, less than ten metres from the gateway.",
        "Step on it: it appears in the list on the page of the gateway.",
        "Choose it, then weigh yourself once, barefoot. There is no code to type.",
        "Check that the weight shown is yours: a neighbour may have the same scale.",
    ),
)
_MIBEACON = "fe95"
_NEEDS_KEY = (
    "Cet appareil chiffre ses mesures : il faut sa clé, que la passerelle ne sait pas encore utiliser.",
    "This device encrypts its readings: it needs its key, which the gateway cannot use yet.",
)
_BY_HOME_ASSISTANT = (
    "Ses mesures peuvent arriver par MQTT, depuis un programme qui connaît la clé (Home Assistant, ESPHome).",
    "Its readings can come over MQTT, from a program that knows the key (Home Assistant, ESPHome).",
)


def _tells(service: str, octets: int) -> Callable[[Advert], bool]:
    def matches(advert: Advert) -> bool:
        other = "181b" if service == "181d" else "181d"
        is_alone = other not in advert.service_data and BTHOME_SERVICE not in advert.service_data
        return is_alone and len(advert.service_data.get(service, b"")) == octets

    return matches


def _listens(service: str) -> Callable[[_State], Listener]:
    return lambda state: MiScale(service, state)


def _is_bthome_scale(advert: Advert) -> bool:
    try:
        return parse_bthome(advert.service_data.get(BTHOME_SERVICE, b"")).mass is not None
    except MalformedFrame:
        return False


XIAOMI = Family(
    slug="xiaomi",
    title="Xiaomi",
    drivers=(
        Driver(
            name="xiaomi.scale",
            kinds=frozenset({DeviceKind.SCALE}),
            services=("181d",),
            matches=_tells("181d", 10),
            listen=_listens("181d"),
            checkpoint=BROADCAST_CHECKPOINT,
            quirks=_QUIRKS,
            title="Mi Smart Scale 1, 2 (XMTZC01HM, XMTZC04HM)",
            pairing=_STEPS,
        ),
        Driver(
            name="xiaomi.body_composition",
            kinds=frozenset({DeviceKind.BODY_COMPOSITION_ANALYSER, DeviceKind.SCALE}),
            services=("181b",),
            matches=_tells("181b", 13),
            listen=_listens("181b"),
            checkpoint=BROADCAST_CHECKPOINT,
            quirks=_QUIRKS,
            title="Mi Body Composition Scale 1, 2 (XMTZC02HM, XMTZC05HM)",
            pairing=_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="xiaomi.encrypted",
            title="Xiaomi S200, S400, S800",
            matches=lambda advert: _MIBEACON in advert.service_data,
            reason=_NEEDS_KEY,
            route=_BY_HOME_ASSISTANT,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="service data 181D of 10 octets or 181B of 13 octets",
    notes=(
        Note(
            "A weigh-in is repeated dozens of times, also after the load has left and minutes later.",
            Certainty.CAPTURED,
        ),
        Note(
            "The clock starts in 1970 or 2015 after a battery change: then the time of reception counts.",
            Certainty.CAPTURED,
        ),
        Note("The impedance comes some seconds after the weight, or never.", Certainty.CAPTURED),
        Note("The memory of the scale is not read.", Certainty.CAPTURED),
        Note(
            "Anybody nearby could imitate it: ten weigh-ins in ten minutes at most, and each reading is marked.",
            Certainty.STANDARD,
        ),
    ),
    checks=(
        Check(
            "payloads",
            Shown.VECTOR,
            (
                "tests/devices/test_xiaomi_scale.py::test_worked_mi_scale",
                "tests/devices/test_xiaomi_scale.py::test_worked_body_composition_scale",
            ),
        ),
        Check(
            "unstable, stable, removed, repeated, next person: exactly one reading each",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_broadcast_scale.py::test_one_reading_for_each_weigh_in",),
        ),
        Check(
            "over the air, beside the same scale of a neighbour",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_listening.py::test_scale_of_a_neighbour_is_not_recorded",),
        ),
        Check("the scale itself", Shown.NOT),
    ),
)
BTHOME = Family(
    slug="bthome",
    title="BTHome",
    drivers=(
        Driver(
            name="bthome.scale",
            kinds=frozenset({DeviceKind.SCALE}),
            services=(BTHOME_SERVICE,),
            matches=_is_bthome_scale,
            listen=BthomeScale,
            checkpoint=BROADCAST_CHECKPOINT,
            quirks=_QUIRKS,
            title="Home-made scale that speaks BTHome v2",
            pairing=_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="bthome.encrypted",
            title="BTHome device with a key",
            matches=lambda advert: is_bthome_encrypted(advert.service_data.get(BTHOME_SERVICE, b"")),
            reason=_NEEDS_KEY,
            route=_BY_HOME_ASSISTANT,
        ),
    ),
    seen_certainty=Certainty.STANDARD,
    seen_by="service data FCD2, version 2, not encrypted, with a mass",
    notes=(
        Note(
            "Nothing says that a weight has settled: each new packet number with a mass is one weigh-in.",
            Certainty.STANDARD,
        ),
        Note("A packet number that goes back is taken only after a minute of silence.", Certainty.STANDARD),
        Note(
            "Anybody nearby could imitate it: ten weigh-ins in ten minutes at most, and each reading is marked.",
            Certainty.STANDARD,
        ),
    ),
    checks=(
        Check("payloads", Shown.VECTOR, ("tests/devices/test_bthome.py::test_worked_packet",)),
        Check(
            "each packet number once",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_broadcast_scale.py::test_bthome_packet_numbers_count_weigh_ins",),
        ),
        Check(
            "over the air",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_listening.py::test_bthome_scale_is_heard",),
        ),
        Check("a device itself", Shown.NOT),
    ),
)
