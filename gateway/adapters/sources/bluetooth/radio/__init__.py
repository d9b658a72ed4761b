"""Radios: what they hear, who may use them now, and how a stuck one is brought back."""
