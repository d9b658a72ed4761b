"""The tables, as a list of numbered migrations. A released entry is never edited: append another one.

Conventions: instants are microseconds since 1970-01-01 UTC, local days are days since 1970-01-01, decimals are text,
small closed vocabularies of readings are the numbers of `codec`. Person 0 is "nobody yet".

`reading` holds the current version of each record, `revision` the others. The identity is `(series, record_key)`, a
series being one (device, epoch, metric). Row ids grow in order of commit; rows of `reading` are not deleted, which is
what makes the plain row id sufficient. Triggers keep `unplanned` right, and `dirty_day` for changes of a
reading; who inserts readings marks their days for the whole group at once. The mark in `unplanned` is the number of the
change that asked for a new decision, 0 for a new reading.

`frame` holds every payload that gave a new reading or version, and once each payload that no reading refers to: these
have a digest, by which a repetition is known.
"""

from __future__ import annotations

from gateway.adapters.stores.sqlite.schema_intake import ACCESS, ATTRIBUTION, DOCUMENTS, LEDGER, QUARANTINE

__all__ = ["APPLICATION_ID", "MIGRATIONS", "local_day"]

APPLICATION_ID = 0x50534C45

_VERSION_COLUMNS = """
  effective_at INTEGER NOT NULL,
  digest INTEGER NOT NULL,
  utc_offset_min INTEGER NOT NULL,
  time_quality INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  provenance INTEGER NOT NULL REFERENCES provenance(id),
  value TEXT,
  original_value TEXT,
  original_unit INTEGER,
  device_time INTEGER,
  extra TEXT,
  raw_id INTEGER"""


def local_day(row: str) -> str:
    """The local day of a row of `reading` as an SQL expression; floor division, where SQLite's rounds towards zero."""
    local = f"({row}.effective_at + {row}.utc_offset_min * 60000000)"
    return f"({local} - ({local} % 86400000000 + 86400000000) % 86400000000) / 86400000000"


def _mark_dirty(row: str) -> str:
    return f"""
  INSERT OR REPLACE INTO dirty_day (person, metric, local_day)
    SELECT {row}.person, metric, {local_day(row)} FROM series WHERE id = {row}.series AND {row}.person <> 0;"""  # noqa: S608 - OLD or NEW


_READINGS = f"""
CREATE TABLE person (
  id INTEGER PRIMARY KEY,
  person_id TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  time_zone TEXT NOT NULL,
  glucose_unit TEXT NOT NULL
) STRICT;
INSERT INTO person VALUES (0, '', '', 'UTC', 'mg/dL');
CREATE TABLE device (
  id INTEGER PRIMARY KEY,
  device_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  display_name TEXT NOT NULL,
  person INTEGER NOT NULL DEFAULT 0 REFERENCES person(id),
  address TEXT,
  manufacturer TEXT,
  model TEXT,
  serial TEXT,
  firmware TEXT,
  system_id TEXT,
  last_heard_at INTEGER,
  battery_percent INTEGER
) STRICT;
CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  device INTEGER NOT NULL REFERENCES device(id),
  epoch INTEGER NOT NULL,
  metric INTEGER NOT NULL,
  UNIQUE (device, epoch, metric)
) STRICT;
CREATE TABLE provenance (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE reading (
  row_id INTEGER PRIMARY KEY,
  series INTEGER NOT NULL REFERENCES series(id),
  record_key TEXT NOT NULL,
  person INTEGER NOT NULL REFERENCES person(id),{_VERSION_COLUMNS}
) STRICT;
CREATE UNIQUE INDEX reading_identity ON reading (series, record_key);
CREATE INDEX reading_time ON reading (person, series, effective_at);
CREATE TABLE revision (
  row_id INTEGER NOT NULL REFERENCES reading(row_id),{_VERSION_COLUMNS},
  PRIMARY KEY (row_id, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE origin (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE frame (
  raw_id INTEGER PRIMARY KEY AUTOINCREMENT,
  origin INTEGER NOT NULL REFERENCES origin(id),
  received_at INTEGER NOT NULL,
  payload BLOB NOT NULL,
  digest BLOB
) STRICT;
CREATE INDEX frame_age ON frame (received_at);
CREATE UNIQUE INDEX frame_loose ON frame (digest) WHERE digest IS NOT NULL;
CREATE TABLE quarantine (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  origin INTEGER NOT NULL REFERENCES origin(id),
  received_at INTEGER NOT NULL,
  payload BLOB NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX quarantine_age ON quarantine (received_at);
CREATE TABLE checkpoint (
  device INTEGER NOT NULL REFERENCES device(id),
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE dirty_day (
  version INTEGER PRIMARY KEY AUTOINCREMENT,
  person INTEGER NOT NULL REFERENCES person(id),
  metric INTEGER NOT NULL,
  local_day INTEGER NOT NULL,
  UNIQUE (person, metric, local_day)
) STRICT;
CREATE TABLE unplanned (
  row_id INTEGER PRIMARY KEY REFERENCES reading(row_id),
  mark INTEGER NOT NULL
) STRICT;
CREATE TABLE change (last INTEGER NOT NULL) STRICT;
INSERT INTO change VALUES (0);
CREATE TRIGGER reading_added AFTER INSERT ON reading WHEN NEW.person <> 0 BEGIN
  INSERT INTO unplanned (row_id, mark) VALUES (NEW.row_id, 0);
END;
CREATE TRIGGER reading_changed AFTER UPDATE ON reading
WHEN OLD.digest <> NEW.digest OR OLD.person <> NEW.person OR OLD.effective_at <> NEW.effective_at
  OR OLD.utc_offset_min <> NEW.utc_offset_min OR OLD.time_quality <> NEW.time_quality
BEGIN{_mark_dirty("OLD")}{_mark_dirty("NEW")}
END;
CREATE TRIGGER reading_to_plan AFTER UPDATE ON reading
WHEN NEW.person <> 0 AND (OLD.digest <> NEW.digest OR OLD.person <> NEW.person)
BEGIN
  UPDATE change SET last = last + 1;
  INSERT OR REPLACE INTO unplanned (row_id, mark) SELECT NEW.row_id, last FROM change;
END;
"""  # noqa: S608 - fixed texts only

