-- Each statement stands under its name; parameters are :named. Rows that decisions hang on are
-- locked in the order of their keys.

-- name: now
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- name: next_serials
SELECT nextval('perdure.serials'), 4096::bigint

-- name: runs_by_id
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs WHERE run_id = ANY(:ids::text[]) ORDER BY serial FOR UPDATE

-- Joined with itself: where the lock has to wait, the row comes back as it is then, although it
-- may not be the newest of its instance any more.

-- name: current_runs
SELECT r.serial, r.run_id, r.instance_id, r.lineage, r.request_id, r.workflow, r.version,
  r.queue, r.started_at, r.parent_instance, r.parent_run, r.parent_number, r.parent_close,
  r.current_of, r.status, r.suspended, r.deadline_at, r.finished_at, r.ready_at, r.owner,
  r.token, r.executing, r.losses, r.lone_losses, r.loss_base, r.turn, r.events, r.last_seq,
  r.unread, r.last_commit, r.closes_with, r.has_children, r.continued_to, r.park, r.tried
FROM perdure.runs AS c JOIN perdure.runs AS r ON r.serial = c.serial
WHERE c.current_of = ANY(:ids::text[]) ORDER BY r.serial FOR UPDATE OF r

-- name: runs_by_serial
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs WHERE serial = ANY(:serials::bigint[]) ORDER BY serial FOR UPDATE

-- name: free_runs_by_serial
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs WHERE serial = ANY(:serials::bigint[]) ORDER BY serial FOR UPDATE SKIP LOCKED

-- name: children
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs WHERE closes_with = :run_id AND status = 'running' ORDER BY serial FOR UPDATE

-- name: find_request
SELECT run_id FROM perdure.runs WHERE lineage = :lineage AND request_id = :request_id ORDER BY serial LIMIT 1

-- name: known_messages
SELECT m.lineage, m.digest FROM perdure.messages AS m
JOIN unnest(:keys.0::bigint[], :keys.1::bytea[]) AS k(lineage, digest) ON m.lineage = k.lineage AND m.digest = k.digest

-- name: unread_carried
SELECT seq, entry FROM perdure.inbox WHERE run = :run AND carried ORDER BY seq

-- name: activities_by_key
SELECT a.run, a.number, a.policy, a.scheduled_at, a.attempt, a.due_at, a.deadline_at,
  a.started_at, a.owner, a.token, a.cancel, a.losses, a.lone_losses, a.loss_base
FROM perdure.activities AS a JOIN unnest(:keys.0::bigint[], :keys.1::int[]) AS k(run, number) ON a.run = k.run AND a.number = k.number
ORDER BY a.run, a.number FOR UPDATE OF a

-- name: queue_limits_of
SELECT queue, per_second, burst, level, at FROM perdure.queue_limits
WHERE queue = ANY(:queues::text[]) ORDER BY queue FOR UPDATE

-- name: share_session
SELECT 1 FROM perdure.sessions WHERE id = :id FOR KEY SHARE

-- name: lock_session
SELECT expires_at FROM perdure.sessions WHERE id = :id FOR UPDATE

-- name: claimable
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs
WHERE ready_at IS NOT NULL AND queue = :queue
  AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[]))
  AND (owner IS NULL OR owner = :session)
  AND ((lone_losses > 0 OR losses >= :suspect) AND owner IS NULL) = :alone
ORDER BY ready_at, serial LIMIT :limit FOR UPDATE SKIP LOCKED

-- The same in one step, for one queue. Rows are locked first, in the order of an index, and taken then;
-- flags come along also where there is nothing to take. What is unread is as old as the beginning of
-- the statement, rows are as they are once they are locked: who asks compares.

-- name: claim_at_once
WITH session AS (SELECT 1 FROM perdure.sessions WHERE id = :session FOR KEY SHARE),
free AS MATERIALIZED (
  SELECT serial, ready_at, row_number() OVER () AS place FROM (
    SELECT serial, ready_at FROM perdure.runs
    WHERE ready_at IS NOT NULL AND queue = :queue AND EXISTS (SELECT 1 FROM session)
      AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[]))
      AND (owner IS NULL OR owner = :session)
      AND ((lone_losses > 0 OR losses >= :suspect) AND owner IS NULL) = :alone
    ORDER BY ready_at, serial LIMIT :limit FOR UPDATE SKIP LOCKED) AS locked),
