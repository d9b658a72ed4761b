"""The tables of who was on the scale, of gaps, of kept documents, of access tokens and of what was set aside.

Conventions as in `schema`.
"""

from __future__ import annotations

__all__ = ["ACCESS", "ATTRIBUTION", "DOCUMENTS", "LEDGER", "QUARANTINE"]

ATTRIBUTION = """
ALTER TABLE device ADD COLUMN is_by_evidence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN acquainted_at INTEGER;
CREATE TABLE device_candidate (
  device INTEGER NOT NULL REFERENCES device(id),
  person INTEGER NOT NULL REFERENCES person(id),
  PRIMARY KEY (device, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE weigh_in (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  device INTEGER NOT NULL REFERENCES device(id),
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  person INTEGER NOT NULL DEFAULT 0 REFERENCES person(id),
  profile_of INTEGER NOT NULL DEFAULT 0 REFERENCES person(id),
  is_said INTEGER NOT NULL DEFAULT 0,
  UNIQUE (device, name)
) STRICT;
CREATE INDEX weigh_in_state ON weigh_in (state, number);
CREATE TABLE weigh_in_reading (
  row_id INTEGER PRIMARY KEY REFERENCES reading(row_id),
  weigh_in INTEGER NOT NULL REFERENCES weigh_in(number),
  is_of_profile INTEGER NOT NULL
) STRICT;
CREATE INDEX weigh_in_readings ON weigh_in_reading (weigh_in);
CREATE TABLE attribution (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  weigh_in INTEGER NOT NULL REFERENCES weigh_in(number),
  state TEXT NOT NULL,
  person INTEGER NOT NULL REFERENCES person(id),
  decided_by TEXT NOT NULL,
  evidence TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX attribution_of ON attribution (weigh_in, number);
CREATE TABLE former_owner (
  row_id INTEGER NOT NULL REFERENCES reading(row_id),
  person INTEGER NOT NULL REFERENCES person(id),
  PRIMARY KEY (row_id, person)
) STRICT, WITHOUT ROWID;
ALTER TABLE outbox ADD COLUMN correction TEXT;
CREATE INDEX outbox_correction ON outbox (outbox_id) WHERE correction IS NOT NULL;
UPDATE device SET is_by_evidence = 1 WHERE kind IN ('scale', 'body_composition_analyser');
UPDATE device SET acquainted_at = (
  SELECT min(r.received_at) FROM series AS s CROSS JOIN reading AS r ON r.series = s.id WHERE s.device = device.id
) WHERE is_by_evidence;
INSERT INTO device_candidate SELECT id, person FROM device WHERE is_by_evidence AND person <> 0;
ALTER TABLE change ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER reading_to_ask_about AFTER UPDATE ON reading
WHEN NEW.person = 0 AND OLD.person = 0 AND (OLD.digest <> NEW.digest OR OLD.effective_at <> NEW.effective_at
  OR OLD.time_quality <> NEW.time_quality)
BEGIN
  UPDATE change SET corrected = corrected + 1;
END;
"""
"""`weigh_in` is what counts now, `attribution` the append-only history of it; `is_said`: a person had the last word.

A weigh-in of a device that is not by evidence exists only where somebody said something about one of its records.
`acquainted_at`: when anything was first received from it.
`former_owner` remembers whose a reading was, so that what was planned for them is called back.
`change.corrected` counts corrections of what is nobody's: whose it is may be clear now.
"""

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
