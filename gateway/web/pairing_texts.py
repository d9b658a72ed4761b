"""What the Bluetooth page says, French first."""

from __future__ import annotations

from typing import Final

__all__ = ["PAIRING_WORDS"]

PAIRING_WORDS: Final[dict[str, tuple[str, str]]] = {
    "pairing_title": ("Ajouter un appareil", "Add a device"),
    "pairing_subtitle": (
        "Appareils Bluetooth à portée de la passerelle",
        "Bluetooth devices within reach of the gateway",
    ),
    "pairing_back": ("Retour aux mesures", "Back to the readings"),
    "pairing_link": ("Ajouter un appareil", "Add a device"),
    "pairing_off": (
        "Le Bluetooth est éteint dans la configuration ([bluetooth] enabled).",
        "Bluetooth is off in the configuration ([bluetooth] enabled).",
    ),
    "pairing_near": ("À portée", "In range"),
    "pairing_none_near": (
        "Rien n'est entendu. Allumez l'appareil, mettez-le en mode d'appairage et approchez-le.",
        "Nothing is heard. Switch the device on, put it into pairing mode and bring it near.",
    ),
    "pairing_yours": ("Vos appareils", "Your devices"),
    "pairing_no_yours": ("Aucun appareil Bluetooth pour l'instant.", "No Bluetooth device yet."),
    "pairing_unnamed": ("sans nom", "no name"),
    "pairing_pair": ("Appairer", "Pair"),
    "pairing_again": ("Appairer à nouveau", "Pair again"),
    "pairing_unpair": ("Retirer", "Remove"),
    "pairing_unpair_sure": (
        "Retirer cet appareil ? Ses mesures restent ; la passerelle oublie son appairage et ne le lit plus.",
        "Remove this device? Its readings stay; the gateway forgets the pairing and reads it no more.",
    ),
    "pairing_unbond_sure": (
        "Oublier l'appairage ? Cet appareil est dans le fichier de configuration et y reste.",
        "Forget the pairing? This device is in the configuration file and stays there.",
    ),
    "pairing_yes_unpair": ("Oui, retirer", "Yes, remove"),
    "pairing_is_new": ("nouveau", "new"),
    "pairing_is_yours": ("à vous", "yours"),
    "pairing_is_unreadable": ("non lisible par la passerelle", "not readable by the gateway"),
    "pairing_no_route": (
        "Ses mesures ne peuvent pas arriver jusqu'ici.",
        "Its readings cannot reach the gateway.",
    ),
    "pairing_signal_strong": ("tout près", "very near"),
    "pairing_signal_fair": ("à portée", "in reach"),
    "pairing_signal_weak": ("loin", "far"),
    "pairing_signal_unknown": ("distance inconnue", "distance unknown"),
    "pairing_bonded": ("appairé", "paired"),
    "pairing_not_bonded": ("pas appairé", "not paired"),
    "pairing_needs_none": ("ne s'appaire pas", "is not paired"),
    "pairing_unproven": ("liaison non authentifiée", "unauthenticated link"),
    "pairing_needs": ("à appairer de nouveau", "must be paired again"),
    "pairing_attempt": ("Appairage en cours", "Pairing"),
    "pairing_state_looking": ("Je cherche l'appareil…", "Looking for the device…"),
    "pairing_state_connecting": ("Je me connecte…", "Connecting…"),
    "pairing_state_pairing": ("Appairage…", "Pairing…"),
    "pairing_state_wants_passkey": (
        "Tapez les six chiffres affichés par l'appareil, ou écrits sur son étiquette.",
        "Type the six digits that the device shows, or that are on its label.",
    ),
    "pairing_state_wants_comparison": (
        "L'appareil montre-t-il ces six chiffres ?",
        "Does the device show these six digits?",
    ),
    "pairing_state_shows_passkey": ("Tapez ces six chiffres sur l'appareil.", "Type these six digits on the device."),
    "pairing_state_paired": ("Appairé.", "Paired."),
    "pairing_state_failed": ("L'appairage a échoué.", "Pairing failed."),
    "pairing_state_cancelled": ("Appairage abandonné.", "Pairing given up."),
    "pairing_state_timed_out": ("Le temps est écoulé.", "The time is over."),
    "pairing_digits": ("Six chiffres", "Six digits"),
    "pairing_send": ("Valider", "Send"),
    "pairing_same": ("Oui, les mêmes", "Yes, the same"),
    "pairing_different": ("Non", "No"),
    "pairing_cancel": ("Abandonner", "Give up"),
    "pairing_retry": ("Réessayer", "Try again"),
    "pairing_marked": (
        "Cet appareil n'a pas prouvé qui il est : la liaison est chiffrée, mais non authentifiée.",
        "This device has not proved who it is: the link is encrypted, but not authenticated.",
    ),
    "pairing_state_found": (
        "Trouvé. Cet appareil ne s'appaire pas.",
        "Found. This device is not paired.",
    ),
    "pairing_open": (
        "Cet appareil parle en clair à tout le voisinage, et rien ne prouve qui il est.",
        "This device speaks in the clear to everybody around, and nothing proves who it is.",
    ),
    "pairing_name_it": ("À qui est-il ?", "Whose is it?"),
    "pairing_name": ("Son nom", "Its name"),
    "pairing_sharers": ("Qui s'y pèse ?", "Who stands on it?"),
    "pairing_sharers_help": (
        "Personne de coché : toute la maison. La passerelle reconnaît chacun à son poids, et demande si elle hésite.",
        "None ticked: everybody of the house. The gateway knows people by their weight, and asks when it is in doubt.",
    ),
    "pairing_owner": ("Son propriétaire", "Its owner"),
    "pairing_nobody": ("personne : ses mesures attendent", "nobody: its readings wait"),
    "pairing_kind": ("Ce que c'est", "What it is"),
    "pairing_slot": ("Emplacement sur la balance (0 à 254)", "Slot on the scale (0 to 254)"),
    "pairing_code": ("Code de cet emplacement (0 à 9999)", "Code of that slot (0 to 9999)"),
    "pairing_slot_help": (
        "Seulement pour une balance qui reconnaît plusieurs personnes.",
        "Only for a scale that tells several people apart.",
    ),
    "pairing_set_clock": ("La passerelle peut régler son horloge", "The gateway may set its clock"),
    "pairing_set_clock_help": (
        "Si l'appareil se trompe de plus de dix secondes, la passerelle le met à l'heure de son propriétaire.",
        "When the device is off by more than ten seconds, the gateway gives it the time of its owner.",
    ),
    "pairing_slot_is": ("emplacement", "slot"),
    "pairing_register": ("Créer un utilisateur sur la balance", "Make a user on the scale"),
    "pairing_register_help": (
        "Pour une balance qui reconnaît plusieurs personnes, si son propriétaire n'y est pas encore : restez devant la "
        "balance allumée et confirmez si elle le demande.",
        "For a scale that tells several people apart, when its owner is not on it yet: stay at the scale while it is "
        "on, and confirm if it asks.",
    ),
    "pairing_register_yes": ("Créer l'utilisateur", "Make the user"),
    "pairing_let_clock": ("Laisser la passerelle la régler", "Let the gateway set it"),
    "pairing_leave_clock": ("Ne plus régler son horloge", "Leave its clock alone"),
    "pairing_clock_is_allowed": ("la passerelle règle son horloge", "the gateway sets its clock"),
    "pairing_bye_forgotten": (
        "L'appairage est oublié, par la passerelle et par l'appareil.",
        "The pairing is forgotten, by the gateway and by the device.",
    ),
    "pairing_bye_unable": (
        "L'appairage est oublié par la passerelle. L'appareil ne le fait pas de lui-même : effacez-le dans son menu.",
        "The pairing is forgotten by the gateway. The device does not do so by itself: delete it in its menu.",
    ),
    "pairing_bye_not_reached": (
        "L'appairage est oublié par la passerelle. L'appareil n'a pas été joint et s'en souvient peut-être : "
        "effacez-le dans son menu.",
        "The pairing is forgotten by the gateway. The device could not be reached and may remember it: delete it in "
        "its menu.",
    ),
    "pairing_bye_no_bond": ("C'est fait.", "Done."),
    "care_badge": ("n'importe qui à proximité peut l'imiter", "anyone nearby could imitate it"),
    "pairing_save": ("Enregistrer", "Save"),
    "pairing_saved": ("C'est fait : ses mesures arrivent.", "Done: its readings are coming in."),
    "pairing_why_not_heard": (
        "L'appareil ne s'est pas montré. Est-il allumé et en mode d'appairage ?",
        "The device did not show itself. Is it on and in pairing mode?",
    ),
    "pairing_why_unreachable": (
        "La connexion n'a pas tenu. Approchez l'appareil et réessayez.",
        "The connection did not hold. Bring the device nearer and try again.",
    ),
    "pairing_why_wrong_passkey": (
        "Les six chiffres ne sont pas ceux de l'appareil.",
        "The six digits are not those of the device.",
    ),
    "pairing_why_different_digits": (
        "Les chiffres étaient différents : ce n'est peut-être pas votre appareil.",
        "The digits were different: this may not be your device.",
    ),
    "pairing_why_refused": (
        "L'appareil a refusé. Mettez-le en mode d'appairage ; s'il est lié à un téléphone, retirez d'abord ce lien.",
        "The device refused. Put it into pairing mode; if it is bound to a telephone, remove that first.",
    ),
    "pairing_why_unproven": (
        "L'appareil devait montrer des chiffres et ne l'a pas fait : par prudence, rien n'a été gardé.",
        "The device should have shown digits and did not: to be safe, nothing was kept.",
    ),
    "pairing_why_nobody_answered": (
        "Personne n'a répondu à temps. Recommencez quand vous êtes devant l'appareil.",
        "Nobody answered in time. Begin again when you are at the device.",
    ),
    "pairing_why_no_bluetooth": (
        "Le Bluetooth de la passerelle ne répond pas.",
        "The gateway's Bluetooth does not answer.",
    ),
    "pairing_why_interrupted": ("La passerelle s'est arrêtée en route.", "The gateway stopped on the way."),
    "pairing_no_busy": ("Un autre appairage est en cours.", "Another pairing is going on."),
    "pairing_no_locked": (
        "Trop de chiffres faux pour cet appareil. Attendez un peu avant de réessayer.",
        "Too many wrong digits for this device. Wait a while before you try again.",
    ),
    "pairing_no_unreadable": ("La passerelle ne sait pas lire cet appareil.", "The gateway cannot read this device."),
    "pairing_no_over": ("Cet appairage est déjà terminé.", "That pairing is already over."),
    "pairing_no_digits": ("Il faut exactement six chiffres.", "Exactly six digits are needed."),
    "pairing_no_fields": ("Il manque une réponse.", "An answer is missing."),
    "pairing_no_name": ("Donnez un nom de 1 à 80 caractères.", "Give a name of 1 to 80 characters."),
    "pairing_no_person": ("Cette personne n'est pas inscrite.", "That person is not registered."),
    "pairing_no_kind": ("Cet appareil ne peut pas être cela.", "This device cannot be that."),
    "pairing_no_slot": (
        "L'emplacement (0 à 254) et son code (0 à 9999) vont ensemble.",
        "The slot (0 to 254) and its code (0 to 9999) go together.",
    ),
    "pairing_no_needs_key": (
        "Cet appareil chiffre ses mesures : donnez sa clé avec gateway pair et --bind-key-file.",
        "This device encrypts its readings: give its key with gateway pair and --bind-key-file.",
    ),
    "pairing_no_bind_key": ("Une clé a 32 chiffres hexadécimaux.", "A key has 32 hexadecimal digits."),
    "pairing_no_configured": (
        "Cet appareil est dans le fichier de configuration : c'est là que cela se décide.",
        "This device is in the configuration file: that is where this is decided.",
    ),
    "pairing_no_has_user": ("Il y a déjà un emplacement sur cette balance.", "There is a slot on this scale already."),
    "pairing_no_scale_away": (
        "La balance n'est pas joignable. Allumez-la et réessayez.",
        "The scale cannot be reached. Switch it on and try again.",
    ),
    "pairing_no_scale_refused": (
        "La balance refuse : elle n'a pas d'utilisateurs, ou plus de place pour un autre.",
        "The scale refuses: it has no users, or no room for another.",
    ),
    "pairing_no_scale_silent": (
        "La balance n'a pas répondu. Regardez sur son écran si un utilisateur y a été ajouté.",
        "The scale did not answer. See on its display whether a user was added.",
    ),
    "pairing_no_not_paired": ("Il n'y a rien à enregistrer.", "There is nothing to save."),
    "pairing_no_unknown": ("Cet appareil n'est plus là.", "That device is not there any more."),
    "pairing_no_off": ("Le Bluetooth est éteint.", "Bluetooth is off."),
    "pairing_no_token": ("La page était trop vieille. Recommencez.", "The page was too old. Try again."),
    "pairing_wait_min": ("minutes d'attente", "minutes to wait"),
    "pairing_where": ("adresse finissant par", "address ending in"),
}
"""Sentences by name; `pairing_state_*`, `pairing_why_*` and `pairing_no_*` end in a state, a failure, a refusal."""