taken AS (
  UPDATE perdure.runs AS r SET owner = :session, executing = 1, ready_at = NULL, park = NULL,
    token = CASE WHEN r.owner IS NULL OR r.token IS NULL THEN (:tokens::text[])[free.place] ELSE r.token END
  FROM free WHERE r.serial = free.serial
  RETURNING r.*, free.ready_at AS was_ready_at)
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried, was_ready_at, suspects, queries,
  ARRAY(SELECT seq FROM perdure.inbox AS i WHERE i.run = serial ORDER BY seq) AS numbers,
  ARRAY(SELECT entry FROM perdure.inbox AS i WHERE i.run = serial ORDER BY seq) AS entries
FROM (SELECT
  EXISTS (SELECT 1 FROM perdure.runs
    WHERE ready_at IS NOT NULL AND owner IS NULL AND (lone_losses > 0 OR losses >= :suspect)
      AND queue = :queue
      AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[])))
    OR EXISTS (SELECT 1 FROM perdure.activities
    WHERE owner IS NULL AND due_at <= :now AND (lone_losses > 0 OR losses >= :suspect)
      AND queue = :queue) AS suspects,
  EXISTS (SELECT 1 FROM perdure.queries WHERE NOT answered) AS queries) AS flags
LEFT JOIN taken ON true
ORDER BY was_ready_at, serial

-- name: ready_queues
SELECT queue FROM perdure.runs WHERE ready_at IS NOT NULL AND queue = ANY(:queues::text[])
GROUP BY queue ORDER BY min(ready_at)

-- name: waiting_queues
SELECT DISTINCT queue FROM perdure.activities
WHERE owner IS NULL AND due_at <= :now AND queue = ANY(:queues::text[])

-- name: claimable_parked
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure.runs
WHERE park IS NOT NULL AND suspended = 0 AND queue = ANY(:queues::text[])
  AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[]))
  AND (lone_losses > 0 OR losses >= :suspect) = :alone AND position(:build IN tried) = 0
ORDER BY serial LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: suspects
SELECT EXISTS (SELECT 1 FROM perdure.runs
  WHERE ready_at IS NOT NULL AND owner IS NULL AND (lone_losses > 0 OR losses >= :suspect)
    AND queue = ANY(:queues::text[])
    AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[])))
  OR EXISTS (SELECT 1 FROM perdure.activities
  WHERE owner IS NULL AND due_at <= :now AND (lone_losses > 0 OR losses >= :suspect)
    AND queue = ANY(:queues::text[])),
  EXISTS (SELECT 1 FROM perdure.queries WHERE NOT answered)

-- name: read_inboxes
SELECT run, seq, entry FROM perdure.inbox WHERE run = ANY(:runs::bigint[]) ORDER BY run, seq

-- name: read_history
SELECT record FROM perdure.history WHERE run = (SELECT serial FROM perdure.runs WHERE run_id = :run_id) AND turn > :after
ORDER BY turn LIMIT :limit

-- name: claimable_activities
SELECT run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base, name, queue, input, details, headers, priority
FROM perdure.activities AS a
WHERE owner IS NULL AND due_at <= :now AND queue = :queue
  AND (:all_names OR name = ANY(:names::text[]))
  AND (lone_losses > 0 OR losses >= :suspect) = :alone
  AND NOT EXISTS (SELECT 1 FROM perdure.runs AS r WHERE r.serial = a.run AND r.suspended = 1)
ORDER BY priority DESC, due_at, run, number LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: names_of_runs
SELECT serial, instance_id, run_id FROM perdure.runs WHERE serial = ANY(:serials::bigint[])

-- name: serials_of_runs
SELECT run_id, serial FROM perdure.runs WHERE run_id = ANY(:ids::text[])

-- name: serials_owned
SELECT serial FROM perdure.runs WHERE owner = :session
UNION SELECT run FROM perdure.activities WHERE owner = :session

-- name: owned_activities
SELECT run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base
FROM perdure.activities WHERE owner = :session ORDER BY run, number FOR UPDATE

-- name: lock_meta
SELECT value FROM perdure.meta WHERE key = :key FOR UPDATE

-- name: due_timers
SELECT due_at, run, number FROM perdure.timers WHERE due_at <= :now ORDER BY due_at LIMIT :limit