_FIGURES = """
CREATE TABLE glucose_day (
  person INTEGER NOT NULL REFERENCES person(id),
  local_day INTEGER NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (person, local_day)
) STRICT, WITHOUT ROWID;
CREATE TABLE weight_day (
  person INTEGER NOT NULL REFERENCES person(id),
  local_day INTEGER NOT NULL,
  mass_kg TEXT NOT NULL,
  measured_at INTEGER NOT NULL,
  PRIMARY KEY (person, local_day)
) STRICT, WITHOUT ROWID;
"""

_DEPARTURES = """
CREATE TABLE consent (
  person INTEGER NOT NULL REFERENCES person(id),
  data_type TEXT NOT NULL,
  destination_id TEXT NOT NULL,
  granted_at INTEGER NOT NULL,
  covers_from INTEGER NOT NULL,
  expires_at INTEGER,
  withdrawn_at INTEGER,
  text_version TEXT NOT NULL,
  PRIMARY KEY (person, data_type, destination_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
  outbox_id INTEGER PRIMARY KEY AUTOINCREMENT,
  destination_id TEXT NOT NULL,
  identity TEXT NOT NULL,
  person INTEGER NOT NULL REFERENCES person(id),
  data_type TEXT NOT NULL,
  kind TEXT NOT NULL,
  effective_at INTEGER NOT NULL,
  resource TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  leased_until INTEGER,
  is_read_back INTEGER NOT NULL DEFAULT 0,
  reason TEXT,
  remote_id TEXT,
  decided_at INTEGER,
  UNIQUE (destination_id, identity)
) STRICT;
CREATE INDEX outbox_due ON outbox (destination_id, state, not_before);
CREATE INDEX outbox_person ON outbox (person, state);
CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  person_id TEXT NOT NULL,
  data_type TEXT NOT NULL,
  destination_id TEXT NOT NULL,
  outbox_id INTEGER,
  detail TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_person ON audit (person_id, number);
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit BEGIN
  SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
  SELECT RAISE(ABORT, 'the audit trail is append-only');
END;
"""

_CORRECTIONS = """
ALTER TABLE outbox ADD COLUMN next_effective_at INTEGER;
ALTER TABLE outbox ADD COLUMN next_resource TEXT;
"""

_ENROLMENTS = """
CREATE TABLE enrolment (
  device INTEGER PRIMARY KEY REFERENCES device(id),
  enrolled_at INTEGER NOT NULL,
  is_authenticated INTEGER NOT NULL,
  scale_user INTEGER,
  withdrawn_at INTEGER,
  may_set_clock INTEGER NOT NULL
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (
    _READINGS,
    _FIGURES,
    _DEPARTURES,
    _CORRECTIONS,
    _ENROLMENTS,
    ATTRIBUTION,
    LEDGER,
    DOCUMENTS,
    ACCESS,
    QUARANTINE,
)
"""Entry n brings a file from `user_version` n to n + 1."""
