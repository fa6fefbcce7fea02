-- What pages about a store show: runs by state, and documents beside the instances. Code of version
-- 2 can still use the store: it does not know of these.

CREATE INDEX runs_by_state ON runs (status, serial)
  WHERE status <> 'completed' AND status <> 'continued_as_new';

CREATE TABLE documents (
  collection TEXT NOT NULL,
  key        TEXT NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (collection, key)
) WITHOUT ROWID;
