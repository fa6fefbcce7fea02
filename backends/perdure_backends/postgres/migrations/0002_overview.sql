-- What pages about a store show: runs by state, and documents beside the instances. Code of version
-- 1 can still use the store: it does not know of these.

CREATE INDEX runs_by_state ON perdure.runs (status, started_at, serial)
  WHERE status <> 'completed' AND status <> 'continued_as_new';

CREATE TABLE perdure.documents (
  collection text COLLATE "C" NOT NULL,
  key        text COLLATE "C" NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (collection, key)
);