-- name: due_runs
SELECT deadline_at, serial FROM perdure.runs WHERE deadline_at <= :now ORDER BY deadline_at LIMIT :limit

-- name: due_activities
SELECT deadline_at, run, number FROM perdure.activities WHERE deadline_at <= :now
ORDER BY deadline_at LIMIT :limit

-- name: timers_by_key
SELECT t.run, t.number FROM perdure.timers AS t
JOIN unnest(:keys.0::bigint[], :keys.1::int[]) AS k(run, number) ON t.run = k.run AND t.number = k.number

-- name: serials_of_lineage
SELECT serial FROM perdure.runs WHERE lineage = :lineage ORDER BY serial

-- name: image_messages
SELECT digest FROM perdure.messages WHERE lineage = :lineage ORDER BY digest

-- name: image_updates
SELECT digest, stage, result, failure FROM perdure.updates WHERE lineage = :lineage ORDER BY digest

-- name: image_inbox
SELECT seq, entry, carried FROM perdure.inbox WHERE run = :run ORDER BY seq

-- name: image_activities
SELECT number, name, queue, input, policy, scheduled_at, attempt, due_at, deadline_at, started_at,
  owner, cancel, priority, headers, details, last_failure
FROM perdure.activities WHERE run = :run ORDER BY number

-- name: newest_runs
SELECT instance_id, serial FROM perdure.runs WHERE current_of = ANY(:ids::text[])

-- name: named_runs
SELECT instance_id, run_id, serial FROM perdure.runs WHERE run_id = ANY(:ids::text[])

-- name: claimable_queries
SELECT q.id, r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.turn, r.started_at, q.entry
FROM perdure.queries AS q JOIN perdure.runs AS r ON r.serial = q.run
WHERE NOT q.answered AND q.expires_at > :now AND r.turn > 0
  AND (q.claimed_at IS NULL OR q.claimed_at <= :again)
  AND r.queue = ANY(:queues::text[])
  AND (:all_workflows::boolean OR (version || ' ' || workflow) = ANY(:offers::text[]))
ORDER BY q.expires_at LIMIT :limit FOR UPDATE OF q SKIP LOCKED

-- name: read_answers
SELECT id, result, failure FROM perdure.queries WHERE id = ANY(:ids::text[]) AND answered FOR UPDATE

-- name: read_updates
SELECT digest, stage, result, failure FROM perdure.updates
WHERE lineage = (SELECT lineage FROM perdure.runs WHERE current_of = :instance_id) AND digest = ANY(:ids::bytea[])

-- name: queue_limits
SELECT queue, per_second, burst, level, at FROM perdure.queue_limits ORDER BY queue

-- name: limited_and_waiting
SELECT queue, per_second, burst, level, at FROM perdure.queue_limits
WHERE queue IN (SELECT queue FROM perdure.activities WHERE owner IS NULL AND due_at <= :now)

-- name: forget_queries
DELETE FROM perdure.queries WHERE expires_at <= :now

-- name: describe
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure.runs AS r JOIN perdure.starts AS s ON s.run = r.serial
LEFT JOIN perdure.outcomes AS o ON o.run = r.serial LEFT JOIN perdure.published AS p ON p.run = r.serial

-- name: describe_current
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure.runs AS r JOIN perdure.starts AS s ON s.run = r.serial
LEFT JOIN perdure.outcomes AS o ON o.run = r.serial LEFT JOIN perdure.published AS p ON p.run = r.serial
WHERE r.current_of = :id

-- name: describe_run
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure.runs AS r JOIN perdure.starts AS s ON s.run = r.serial
LEFT JOIN perdure.outcomes AS o ON o.run = r.serial LEFT JOIN perdure.published AS p ON p.run = r.serial
WHERE r.run_id = :run_id AND r.instance_id = :id

-- name: describe_runs
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure.runs AS r JOIN perdure.starts AS s ON s.run = r.serial
LEFT JOIN perdure.outcomes AS o ON o.run = r.serial LEFT JOIN perdure.published AS p ON p.run = r.serial
WHERE r.run_id = ANY(:ids::text[])

