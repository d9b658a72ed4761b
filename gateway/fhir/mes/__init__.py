"""Mon espace santé (API Mesures): readings and period figures -> transactions, drafts, read-back queries. Pure."""

from gateway.fhir.mes.context import LEGACY_PROFILES, MES_PROFILES, NATIONAL_PROFILES, MesContext, MesProfiles
from gateway.fhir.mes.device import phd_device, system_identifier
from gateway.fhir.mes.drafts import drafts_for, identities_of, summary_drafts
from gateway.fhir.mes.measures import (
    MIN_GMI_DAYS,
    NotForSpace,
    capillary_glucose_bundle,
    gmi_bundle,
    interstitial_mean_bundle,
    leaves,
    moment_of,
    weight_bundle,
    why_not,
)
from gateway.fhir.mes.readback import SEARCH_MARGIN, matches, observation_of, search_parameters

__all__ = [
    "LEGACY_PROFILES",
    "MES_PROFILES",
    "MIN_GMI_DAYS",
    "NATIONAL_PROFILES",
    "SEARCH_MARGIN",
    "MesContext",
    "MesProfiles",
    "NotForSpace",
    "capillary_glucose_bundle",
    "drafts_for",
    "gmi_bundle",
    "identities_of",
    "interstitial_mean_bundle",
    "leaves",
    "matches",
    "moment_of",
    "observation_of",
    "phd_device",
    "search_parameters",
    "summary_drafts",
    "system_identifier",
    "weight_bundle",
    "why_not",
]
