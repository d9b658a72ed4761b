"""The embedded store: one SQLite file holding readings, registry, outbox and audit trail."""

from gateway.adapters.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
