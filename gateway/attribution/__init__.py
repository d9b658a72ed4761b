"""Whose weigh-in is it: a probability for each person of the household and for somebody else. Pure."""

from gateway.attribution.decide import attribute
from gateway.attribution.model import Candidate, PastWeighIn, Policy, Verdict, WeighIn

__all__ = ["Candidate", "PastWeighIn", "Policy", "Verdict", "WeighIn", "attribute"]
