-- `perdure_` stands for the prefix that the store was opened with. Times are microseconds since the
-- epoch. `run` columns hold runs.serial. Text is kept as UTF-8 in binary columns, and so compared as
-- bytes, whatever the server's character set. A script may be cut off in the middle and run again.

CREATE TABLE IF NOT EXISTS perdure_meta (
  `key` VARBINARY(100) PRIMARY KEY,
  value VARBINARY(500) NOT NULL
) ENGINE=InnoDB;

-- Serials are handed out in blocks, so that rows of several tables can name a run before it is written.
CREATE TABLE IF NOT EXISTS perdure_serials (
  id   TINYINT PRIMARY KEY,
  next BIGINT NOT NULL
) ENGINE=InnoDB;
INSERT IGNORE INTO perdure_serials (id, next) VALUES (1, 1);

CREATE TABLE IF NOT EXISTS perdure_runs (
  serial          BIGINT PRIMARY KEY,
  run_id          VARBINARY(2048) NOT NULL,
  instance_id     VARBINARY(2048) NOT NULL,
  lineage         BIGINT NOT NULL,           -- serial of the instance's first run
  request_id      VARBINARY(2048) NOT NULL,
  workflow        VARBINARY(2048) NOT NULL,
  version         INT NOT NULL,
  queue           VARBINARY(2048) NOT NULL,
  started_at      BIGINT NOT NULL,
  parent_instance VARBINARY(2048),
  parent_run      VARBINARY(2048),
  parent_number   INT,
  parent_close    VARBINARY(20) NOT NULL,
  current_of      VARBINARY(2048),           -- the instance's id while this is its newest run
  status          VARBINARY(20) NOT NULL,
  suspended       TINYINT NOT NULL,
  deadline_at     BIGINT,
  finished_at     BIGINT,
  ready_at        BIGINT,                    -- claimable since; NULL while there is nothing to do
  owner           VARBINARY(100),
  token           VARBINARY(100),
  executing       TINYINT NOT NULL,
  losses          INT NOT NULL,
  lone_losses     INT NOT NULL,
  loss_base       BIGINT NOT NULL,           -- sessions lost before the first of them
  turn            INT NOT NULL,
  events          INT NOT NULL,
  last_seq        BIGINT NOT NULL,
  unread          INT NOT NULL,
  last_commit     VARBINARY(100),
  closes_with     VARBINARY(2048),           -- the run whose end closes it: the parent's newest
  has_children    TINYINT NOT NULL,
  continued_to    VARBINARY(2048),
  park            MEDIUMBLOB,
  tried           VARBINARY(8000) NOT NULL,
  UNIQUE KEY runs_run (run_id),
  UNIQUE KEY runs_current (current_of),
  KEY runs_lineage (lineage),
  KEY runs_started (started_at, serial),
  KEY runs_ready (queue, ready_at),
  KEY runs_any_ready (ready_at),
  KEY runs_owner (owner),
  KEY runs_parked (park(1)),
  KEY runs_deadline (deadline_at),
  KEY runs_closes_with (closes_with)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- Apart from runs, whose rows are rewritten at each turn.
CREATE TABLE IF NOT EXISTS perdure_starts (
  run     BIGINT PRIMARY KEY,
  started LONGBLOB NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_outcomes (
  run     BIGINT PRIMARY KEY,
  result  LONGBLOB,
  failure LONGBLOB
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_published (
  run   BIGINT PRIMARY KEY,
  value LONGBLOB NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_history (
  run    BIGINT NOT NULL,
  turn   INT NOT NULL,
  record LONGBLOB NOT NULL,
  PRIMARY KEY (run, turn)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_inbox (
  run     BIGINT NOT NULL,
  seq     BIGINT NOT NULL,
  entry   LONGBLOB NOT NULL,
  carried TINYINT NOT NULL,
  PRIMARY KEY (run, seq)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- What was accepted, so that a repeat gets the first answer even after the end.
CREATE TABLE IF NOT EXISTS perdure_messages (
  lineage BIGINT NOT NULL,
  digest  BINARY(32) NOT NULL,               -- SHA-256 of the message's id
  PRIMARY KEY (lineage, digest)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS perdure_timers (
  run    BIGINT NOT NULL,
  number INT NOT NULL,
  due_at BIGINT NOT NULL,
  PRIMARY KEY (run, number),
  KEY timers_due (due_at)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS perdure_activities (
  run          BIGINT NOT NULL,
  number       INT NOT NULL,
  policy       MEDIUMBLOB NOT NULL,          -- retry policy and time-outs, JSON
  scheduled_at BIGINT NOT NULL,
  attempt      INT NOT NULL,
  due_at       BIGINT NOT NULL,              -- claimable from then on
  deadline_at  BIGINT,                       -- first of its time-outs
  started_at   BIGINT NOT NULL,
  owner        VARBINARY(100),
  token        VARBINARY(100),
  cancel       TINYINT NOT NULL,
  losses       INT NOT NULL,
  lone_losses  INT NOT NULL,
  loss_base    BIGINT NOT NULL,
  name         VARBINARY(2048) NOT NULL,
  queue        VARBINARY(2048) NOT NULL,
  input        LONGBLOB NOT NULL,
  priority     INT NOT NULL,
  headers      MEDIUMBLOB,
  details      LONGBLOB,
  last_failure LONGBLOB,
  -- Not every server has descending indexes.
  urgency      INT GENERATED ALWAYS AS (-priority) STORED,
  PRIMARY KEY (run, number),
  KEY activities_waiting (owner, queue, urgency, due_at),
  KEY activities_due (owner, due_at),
  KEY activities_deadline (deadline_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_sessions (
  id         VARBINARY(100) PRIMARY KEY,
  build      VARBINARY(2048) NOT NULL,
  start      LONGBLOB NOT NULL,              -- what the worker said of itself, JSON
  lease      BIGINT NOT NULL,
  opened_at  BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  lock_name  VARBINARY(64),                  -- of the user lock that it holds
  booted_at  BIGINT NOT NULL                 -- second of the server's start that the lock belongs to
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- How updates stand; kept with their instance, so that a repeat gets the first answer.
CREATE TABLE IF NOT EXISTS perdure_updates (
  lineage BIGINT NOT NULL,
  digest  BINARY(32) NOT NULL,               -- SHA-256 of the update's id
  stage   VARBINARY(20) NOT NULL,
  result  LONGBLOB,
  failure LONGBLOB,
  PRIMARY KEY (lineage, digest)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_queries (
  id         VARBINARY(2048) PRIMARY KEY,
  run        BIGINT NOT NULL,
  entry      LONGBLOB NOT NULL,
  expires_at BIGINT NOT NULL,
  claimed_at BIGINT,
  answered   TINYINT NOT NULL DEFAULT 0,
  result     LONGBLOB,
  failure    LONGBLOB,
  KEY queries_run (run),
  KEY queries_expiry (expires_at)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

CREATE TABLE IF NOT EXISTS perdure_queue_limits (
  queue      VARBINARY(2048) PRIMARY KEY,
  per_second DOUBLE NOT NULL,
  burst      INT NOT NULL,
  level      DOUBLE NOT NULL,
  at         BIGINT NOT NULL                 -- when the level was so
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
