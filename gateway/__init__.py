"""Passerelle: a gateway from the devices at home to the patient's own health space."""

__all__ = ["__version__"]

__version__ = "0.1.0"
