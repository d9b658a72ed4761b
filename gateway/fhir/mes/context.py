"""For whom, and in which dialect, a resource for Mon espace santé is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.fhir.r4 import Coding
from gateway.fhir.terminology import ANS_TERMS, ANS_TERMS_NOS, MES_PROFILE_BASE, NATIONAL_PROFILE_BASE, Concept

__all__ = ["LEGACY_PROFILES", "MES_PROFILES", "NATIONAL_PROFILES", "MesContext", "MesProfiles"]


@dataclass(frozen=True, slots=True)
class MesProfiles:
    """The `meta.profile` of each kind of Observation that we send."""

    body_mass: str
    glucose: str


MES_PROFILES = MesProfiles(
    f"{MES_PROFILE_BASE}mes-observation-bodyweight", f"{MES_PROFILE_BASE}mes-observation-glucose"
)
"""The space's own profiles: the table of API Mesures 1.5.2. The default."""

NATIONAL_PROFILES = MesProfiles(
    f"{NATIONAL_PROFILE_BASE}mesures-fr-observation-body-weight", f"{NATIONAL_PROFILE_BASE}mesures-observation-glucose"
)
"""The profiles of the national guide, for a destination that follows it directly."""

_ENS = "http://esante.gouv.fr/ci-sis/fhir/StructureDefinition/"
LEGACY_PROFILES = MesProfiles(f"{_ENS}ENS_FrObservationBodyWeight", f"{_ENS}ENS_ObservationGlucose")
"""The older names that the samples of API Mesures 1.5.2 still show."""


@dataclass(frozen=True, slots=True)
class MesContext:
    """One person's account in the space, and the dialect of the deployment.

    Attributes:
        solution_oid: dotted OID of this solution; `meta.source` of everything sent.
        patient_authority_oid: dotted OID that patient ids belong to (AssignAuth).
        patient_id: the patient's id in the space (idPe).
        terminology: code of the mean interstitial glucose: MED-969 (JDV_J154 of 2024), LOINC 99504-3 (2025), or both.
        profiles: the `meta.profile` URLs.
        ans_system: URL of the ANS code system in what is sent: `ANS_TERMS`, or `ANS_TERMS_NOS` for an older receiver.
    """

    solution_oid: str
    patient_authority_oid: str
    patient_id: str
    terminology: Literal["2024", "2025", "both"] = "both"
    profiles: MesProfiles = MES_PROFILES
    ans_system: str = ANS_TERMS

    @property
    def source(self) -> str:
        """`meta.source`."""
        return f"urn:oid:{self.solution_oid}"

    @property
    def patient_system(self) -> str:
        """System of the patient identifier."""
        return f"urn:oid:{self.patient_authority_oid}"

    def coding(self, concept: Concept) -> Coding:
        """`concept` with the system URL of this deployment."""
        system = self.ans_system if concept.system in {ANS_TERMS, ANS_TERMS_NOS} else concept.system
        return Coding(system=system, code=concept.code)
