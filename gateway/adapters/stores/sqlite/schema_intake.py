"""The tables of who was on the scale, of gaps, of kept documents, of access tokens and of what was set aside.

Conventions as in `schema`.
"""

from __future__ import annotations

__all__ = ["ACCESS", "ATTRIBUTION", "DOCUMENTS", "LEDGER", "QUARANTINE"]

ATTRIBUTION = """
ALTER TABLE device ADD COLUMN is_by_evidence INTEGER NOT NULL DEFAULT 0;
CREATE TABLE device_candidate (
  device INTEGER NOT NULL REFERENCES device(id),
  person INTEGER NOT NULL REFERENCES person(id),
  PRIMARY KEY (device, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE attribution (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  device INTEGER NOT NULL REFERENCES device(id),
  weigh_in TEXT NOT NULL,
  verdict TEXT NOT NULL,
  person INTEGER NOT NULL REFERENCES person(id),
  decided_by TEXT NOT NULL,
  evidence TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX attribution_of ON attribution (device, weigh_in, number);
"""
"""Append-only: the newest row of a weigh-in counts. Person 0 is nobody."""

LEDGER = """
CREATE TABLE outage (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  detail TEXT NOT NULL,
  UNIQUE (subject, reason, began_at)
) STRICT;
CREATE INDEX outage_time ON outage (began_at);
CREATE TABLE sign_of_life (id INTEGER PRIMARY KEY CHECK (id = 0), at INTEGER NOT NULL) STRICT;
CREATE TABLE clock_session (
  boot_id TEXT PRIMARY KEY,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
DROP TRIGGER reading_to_plan;
CREATE TRIGGER reading_to_plan AFTER UPDATE ON reading
WHEN NEW.person <> 0 AND (OLD.digest <> NEW.digest OR OLD.person <> NEW.person
  OR OLD.effective_at <> NEW.effective_at OR OLD.time_quality <> NEW.time_quality)
BEGIN
  UPDATE change SET last = last + 1;
  INSERT OR REPLACE INTO unplanned (row_id, mark) SELECT NEW.row_id, last FROM change;
END;
"""
"""`clock_session` holds what the gateway's clock knew in each boot of the machine; see `clock_log`. A reading of which
the time becomes known must be decided again: what is unknown does not leave."""

DOCUMENTS = """
CREATE TABLE document (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  person INTEGER NOT NULL REFERENCES person(id),
  device INTEGER NOT NULL REFERENCES device(id),
  collection TEXT NOT NULL,
  identifier TEXT NOT NULL,
  content TEXT NOT NULL,
  dated_at INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  modified_at INTEGER NOT NULL,
  is_deleted INTEGER NOT NULL DEFAULT 0,
  UNIQUE (person, collection, identifier)
) STRICT;
CREATE INDEX document_time ON document (person, collection, dated_at);
CREATE INDEX document_change ON document (person, collection, modified_at);
"""
"""The person is the owner of the device at the time: what a device sent stays with them when it changes hands."""

ACCESS = """
CREATE TABLE access_token (
  token_id TEXT PRIMARY KEY,
  secret_digest BLOB NOT NULL UNIQUE,
  token_digest BLOB NOT NULL UNIQUE,
  person INTEGER NOT NULL REFERENCES person(id),
  device INTEGER NOT NULL REFERENCES device(id),
  label TEXT NOT NULL,
  rights TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
"""

QUARANTINE = """
ALTER TABLE quarantine ADD COLUMN resolved_at INTEGER;
ALTER TABLE quarantine ADD COLUMN resolution TEXT;
ALTER TABLE quarantine ADD COLUMN is_retained INTEGER;
ALTER TABLE quarantine ADD COLUMN qos INTEGER;
"""
