-- What pages about a store show: runs by state, and documents beside the instances. Code of version
-- 1 can still use the store: it does not know of these.

CREATE INDEX runs_by_state ON perdure_runs (status, started_at, serial);

CREATE TABLE IF NOT EXISTS perdure_documents (
  collection VARBINARY(64) NOT NULL,
  name       VARBINARY(256) NOT NULL,
  value      LONGBLOB NOT NULL,
  PRIMARY KEY (collection, name)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;