-- name: ends
SELECT r.run_id, r.instance_id, r.status, r.continued_to, o.result, o.failure
FROM perdure.runs AS r LEFT JOIN perdure.outcomes AS o ON o.run = r.serial
WHERE r.run_id = ANY(:ids::text[]) AND r.finished_at IS NOT NULL

-- name: unread_of_run
SELECT serial, unread FROM perdure.runs WHERE run_id = :run_id

-- name: pending_activities
SELECT number, name, queue, attempt, scheduled_at, due_at, owner, last_failure FROM perdure.activities
WHERE run = :run ORDER BY number

-- name: pending_timers
SELECT number, due_at FROM perdure.timers WHERE run = :run ORDER BY number

-- name: list_sessions
SELECT start, opened_at, expires_at FROM perdure.sessions ORDER BY opened_at, id

-- name: look
SELECT t.now,
  EXISTS (SELECT 1 FROM perdure.runs WHERE ready_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM perdure.activities
      WHERE owner IS NULL AND due_at <= t.now AND (lone_losses > 0 OR losses > 1)),
  EXISTS (SELECT 1 FROM perdure.activities WHERE owner IS NULL AND due_at <= t.now),
  EXISTS (SELECT 1 FROM perdure.queries WHERE NOT answered),
  EXISTS (SELECT 1 FROM perdure.runs WHERE park IS NOT NULL),
  EXISTS (SELECT 1 FROM perdure.timers WHERE due_at <= t.now)
    OR EXISTS (SELECT 1 FROM perdure.runs WHERE deadline_at <= t.now)
    OR EXISTS (SELECT 1 FROM perdure.activities WHERE deadline_at <= t.now),
  EXISTS (SELECT 1 FROM perdure.activities WHERE owner IS NULL AND due_at > :since AND due_at <= t.now),
  EXISTS (SELECT 1 FROM perdure.queries WHERE expires_at <= t.now),
  EXISTS (SELECT 1 FROM perdure.queue_limits),
  least(
    (SELECT min(due_at) FROM perdure.timers),
    (SELECT min(deadline_at) FROM perdure.runs WHERE deadline_at IS NOT NULL),
    (SELECT min(deadline_at) FROM perdure.activities WHERE deadline_at IS NOT NULL),
    (SELECT min(due_at) FROM perdure.activities WHERE owner IS NULL AND due_at > t.now),
    (SELECT min(expires_at) FROM perdure.queries),
    (SELECT min(expires_at) FROM perdure.sessions)),
  ARRAY(SELECT id FROM perdure.sessions ORDER BY id),
  ARRAY(SELECT build FROM perdure.sessions ORDER BY id),
  ARRAY(SELECT expires_at FROM perdure.sessions ORDER BY id),
  ARRAY(SELECT s.id FROM perdure.sessions AS s
    WHERE s.lock_key IS NOT NULL AND s.proof = pg_postmaster_start_time()::text
      AND NOT EXISTS (SELECT 1 FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND (l.classid::bigint << 32) + l.objid::bigint = s.lock_key))
