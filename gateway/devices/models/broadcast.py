"""Scales that only broadcast: Xiaomi, and home-made ones that speak BTHome."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.devices.advert import Advert
from gateway.devices.bthome import BTHOME_SERVICE, is_bthome_encrypted, parse_bthome
from gateway.devices.drivers import Driver, Steps
from gateway.devices.mibeacon import MIBEACON_SERVICE, is_mibeacon_scale
from gateway.devices.models._family import Certainty, Check, Family, Note, NotRead, Shown
from gateway.devices.procedures import BthomeScale, Listener, MiScale, SealedBthomeScale, SealedMiScale
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
_SEALED_QUIRKS = Quirks(bonding=Bonding.NONE, clock=ClockAccess.NONE)
_SEALED_STEPS = Steps(
    fr=(
        "Demandez la clé de l'appareil : celle de l'application Xiaomi, ou celle que vous avez donnée à BTHome.",
        "Écrivez-la dans un fichier que vous seul pouvez lire (chmod 600).",
        "Posez la balance à moins de dix mètres de la passerelle et montez dessus.",
        "Ajoutez-la par : gateway pair ADRESSE --bind-key-file FICHIER.",
    ),
    en=(
        "Get the device's key: that of the Xiaomi app, or the one that you gave BTHome.",
        "Write it into a file that only you can read (chmod 600).",
        "Put the scale less than ten metres from the gateway and step on it.",
        "Add it with: gateway pair ADDRESS --bind-key-file FILE.",
    ),
)
_NEEDS_KEY = (
    "Cet appareil chiffre ses mesures : la passerelle les lit une fois qu'elle a sa clé.",
    "This device encrypts its readings: the gateway reads them once it has its key.",
)
_GIVE_KEY = (
    "Donnez-la par la commande gateway pair, avec --bind-key-file.",
    "Give it with the command gateway pair and --bind-key-file.",
)
_NOT_DECODED = (
    "Cet appareil chiffre ses mesures, et la passerelle n'en lit pas le contenu, même avec sa clé.",
    "This device encrypts its readings, and the gateway does not read what is in them, even with its key.",
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


def _is_sealed_xiaomi(advert: Advert) -> bool:
    return is_mibeacon_scale(advert.service_data.get(MIBEACON_SERVICE, b""))


def _is_sealed_bthome(advert: Advert) -> bool:
    return is_bthome_encrypted(advert.service_data.get(BTHOME_SERVICE, b""))


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
        Driver(
            name="xiaomi.sealed_scale",
            kinds=frozenset({DeviceKind.BODY_COMPOSITION_ANALYSER, DeviceKind.SCALE}),
            services=(MIBEACON_SERVICE,),
            matches=_is_sealed_xiaomi,
            unlock=SealedMiScale,
            checkpoint=BROADCAST_CHECKPOINT,
            quirks=_SEALED_QUIRKS,
            title="Xiaomi S200, S400 (MJTZC01YM, MJTZC02YM, MJTZC03YM)",
            pairing=_SEALED_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="xiaomi.needs_key",
            title="Xiaomi S200, S400, without its key",
            matches=_is_sealed_xiaomi,
            reason=_NEEDS_KEY,
            route=_GIVE_KEY,
        ),
        NotRead(
            name="xiaomi.encrypted",
            title="Xiaomi S800 and others",
            matches=lambda advert: MIBEACON_SERVICE in advert.service_data,
            reason=_NOT_DECODED,
            route=_BY_HOME_ASSISTANT,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="service data 181D of 10 octets or 181B of 13 octets; FE95 with the product of an S200 or S400",
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
            "S200, S400: encrypted with a key of the device's own; an S400 tells heart rate and two impedances.",
            Certainty.CAPTURED,
        ),
        Note("S400: all packets of a weigh-in hold the same time, which names it.", Certainty.CAPTURED),
        Note("S800: not decoded.", Certainty.CAPTURED),
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
        Check(
            "captured frames of an S200 and an S400 with their keys",
            Shown.VECTOR,
            (
                "tests/devices/test_mibeacon.py::test_captured_weigh_in_of_an_s400",
                "tests/devices/test_mibeacon.py::test_captured_weigh_in_of_an_s200",
            ),
        ),
        Check(
            "encrypted, over the air: one weigh-in, nothing that is played again, not after a restart either",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_sealed.py::test_packet_played_again_after_a_restart_is_seen",),
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
        Driver(
            name="bthome.sealed_scale",
            kinds=frozenset({DeviceKind.SCALE}),
            services=(BTHOME_SERVICE,),
            matches=_is_sealed_bthome,
            unlock=SealedBthomeScale,
            checkpoint=BROADCAST_CHECKPOINT,
            quirks=_SEALED_QUIRKS,
            title="Home-made scale that speaks BTHome v2, encrypted",
            pairing=_SEALED_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="bthome.encrypted",
            title="BTHome device without its key",
            matches=_is_sealed_bthome,
            reason=_NEEDS_KEY,
            route=_GIVE_KEY,
        ),
    ),
    seen_certainty=Certainty.STANDARD,
    seen_by="service data FCD2, version 2, with a mass; encrypted: any, because only the key shows what it says",
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
        Check(
            "encrypted, the format's own example",
            Shown.VECTOR,
            ("tests/devices/test_bthome.py::test_encrypted_example",),
        ),
        Check(
            "encrypted, over the air",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_sealed.py::test_encrypted_bthome_scale_is_heard",),
        ),
        Check("a device itself", Shown.NOT),
    ),
)
