-- `perdure` stands for the schema that the store was opened with.
-- Times are microseconds since the epoch. `run` columns hold runs.serial. Text is compared as bytes.

CREATE SCHEMA IF NOT EXISTS perdure;

CREATE TABLE perdure.meta (
  key   text COLLATE "C" PRIMARY KEY,
  value text NOT NULL
);

-- Handed out in blocks, so that rows of several tables can name a run before it is written.
CREATE SEQUENCE perdure.serials AS bigint INCREMENT BY 4096;

CREATE TABLE perdure.runs (
  serial          bigint PRIMARY KEY,
  run_id          text COLLATE "C" NOT NULL UNIQUE,
  instance_id     text COLLATE "C" NOT NULL,
  lineage         bigint NOT NULL,          -- serial of the instance's first run
  request_id      text COLLATE "C" NOT NULL,
  workflow        text COLLATE "C" NOT NULL,
  version         integer NOT NULL,
  queue           text COLLATE "C" NOT NULL,
  started_at      bigint NOT NULL,
  parent_instance text COLLATE "C",
  parent_run      text COLLATE "C",
  parent_number   integer,
  parent_close    text NOT NULL,
  current_of      text COLLATE "C" UNIQUE,  -- the instance's id while this is its newest run
  status          text COLLATE "C" NOT NULL,
  suspended       smallint NOT NULL,
  deadline_at     bigint,
  finished_at     bigint,
  ready_at        bigint,                   -- claimable since; NULL while there is nothing to do
  owner           text COLLATE "C",
  token           text,
  executing       smallint NOT NULL,
  losses          integer NOT NULL,
  lone_losses     integer NOT NULL,
  loss_base       bigint NOT NULL,          -- sessions lost before the first of them
  turn            integer NOT NULL,
  events          integer NOT NULL,
  last_seq        bigint NOT NULL,
  unread          integer NOT NULL,
  last_commit     text,
  closes_with     text COLLATE "C",         -- the run whose end closes it: the parent's newest
  has_children    smallint NOT NULL,
  continued_to    text COLLATE "C",
  park            bytea,
  tried           text COLLATE "C" NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX runs_lineage ON perdure.runs (lineage);
CREATE INDEX runs_started ON perdure.runs (started_at, serial);
CREATE INDEX runs_ready ON perdure.runs (queue, ready_at, serial) WHERE ready_at IS NOT NULL;
CREATE INDEX runs_owner ON perdure.runs (owner) WHERE owner IS NOT NULL;
CREATE INDEX runs_parked ON perdure.runs (serial) WHERE park IS NOT NULL;
CREATE INDEX runs_deadline ON perdure.runs (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX runs_closes_with ON perdure.runs (closes_with) WHERE closes_with IS NOT NULL;

-- Apart from runs, whose rows are rewritten at each turn.
CREATE TABLE perdure.starts (
  run     bigint PRIMARY KEY,
  started bytea NOT NULL
);

CREATE TABLE perdure.outcomes (
  run     bigint PRIMARY KEY,
  result  bytea,
  failure bytea
);

CREATE TABLE perdure.published (
  run   bigint PRIMARY KEY,
  value bytea NOT NULL
);

CREATE TABLE perdure.history (
  run    bigint NOT NULL,
  turn   integer NOT NULL,
  record bytea NOT NULL,
  PRIMARY KEY (run, turn)
);

CREATE TABLE perdure.inbox (
  run     bigint NOT NULL,
  seq     bigint NOT NULL,
  entry   bytea NOT NULL,
  carried boolean NOT NULL,
  PRIMARY KEY (run, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);

-- What was accepted, so that a repeat gets the first answer even after the end.
CREATE TABLE perdure.messages (
  lineage bigint NOT NULL,
  digest  bytea NOT NULL,                   -- SHA-256 of the message's id
  PRIMARY KEY (lineage, digest)
);

CREATE TABLE perdure.timers (
  run    bigint NOT NULL,
  number integer NOT NULL,
  due_at bigint NOT NULL,
  PRIMARY KEY (run, number)
);
CREATE INDEX timers_due ON perdure.timers (due_at);

CREATE TABLE perdure.activities (
  run          bigint NOT NULL,
  number       integer NOT NULL,
  policy       bytea NOT NULL,              -- retry policy and time-outs, JSON
  scheduled_at bigint NOT NULL,
  attempt      integer NOT NULL,
  due_at       bigint NOT NULL,             -- claimable from then on
  deadline_at  bigint,                      -- first of its time-outs
  started_at   bigint NOT NULL,
  owner        text COLLATE "C",
  token        text,
  cancel       smallint NOT NULL,
  losses       integer NOT NULL,
  lone_losses  integer NOT NULL,
  loss_base    bigint NOT NULL,
  name         text COLLATE "C" NOT NULL,
  queue        text COLLATE "C" NOT NULL,
  input        bytea NOT NULL,
  priority     integer NOT NULL,
  headers      bytea,
  details      bytea,
  last_failure bytea,
  PRIMARY KEY (run, number)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
CREATE INDEX activities_waiting ON perdure.activities (queue, priority DESC, due_at, run, number)
  WHERE owner IS NULL;
CREATE INDEX activities_due ON perdure.activities (due_at) WHERE owner IS NULL;
CREATE INDEX activities_owner ON perdure.activities (owner) WHERE owner IS NOT NULL;
CREATE INDEX activities_deadline ON perdure.activities (deadline_at) WHERE deadline_at IS NOT NULL;

CREATE TABLE perdure.sessions (
  id         text COLLATE "C" PRIMARY KEY,
  build      text NOT NULL,
  start      bytea NOT NULL,                -- what the worker said of itself, JSON
  lease      bigint NOT NULL,
  opened_at  bigint NOT NULL,
  expires_at bigint NOT NULL,
  lock_key   bigint,                        -- of the advisory lock that it holds
  proof      text NOT NULL                  -- which start of the server the lock belongs to
);

-- How updates stand; kept with their instance, so that a repeat gets the first answer.
CREATE TABLE perdure.updates (
  lineage bigint NOT NULL,
  digest  bytea NOT NULL,                   -- SHA-256 of the update's id
  stage   text NOT NULL,
  result  bytea,
  failure bytea,
  PRIMARY KEY (lineage, digest)
);

CREATE TABLE perdure.queries (
  id         text COLLATE "C" PRIMARY KEY,
  run        bigint NOT NULL,
  entry      bytea NOT NULL,
  expires_at bigint NOT NULL,
  claimed_at bigint,
  answered   boolean NOT NULL DEFAULT false,
  result     bytea,
  failure    bytea
);
CREATE INDEX queries_run ON perdure.queries (run);
CREATE INDEX queries_expiry ON perdure.queries (expires_at);

CREATE TABLE perdure.queue_limits (
  queue      text COLLATE "C" PRIMARY KEY,
  per_second double precision NOT NULL,
  burst      integer NOT NULL,
  level      double precision NOT NULL,
  at         bigint NOT NULL                -- when the level was so
);
