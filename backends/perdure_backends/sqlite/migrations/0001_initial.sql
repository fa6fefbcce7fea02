-- Times are microseconds since the epoch. `run` columns hold runs.serial.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
  serial          INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id          TEXT NOT NULL UNIQUE,
  instance_id     TEXT NOT NULL,
  request_id      TEXT NOT NULL,
  workflow        TEXT NOT NULL,
  version         INTEGER NOT NULL,
  queue           TEXT NOT NULL,
  status          TEXT NOT NULL,
  suspended       INTEGER NOT NULL DEFAULT 0,
  started_at      INTEGER NOT NULL,
  deadline_at     INTEGER,
  finished_at     INTEGER,
  ready_at        INTEGER,            -- claimable since; NULL while there is nothing to do
  owner           TEXT,
  token           TEXT,
  executing       INTEGER NOT NULL DEFAULT 0,
  losses          INTEGER NOT NULL DEFAULT 0,
  lone_losses     INTEGER NOT NULL DEFAULT 0,
  loss_base       INTEGER NOT NULL DEFAULT 0,   -- sessions lost before the first of them
  turn            INTEGER NOT NULL DEFAULT 0,
  events          INTEGER NOT NULL DEFAULT 0,
  last_seq        INTEGER NOT NULL DEFAULT 0,
  unread          INTEGER NOT NULL DEFAULT 0,
  last_commit     TEXT,
  parent_instance TEXT,
  parent_run      TEXT,
  parent_number   INTEGER,
  parent_close    TEXT NOT NULL,
  closes_with     TEXT,               -- the run whose end closes it: the parent's newest
  continued_to    TEXT,
  park            BLOB,
  tried           TEXT NOT NULL DEFAULT '',
  result          BLOB,
  failure         BLOB
);
CREATE INDEX runs_instance ON runs (instance_id, serial);
CREATE INDEX runs_ready ON runs (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX runs_owner ON runs (owner) WHERE owner IS NOT NULL;
CREATE INDEX runs_parked ON runs (serial) WHERE park IS NOT NULL;
CREATE INDEX runs_deadline ON runs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX runs_closes_with ON runs (closes_with) WHERE closes_with IS NOT NULL;

-- Apart from runs, whose rows are rewritten at each turn.
CREATE TABLE starts (
  run     INTEGER PRIMARY KEY,
  started BLOB NOT NULL
);

CREATE TABLE history (
  run    INTEGER NOT NULL,
  turn   INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (run, turn)
) WITHOUT ROWID;

CREATE TABLE inbox (
  run     INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  entry   BLOB NOT NULL,
  carried INTEGER NOT NULL,
  PRIMARY KEY (run, seq)
) WITHOUT ROWID;

-- What was accepted, so that a repeat gets the first answer even after the end.
CREATE TABLE messages (
  instance_id TEXT NOT NULL,
  message_id  TEXT NOT NULL,
  PRIMARY KEY (instance_id, message_id)
) WITHOUT ROWID;

CREATE TABLE timers (
  run    INTEGER NOT NULL,
  number INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due_at);

CREATE TABLE activities (
  run          INTEGER NOT NULL,
  number       INTEGER NOT NULL,
  name         TEXT NOT NULL,
  queue        TEXT NOT NULL,
  input        BLOB NOT NULL,
  policy       BLOB NOT NULL,       -- retry policy and time-outs, JSON
  scheduled_at INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  due_at       INTEGER NOT NULL,    -- claimable from then on
  deadline_at  INTEGER,             -- first of its time-outs
  started_at   INTEGER NOT NULL,
  owner        TEXT,
  token        TEXT,
  cancel       INTEGER NOT NULL DEFAULT 0,
  losses       INTEGER NOT NULL DEFAULT 0,
  lone_losses  INTEGER NOT NULL DEFAULT 0,
  loss_base    INTEGER NOT NULL DEFAULT 0,
  details      BLOB,
  last_failure BLOB,
  PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE INDEX activities_waiting ON activities (due_at) WHERE owner IS NULL;
CREATE INDEX activities_owner ON activities (owner) WHERE owner IS NOT NULL;
CREATE INDEX activities_deadline ON activities (deadline_at) WHERE deadline_at IS NOT NULL;

CREATE TABLE sessions (
  id         TEXT PRIMARY KEY,
  build      TEXT NOT NULL,
  start      BLOB NOT NULL,         -- what the worker said of itself, JSON
  lease      INTEGER NOT NULL,
  opened_at  INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  proof      TEXT NOT NULL          -- where its process's lock is, JSON
) WITHOUT ROWID;
