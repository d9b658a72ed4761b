"""The words of the page where people say whose a weigh-in is. French first."""

from __future__ import annotations

from typing import Final

__all__ = ["WEIGH_IN_WORDS"]

WEIGH_IN_WORDS: Final[dict[str, tuple[str, str]]] = {
    "weigh_in_link": ("Pesées", "Weigh-ins"),
    "weigh_in_waits": ("{} pesées attendent : qui était sur la balance ?", "{} weigh-ins wait: who was on the scale?"),
    "weigh_in_waits_one": ("1 pesée attend : qui était sur la balance ?", "1 weigh-in waits: who was on the scale?"),
    "weigh_in_corrections": (
        "{} corrections à faire dans l'espace santé",
        "{} corrections to make in the health space",
    ),
    "weigh_in_corrections_one": (
        "1 correction à faire dans l'espace santé",
        "1 correction to make in the health space",
    ),
    "weigh_in_anybody": ("pour toute la maison", "for everybody of the house"),
    "weigh_in_title": ("Qui était sur la balance ?", "Who stood on the scale?"),
    "weigh_in_subtitle": (
        "Un geste range une pesée ; vous pouvez changer d'avis des mois plus tard.",
        "One tap files a weigh-in; you can change your mind months later.",
    ),
    "weigh_in_back": ("Retour", "Back"),
    "weigh_in_waiting": ("En attente", "Waiting"),
    "weigh_in_none": ("Aucune pesée n'attend.", "No weigh-in waits."),
    "weigh_in_more": (
        "Les plus récentes seulement : les autres suivront quand celles-ci seront rangées.",
        "The newest only: the others follow once these are filed.",
    ),
    "weigh_in_not_us": ("Pas de chez nous", "Not us"),
    "weigh_in_not_mine": ("Pas à moi", "Not mine"),
    "weigh_in_several": ("{} pesées", "{} weigh-ins"),
    "weigh_in_from_to": ("du {} au {}", "{} to {}"),
    "weigh_in_slot": ("emplacement {} de la balance", "slot {} of the scale"),
    "weigh_in_all_of": ("Elles sont toutes à :", "They are all of:"),
    "weigh_in_each": ("Ou une par une", "Or one by one"),
    "weigh_in_no_mass": ("sans poids", "no weight"),
    "weigh_in_recent": ("Dernières décisions", "Recent decisions"),
    "weigh_in_no_recent": ("Rien n'a encore été rangé.", "Nothing was filed yet."),
    "weigh_in_older": ("Plus anciennes", "Older ones"),
    "weigh_in_newest": ("Les dernières", "The newest"),
    "weigh_in_by_evidence": ("rangée par la passerelle", "filed by the gateway"),
    "weigh_in_by_page": ("décidé sur cette page", "decided on this page"),
    "weigh_in_by_command": ("décidé par une commande", "decided by a command"),
    "weigh_in_undo": ("Annuler", "Undo"),
    "weigh_in_change": ("Changer", "Change"),
    "weigh_in_nobody": ("pas de chez nous", "not us"),
    "weigh_in_correct_title": ("À corriger dans l'espace santé", "To be corrected in the health space"),
    "weigh_in_correct_help": (
        "L'espace santé n'accepte de la passerelle ni modification ni suppression. Ouvrez-le, corrigez la mesure, "
        "puis dites-le ici.",
        "The health space takes neither changes nor deletions from the gateway. Open it, correct the measurement, then "
        "say so here.",
    ),
    "weigh_in_remove": (
        "Cette mesure ne compte plus pour {} : supprimez-la dans son espace.",
        "This does not count for {} any more: delete it in their space.",
    ),
    "weigh_in_add": (
        "Elle compte pour {} après tout : saisissez-la dans son espace, la passerelle n'envoie rien deux fois.",
        "It counts for {} after all: enter it in their space, the gateway sends nothing twice.",
    ),
    "weigh_in_done": ("C'est fait", "Done"),
    "weigh_in_others": ("Une mesure d'un autre appareil", "A reading of another device"),
    "weigh_in_others_help": (
        "Un lecteur prêté ? Choisissez l'appareil, puis la mesure qui n'est pas de son propriétaire.",
        "Lent a meter? Choose the device, then the reading that is not its owner's.",
    ),
    "weigh_in_nothing_here": ("Aucune mesure de cet appareil.", "No reading of this device."),
    "weigh_in_bad_token": (
        "Cette page était ouverte depuis trop longtemps : recommencez.",
        "This page was open for too long: try again.",
    ),
    "weigh_in_bad_fields": ("La passerelle n'a pas compris ce choix.", "The gateway did not understand this choice."),
    "weigh_in_bad_undo": ("Il n'y a rien à annuler.", "There is nothing to undo."),
    "weigh_in_why": ("La passerelle hésite.", "The gateway hesitates."),
    "weigh_in_why_two_fit": (
        "Le poids convient à plusieurs personnes.",
        "The weight fits more than one person.",
    ),
    "weigh_in_why_far_from_trend": (
        "Le poids est loin des dernières pesées.",
        "The weight is far from the last weigh-ins.",
    ),
    "weigh_in_why_no_history": (
        "C'est l'une des premières pesées : la passerelle ne connaît encore personne de ce poids.",
        "It is one of the first weigh-ins: the gateway knows nobody of this weight yet.",
    ),
    "weigh_in_why_short_history": (
        "La passerelle ne connaît encore que quelques pesées de cette personne.",
        "The gateway knows only a few weigh-ins of this person yet.",
    ),
    "weigh_in_why_long_gap": (
        "La dernière pesée est trop ancienne pour en être sûr.",
        "The last weigh-in is too long ago to be sure.",
    ),
    "weigh_in_why_somebody_is_missing": (
        "Une personne semble pesée deux fois et une autre pas : qui était-ce ?",
        "One person seems to be weighed twice and another not at all: who was it?",
    ),
    "weigh_in_why_person_without_history": (
        "Quelqu'un de la maison n'a encore aucune pesée : ce pourrait être la sienne.",
        "Somebody of the house has no weigh-in yet: this one may be theirs.",
    ),
    "weigh_in_why_memory_before_enrolment": (
        "Elle date d'avant : la balance l'avait en mémoire quand elle a été ajoutée.",
        "It is older: the scale had it in memory when it was added.",
    ),
    "weigh_in_why_time_unknown": (
        "On ne sait pas quand : la balance ou la passerelle n'avait pas l'heure.",
        "Nobody knows when it was: the scale or the gateway did not have the time.",
    ),
    "weigh_in_why_may_be_somebody_else": (
        "Ce pourrait être une visite, un enfant, une valise.",
        "It may be a guest, a child, a suitcase.",
    ),
    "weigh_in_why_anyone_could_have_sent_it": (
        "Cette balance parle sans protection : n'importe qui à proximité pourrait l'imiter.",
        "This scale speaks without protection: anyone nearby could imitate it.",
    ),
    "weigh_in_why_no_mass": ("La balance n'a donné aucun poids.", "The scale gave no weight."),
    "weigh_in_why_implausible_mass": ("Ce poids n'est pas vraisemblable.", "This weight is not plausible."),
    "weigh_in_why_nobody_known": (
        "Personne n'est inscrit pour cette balance.",
        "Nobody is registered for this scale.",
    ),
    "weigh_in_why_taken_back": ("Vous avez annulé une décision.", "You took a decision back."),
}
