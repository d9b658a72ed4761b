"""Words about payloads that were set aside and about missing results. French first."""

from __future__ import annotations

from typing import Final

from gateway.model import QuarantineReason
from gateway.normalise.gaps import GapReason

__all__ = ["LEFTOVER_WORDS"]

_REASONS: Final[dict[QuarantineReason, tuple[str, str]]] = {
    QuarantineReason.MALFORMED: (
        "La passerelle n'a pas pu le lire.",
        "The gateway could not read it.",
    ),
    QuarantineReason.IMPLAUSIBLE: (
        "La valeur est impossible pour cette mesure.",
        "The value is not possible for this measurement.",
    ),
    QuarantineReason.UNSUPPORTED: (
        "La passerelle ne connaît pas encore ce format.",
        "The gateway does not know this format yet.",
    ),
    QuarantineReason.IDENTITY_MISMATCH: (
        "Il se dit d'un autre appareil ou d'une autre personne que la voie par laquelle il est arrivé. Vérifiez qui "
        "envoie ces messages.",
        "It claims another device or person than the way it came in by. Check who sends these messages.",
    ),
    QuarantineReason.TOO_LARGE: (
        "Il est trop grand ; seul son début est gardé.",
        "It is too large; only its beginning is kept.",
    ),
}
_GAPS: Final[dict[GapReason, tuple[str, str]]] = {
    GapReason.MEMORY_WRAPPED: (
        "Pas de mesure depuis {} : l'appareil les a effacées.",
        "No reading since {}: the device has overwritten them.",
    ),
    GapReason.WARM_UP: ("Pas de mesure depuis {} : le capteur démarre.", "No reading since {}: the sensor warms up."),
    GapReason.GATEWAY_OFF: (
        "Pas de mesure depuis {} : la passerelle était arrêtée.",
        "No reading since {}: the gateway was not running.",
    ),
    GapReason.STORE_UNAVAILABLE: (
        "Pas de mesure depuis {} : rien ne pouvait être enregistré.",
        "No reading since {}: nothing could be stored.",
    ),
    GapReason.RADIO_OFF: (
        "Pas de mesure depuis {} : la radio Bluetooth est coupée.",
        "No reading since {}: the Bluetooth radio is off.",
    ),
    GapReason.RADIO_DEAF: (
        "Pas de mesure depuis {} : la radio Bluetooth n'entend rien.",
        "No reading since {}: the Bluetooth radio hears nothing.",
    ),
    GapReason.BROKER_SESSION_LOST: (
        "Pas de mesure depuis {} : le serveur MQTT a perdu ce qui attendait.",
        "No reading since {}: the MQTT broker lost what waited.",
    ),
    GapReason.BROKER_AWAY: (
        "Pas de mesure depuis {} : le serveur MQTT ne répond pas.",
        "No reading since {}: the MQTT broker does not answer.",
    ),
    GapReason.BETWEEN_SENSORS: ("Pas de mesure depuis {} : aucun capteur.", "No reading since {}: no sensor."),
    GapReason.DEVICE_OFFLINE: (
        "Pas de mesure depuis {} : le capteur est hors de portée ou arrêté.",
        "No reading since {}: the sensor is out of reach or stopped.",
    ),
    GapReason.UNKNOWN: ("Pas de mesure depuis {}.", "No reading since {}."),
}

LEFTOVER_WORDS: Final[dict[str, tuple[str, str]]] = {
    "aside_title": ("Mis de côté", "Set aside"),
    "aside_subtitle": (
        "Ce que la passerelle a reçu et n'a pas compté comme mesure",
        "What the gateway received and did not count as a reading",
    ),
    "aside_back": ("Retour aux mesures", "Back to the readings"),
    "aside_nothing": ("Rien n'est mis de côté.", "Nothing is set aside."),
    "aside_kept": (
        "Rien n'est perdu : chaque message est gardé tel quel, et la passerelle peut le relire après une mise à jour "
        "(commande « gateway quarantine »).",
        "Nothing is lost: each message is kept as it came, and the gateway can read it again after an update "
        "(command “gateway quarantine”).",
    ),
    "aside_one": ("Un message a été mis de côté.", "One message was set aside."),
    "aside_many": ("{} messages ont été mis de côté.", "{} messages were set aside."),
    "aside_mismatch_one": (
        "Un message se dit d'un autre appareil ou d'une autre personne.",
        "One message claims another device or person.",
    ),
    "aside_mismatch_many": (
        "{} messages se disent d'un autre appareil ou d'une autre personne.",
        "{} messages claim another device or person.",
    ),
    "aside_look": ("Voir lesquels", "See which"),
    "aside_badge": ("à vérifier", "check this"),
    "aside_unknown": ("appareil inconnu", "unknown device"),
    "aside_newest": ("Les {} plus récents sont montrés.", "The newest {} are shown."),
    **{f"aside_reason_{reason.value}": words for reason, words in _REASONS.items()},
    **{f"gap_{reason.value}": words for reason, words in _GAPS.items()},
}
"""By name; `gap_...` take the time of day since when."""
