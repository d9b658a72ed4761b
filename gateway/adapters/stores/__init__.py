"""Stores: where readings become durable."""

__all__: list[str] = []
