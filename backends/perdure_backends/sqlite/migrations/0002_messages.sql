-- Published state, updates, queries, priorities and queues with limits. Code of version 1 can still
-- use the store: what it does not know of stays as it is.

ALTER TABLE runs ADD COLUMN published BLOB;

ALTER TABLE activities ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE activities ADD COLUMN headers BLOB;
CREATE INDEX activities_by_priority ON activities (priority DESC, due_at) WHERE owner IS NULL;

-- How updates stand; kept with their instance, so that a repeat gets the first answer.
CREATE TABLE updates (
  instance_id TEXT NOT NULL,
  update_id   TEXT NOT NULL,
  stage       TEXT NOT NULL,
  result      BLOB,
  failure     BLOB,
  PRIMARY KEY (instance_id, update_id)
) WITHOUT ROWID;

CREATE TABLE queries (
  id          TEXT PRIMARY KEY,
  run         INTEGER NOT NULL,
  entry       BLOB NOT NULL,
  expires_at  INTEGER NOT NULL,
  claimed_at  INTEGER,
  answered    INTEGER NOT NULL DEFAULT 0,
  result      BLOB,
  failure     BLOB
) WITHOUT ROWID;
CREATE INDEX queries_run ON queries (run);
CREATE INDEX queries_expiry ON queries (expires_at);

CREATE TABLE queue_limits (
  queue      TEXT PRIMARY KEY,
  per_second REAL NOT NULL,
  burst      INTEGER NOT NULL,
  level      REAL NOT NULL,
  at         INTEGER NOT NULL         -- when the level was so
) WITHOUT ROWID;
