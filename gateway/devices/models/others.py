"""Makers whose devices have a protocol of their own: recognised, so that a person can be told why they are not read."""

from __future__ import annotations

from gateway.devices.advert import Advert, full_uuid
from gateway.devices.models._family import BY_OPENSCALE, Certainty, Check, Family, Note, NotRead, Shown, named

__all__ = ["EUFY", "MEDISANA", "RENPHO", "SOEHNLE"]

_OWN_LANGUAGE = (
    "Cette balance parle un langage propre à son fabricant, qui n’est pas publié.",
    "This scale speaks a language of its maker's own, which is not published.",
)
_QN_COMPANY, _QN_HEAD = 0xFFFF, b"\xaa\xbb"
_SOEHNLE_SERVICE = "352e3000"
_MEDISANA_SERVICE = "78b2"
_soehnle = named("shape100", "shape200", "shape50", "style100")
_renpho = named("qn-scale", "renpho")
_TOLD = Check(
    "a person is told why it cannot be read",
    Shown.VECTOR,
    ("tests/devices/test_models.py::test_what_cannot_be_read_says_why",),
)


def _is_soehnle(advert: Advert) -> bool:
    return _soehnle(advert) or any(uuid.startswith(_SOEHNLE_SERVICE) for uuid in advert.services)


def _is_medisana(advert: Advert) -> bool:
    return _MEDISANA_SERVICE in advert.services or full_uuid(_MEDISANA_SERVICE) in advert.services


def _is_renpho(advert: Advert) -> bool:
    if advert.services & {"181d", "181b"}:
        return False  # some follow the standard
    return _renpho(advert) or advert.manufacturer_data.get(_QN_COMPANY, b"").startswith(_QN_HEAD)


MEDISANA = Family(
    slug="medisana",
    title="Medisana",
    not_read=(
        NotRead(
            name="medisana.own_protocol",
            title="Medisana BS430, BS440, BS444",
            matches=_is_medisana,
            reason=_OWN_LANGUAGE,
            route=(
                "Ses mesures peuvent arriver par MQTT, avec le programme bs440mqtt.",
                "Its readings can come over MQTT, with the program bs440mqtt.",
            ),
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="service 78B2",
    notes=(Note("The clock of these scales counts from the year 2010.", Certainty.CAPTURED),),
    checks=(_TOLD,),
)
SOEHNLE = Family(
    slug="soehnle",
    title="Soehnle",
    not_read=(
        NotRead(
            name="soehnle.own_protocol",
            title="Soehnle Shape and Style",
            matches=_is_soehnle,
            reason=_OWN_LANGUAGE,
            route=BY_OPENSCALE,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="a service that begins with 352E3000, or local name `Shape...`, `Style100`",
    notes=(Note("A protocol of its own.", Certainty.CAPTURED),),
    checks=(_TOLD,),
)
RENPHO = Family(
    slug="renpho",
    title="Renpho and other QN scales",
    not_read=(
        NotRead(
            name="renpho.own_protocol",
            title="Renpho, QN-Scale",
            matches=_is_renpho,
            reason=_OWN_LANGUAGE,
            route=BY_OPENSCALE,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `QN-Scale` or `Renpho`, or company id 0xFFFF with AA BB",
    notes=(Note("Unit and user are agreed on in a conversation of its own over FFE0 or FFF0.", Certainty.CAPTURED),),
    checks=(_TOLD,),
)
EUFY = Family(
    slug="eufy",
    title="Eufy",
    not_read=(
        NotRead(
            name="eufy.own_protocol",
            title="Eufy C1, P1, P2, P2 Pro",
            matches=named("eufy t91"),
            reason=_OWN_LANGUAGE,
            route=BY_OPENSCALE,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `eufy T91..`",
    notes=(Note("P2 and P2 Pro speak only after an AES handshake.", Certainty.CAPTURED),),
    checks=(_TOLD,),
)