FROM (SELECT coalesce(:now::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS t

-- name: schema
SELECT value FROM perdure.meta WHERE key = ANY(ARRAY['schema_version', 'oldest_reader']) ORDER BY key DESC

-- name: renew_session
UPDATE perdure.sessions AS s SET expires_at = t.now + s.lease
FROM (SELECT coalesce(:now::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS t
WHERE s.id = :id AND s.expires_at > t.now RETURNING 1

-- name: hold_lock
SELECT pg_try_advisory_lock(:key)

-- name: note_lock
UPDATE perdure.sessions SET lock_key = :key, proof = pg_postmaster_start_time()::text WHERE id = :id

-- What follows handles many rows at once: a parameter is a column of them.

-- name: clear_inbox
DELETE FROM perdure.inbox WHERE run = ANY(:run::bigint[])

-- name: clear_timers
DELETE FROM perdure.timers WHERE run = ANY(:run::bigint[])

-- name: clear_activities
DELETE FROM perdure.activities WHERE run = ANY(:run::bigint[])

-- name: delete_inbox
DELETE FROM perdure.inbox AS t USING unnest(:run::bigint[], :seq::bigint[]) AS d(run, seq)
WHERE t.run = d.run AND t.seq = d.seq

-- name: delete_timers
DELETE FROM perdure.timers AS t USING unnest(:run::bigint[], :number::int[]) AS d(run, number)
WHERE t.run = d.run AND t.number = d.number

-- name: settle_activities
DELETE FROM perdure.activities AS t
USING unnest(:run::bigint[], :number::int[], :token::text[]) AS d(run, number, token)
WHERE t.run = d.run AND t.number = d.number AND t.token = d.token
RETURNING t.number

-- name: delete_activities
DELETE FROM perdure.activities AS t USING unnest(:run::bigint[], :number::int[]) AS d(run, number)
WHERE t.run = d.run AND t.number = d.number

-- name: insert_runs
INSERT INTO perdure.runs (
  serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried)
SELECT
  serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to,
  decode(park, 'base64'), tried
FROM json_to_recordset(:rows::json) AS u(
  serial bigint, run_id text, instance_id text, lineage bigint, request_id text, workflow text,
  version int, queue text, started_at bigint, parent_instance text, parent_run text,
  parent_number int, parent_close text, current_of text, status text, suspended smallint,
  deadline_at bigint, finished_at bigint, ready_at bigint, owner text, token text,
  executing smallint, losses int, lone_losses int, loss_base bigint, turn int, events int,
  last_seq bigint, unread int, last_commit text, closes_with text, has_children smallint,
  continued_to text, park text, tried text)

-- name: update_runs
UPDATE perdure.runs AS r SET
  current_of = u.current_of, status = u.status, suspended = u.suspended,
  deadline_at = u.deadline_at, finished_at = u.finished_at, ready_at = u.ready_at,
  owner = u.owner, token = u.token, executing = u.executing, losses = u.losses,
  lone_losses = u.lone_losses, loss_base = u.loss_base, turn = u.turn, events = u.events,
  last_seq = u.last_seq, unread = u.unread, last_commit = u.last_commit,
  closes_with = u.closes_with, has_children = u.has_children, continued_to = u.continued_to,
  park = decode(u.park, 'base64'), tried = u.tried
FROM json_to_recordset(:rows::json) AS u(
  serial bigint, current_of text, status text, suspended smallint, deadline_at bigint,
  finished_at bigint, ready_at bigint, owner text, token text, executing smallint, losses int,
  lone_losses int, loss_base bigint, turn int, events int, last_seq bigint, unread int,
  last_commit text, closes_with text, has_children smallint, continued_to text, park text,
  tried text)
WHERE r.serial = u.serial

-- name: compare_runs
UPDATE perdure.runs AS r SET
  current_of = u.current_of, status = u.status, suspended = u.suspended,
  deadline_at = u.deadline_at, finished_at = u.finished_at, ready_at = u.ready_at,
  owner = u.owner, token = u.token, executing = u.executing, losses = u.losses,
  lone_losses = u.lone_losses, loss_base = u.loss_base, turn = u.turn, events = u.events,
  last_seq = u.last_seq, unread = u.unread, last_commit = u.last_commit,
  closes_with = u.closes_with, has_children = u.has_children, continued_to = u.continued_to,
  park = decode(u.park, 'base64'), tried = u.tried
FROM json_to_recordset(:rows::json) AS u(
  serial bigint, current_of text, status text, suspended smallint, deadline_at bigint,
  finished_at bigint, ready_at bigint, owner text, token text, executing smallint, losses int,
  lone_losses int, loss_base bigint, turn int, events int, last_seq bigint, unread int,
  last_commit text, closes_with text, has_children smallint, continued_to text, park text,
  tried text, old_status text, old_suspended smallint, old_ready_at bigint, old_owner text,
  old_token text, old_executing smallint, old_losses int, old_lone_losses int, old_turn int,
  old_last_seq bigint, old_unread int, old_closes_with text, old_has_children smallint)
WHERE r.serial = u.serial
  AND r.status = u.old_status AND r.suspended = u.old_suspended
  AND r.ready_at IS NOT DISTINCT FROM u.old_ready_at AND r.owner IS NOT DISTINCT FROM u.old_owner
  AND r.token IS NOT DISTINCT FROM u.old_token AND r.executing = u.old_executing
  AND r.losses = u.old_losses AND r.lone_losses = u.old_lone_losses AND r.turn = u.old_turn
  AND r.last_seq = u.old_last_seq AND r.unread = u.old_unread
  AND r.closes_with IS NOT DISTINCT FROM u.old_closes_with
  AND r.has_children = u.old_has_children
RETURNING r.serial

-- name: insert_starts
INSERT INTO perdure.starts (run, started)
SELECT * FROM unnest(:run::bigint[], :started::bytea[])

-- name: insert_outcomes
INSERT INTO perdure.outcomes (run, result, failure)
SELECT * FROM unnest(:run::bigint[], :result::bytea[], :failure::bytea[])

-- name: insert_inbox
INSERT INTO perdure.inbox (run, seq, entry, carried)
SELECT * FROM unnest(:run::bigint[], :seq::bigint[], :entry::bytea[], :carried::boolean[])

-- name: insert_messages
INSERT INTO perdure.messages (lineage, digest)
SELECT * FROM unnest(:lineage::bigint[], :digest::bytea[])
ON CONFLICT DO NOTHING

-- name: insert_history
INSERT INTO perdure.history (run, turn, record)
SELECT * FROM unnest(:run::bigint[], :turn::int[], :record::bytea[])

-- name: insert_timers
INSERT INTO perdure.timers (run, number, due_at)
SELECT * FROM unnest(:run::bigint[], :number::int[], :due_at::bigint[])

-- name: insert_activities
INSERT INTO perdure.activities (
  run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base, name, queue, priority, input, headers)
SELECT
  run, number, decode(policy, 'base64'), scheduled_at, attempt, due_at, deadline_at, started_at,
  owner, token, cancel, losses, lone_losses, loss_base, name, queue, priority, input, headers
FROM ROWS FROM (
  json_to_recordset(:rows::json) AS (
    run bigint, number int, policy text, scheduled_at bigint, attempt int, due_at bigint,
    deadline_at bigint, started_at bigint, owner text, token text, cancel smallint, losses int,
    lone_losses int, loss_base bigint, name text, queue text, priority int),
  unnest(:input::bytea[], :headers::bytea[])) AS u(
    run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
    cancel, losses, lone_losses, loss_base, name, queue, priority, input, headers)

-- name: update_activities
UPDATE perdure.activities AS a SET
  attempt = u.attempt, due_at = u.due_at, deadline_at = u.deadline_at, started_at = u.started_at,
  owner = u.owner, token = u.token, cancel = u.cancel, losses = u.losses,
  lone_losses = u.lone_losses, loss_base = u.loss_base,
  last_failure = coalesce(u.last_failure, a.last_failure),
  details = coalesce(u.details, a.details)
FROM ROWS FROM (
  json_to_recordset(:rows::json) AS (
    run bigint, number int, attempt int, due_at bigint, deadline_at bigint, started_at bigint,
    owner text, token text, cancel smallint, losses int, lone_losses int, loss_base bigint),
  unnest(:last_failure::bytea[], :details::bytea[])) AS u(
    run, number, attempt, due_at, deadline_at, started_at, owner, token, cancel, losses,
    lone_losses, loss_base, last_failure, details)
WHERE a.run = u.run AND a.number = u.number

-- name: put_updates
INSERT INTO perdure.updates (lineage, digest, stage, result, failure)
SELECT * FROM unnest(:lineage::bigint[], :digest::bytea[], :stage::text[], :result::bytea[], :failure::bytea[])
ON CONFLICT (lineage, digest)
DO UPDATE SET stage = excluded.stage, result = excluded.result, failure = excluded.failure

-- name: put_published
INSERT INTO perdure.published (run, value)
SELECT * FROM unnest(:run::bigint[], :value::bytea[])
ON CONFLICT (run) DO UPDATE SET value = excluded.value

-- name: set_levels
UPDATE perdure.queue_limits AS l SET level = u.level, at = u.at
FROM unnest(:queue::text[], :level::float8[], :at::bigint[]) AS u(queue, level, at)
WHERE l.queue = u.queue

-- name: insert_session
INSERT INTO perdure.sessions (id, build, start, lease, opened_at, expires_at, proof)
SELECT * FROM unnest(:id::text[], :build::text[], :start::bytea[], :lease::bigint[], :opened_at::bigint[], :expires_at::bigint[], :proof::text[])
ON CONFLICT DO NOTHING

-- name: delete_session
DELETE FROM perdure.sessions WHERE id = ANY(:id::text[])

-- name: put_meta
INSERT INTO perdure.meta (key, value)
SELECT * FROM unnest(:key::text[], :value::text[])
ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: insert_queries
INSERT INTO perdure.queries (id, run, entry, expires_at)
SELECT * FROM unnest(:id::text[], :run::bigint[], :entry::bytea[], :expires_at::bigint[])
ON CONFLICT DO NOTHING

-- name: note_query_claims
UPDATE perdure.queries AS q SET claimed_at = u.at
FROM unnest(:id::text[], :at::bigint[]) AS u(id, at) WHERE q.id = u.id

-- name: answer_queries
UPDATE perdure.queries AS q SET answered = true, result = u.result, failure = u.failure
FROM unnest(:id::text[], :result::bytea[], :failure::bytea[]) AS u(id, result, failure)
WHERE q.id = u.id AND NOT q.answered

-- name: delete_queries
DELETE FROM perdure.queries WHERE id = ANY(:id::text[])

-- name: delete_queue_limit
DELETE FROM perdure.queue_limits WHERE queue = ANY(:queue::text[])

-- name: put_queue_limit
INSERT INTO perdure.queue_limits (queue, per_second, burst, level, at)
SELECT * FROM unnest(:queue::text[], :per_second::float8[], :burst::int[], :level::float8[], :at::bigint[])
ON CONFLICT (queue) DO UPDATE SET per_second = excluded.per_second, burst = excluded.burst,
  level = excluded.level, at = excluded.at

-- name: clear_history
DELETE FROM perdure.history WHERE run = ANY(:run::bigint[])

-- name: clear_queries
DELETE FROM perdure.queries WHERE run = ANY(:run::bigint[])

-- name: delete_starts
DELETE FROM perdure.starts WHERE run = ANY(:run::bigint[])

-- name: delete_outcomes
DELETE FROM perdure.outcomes WHERE run = ANY(:run::bigint[])

-- name: delete_published
DELETE FROM perdure.published WHERE run = ANY(:run::bigint[])

-- name: delete_runs
DELETE FROM perdure.runs WHERE serial = ANY(:serial::bigint[])

-- name: clear_messages
DELETE FROM perdure.messages WHERE lineage = ANY(:lineage::bigint[])

-- name: clear_updates
DELETE FROM perdure.updates WHERE lineage = ANY(:lineage::bigint[])

-- name: count_state
SELECT count(*) FROM (SELECT 1 FROM perdure.runs WHERE status = :status
  AND status <> 'completed' AND status <> 'continued_as_new' LIMIT :most) AS found

-- name: count_completed
SELECT count(*) FROM (SELECT 1 FROM perdure.runs WHERE status = 'completed' LIMIT :most) AS found

-- name: count_suspended
SELECT count(*) FROM (SELECT suspended FROM perdure.runs WHERE status = 'running'
  AND status <> 'completed' AND status <> 'continued_as_new' LIMIT :most) AS found WHERE suspended = 1

-- name: some_parked
SELECT park FROM perdure.runs WHERE park IS NOT NULL AND suspended = 0 LIMIT :most

-- name: ready_by_queue
SELECT queue, count(*), min(ready_at) FROM
  (SELECT queue, ready_at FROM perdure.runs WHERE ready_at IS NOT NULL LIMIT :most) AS found GROUP BY queue

-- name: waiting_by_queue
SELECT queue, count(*), min(due_at) FROM (SELECT queue, due_at FROM perdure.activities
  WHERE owner IS NULL AND due_at <= :now LIMIT :most) AS found GROUP BY queue

-- name: running_by_queue
SELECT queue, count(*), NULL FROM
  (SELECT queue FROM perdure.activities WHERE owner IS NOT NULL LIMIT :most) AS found GROUP BY queue

-- name: put_documents
INSERT INTO perdure.documents (collection, key, value)
SELECT * FROM unnest(:collection::text[], :key::text[], :value::bytea[])
ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value

-- name: list_documents
SELECT collection, key, value FROM perdure.documents
WHERE collection = :collection AND key > :after ORDER BY key LIMIT :limit

-- name: newest_documents
SELECT collection, key, value FROM perdure.documents
WHERE collection = :collection AND (:after::text IS NULL OR key < :after) ORDER BY key DESC LIMIT :limit

-- name: clear_documents
DELETE FROM perdure.documents WHERE collection = :collection AND key < :before
