-- Each statement stands under its name; parameters are :named, lists are taken by IN. Rows that
-- decisions hang on are locked in the order of their keys.

-- name: now
SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)

-- name: next_serials
UPDATE perdure_serials SET next = LAST_INSERT_ID(next) + 4096 WHERE id = 1;
SELECT LAST_INSERT_ID(), 4096

-- name: runs_by_id
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs WHERE run_id IN :ids ORDER BY serial FOR UPDATE

-- name: current_runs
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs WHERE current_of IN :ids ORDER BY serial FOR UPDATE

-- name: runs_by_serial
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs WHERE serial IN :serials ORDER BY serial FOR UPDATE

-- name: free_runs_by_serial
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs WHERE serial IN :serials ORDER BY serial FOR UPDATE SKIP LOCKED

-- name: children
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs WHERE closes_with = :run_id AND status = 'running' ORDER BY serial FOR UPDATE

-- name: find_request
SELECT run_id FROM perdure_runs WHERE lineage = :lineage AND request_id = :request_id ORDER BY serial LIMIT 1

-- name: known_messages
SELECT lineage, digest FROM perdure_messages WHERE {or:keys lineage = :1 AND digest = :2}

-- name: unread_carried
SELECT seq, entry FROM perdure_inbox WHERE run = :run AND carried = 1 ORDER BY seq

-- name: activities_by_key
SELECT run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base
FROM perdure_activities WHERE {or:keys run = :1 AND number = :2} ORDER BY run, number FOR UPDATE

-- name: queue_limits_of
SELECT queue, per_second, burst, level, at FROM perdure_queue_limits
WHERE queue IN :queues ORDER BY queue FOR UPDATE

-- name: share_session
SELECT 1 FROM perdure_sessions WHERE id = :id LOCK IN SHARE MODE

-- name: lock_session
SELECT expires_at FROM perdure_sessions WHERE id = :id FOR UPDATE

-- name: ready_queues
SELECT queue FROM perdure_runs WHERE ready_at IS NOT NULL AND queue IN :queues
GROUP BY queue ORDER BY MIN(ready_at)

-- name: waiting_queues
SELECT DISTINCT queue FROM perdure_activities
WHERE owner IS NULL AND due_at <= :now AND queue IN :queues

-- One queue at a time, in the order of an index: a sort would lock all that wait there.

-- name: claimable
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs
WHERE queue = :queue AND ready_at IS NOT NULL
  AND (:all_workflows OR CONCAT(version, ' ', workflow) IN :offers)
  AND (owner IS NULL OR owner = :session)
  AND ((lone_losses > 0 OR losses >= :suspect) AND owner IS NULL) = :alone
ORDER BY ready_at, serial LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: claimable_parked
SELECT serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried
FROM perdure_runs
WHERE park IS NOT NULL AND suspended = 0 AND queue IN :queues
  AND (:all_workflows OR CONCAT(version, ' ', workflow) IN :offers)
  AND (lone_losses > 0 OR losses >= :suspect) = :alone AND INSTR(tried, :build) = 0
ORDER BY serial LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: suspects
SELECT EXISTS (SELECT 1 FROM perdure_runs
  WHERE ready_at IS NOT NULL AND owner IS NULL AND (lone_losses > 0 OR losses >= :suspect)
    AND queue IN :queues
    AND (:all_workflows OR CONCAT(version, ' ', workflow) IN :offers))
  OR EXISTS (SELECT 1 FROM perdure_activities
  WHERE owner IS NULL AND due_at <= :now AND (lone_losses > 0 OR losses >= :suspect)
    AND queue IN :queues),
  EXISTS (SELECT 1 FROM perdure_queries WHERE answered = 0)

-- name: read_inboxes
SELECT run, seq, entry FROM perdure_inbox WHERE run IN :runs ORDER BY run, seq

-- name: read_history
SELECT record FROM perdure_history
WHERE run = (SELECT serial FROM perdure_runs WHERE run_id = :run_id) AND turn > :after
ORDER BY turn LIMIT :limit

-- name: claimable_activities
SELECT run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base, name, queue, input, details, headers, priority
FROM perdure_activities AS a
WHERE owner IS NULL AND queue = :queue AND due_at <= :now
  AND (:all_names OR name IN :names)
  AND (lone_losses > 0 OR losses >= :suspect) = :alone
  AND NOT EXISTS (SELECT 1 FROM perdure_runs AS r WHERE r.serial = a.run AND r.suspended = 1)
ORDER BY urgency, due_at, run, number LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: names_of_runs
SELECT serial, instance_id, run_id FROM perdure_runs WHERE serial IN :serials

-- name: serials_of_runs
SELECT run_id, serial FROM perdure_runs WHERE run_id IN :ids

-- name: serials_owned
SELECT serial FROM perdure_runs WHERE owner = :session
UNION SELECT run FROM perdure_activities WHERE owner = :session

-- name: owned_activities
SELECT run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base
FROM perdure_activities WHERE owner = :session ORDER BY run, number FOR UPDATE

-- name: lock_meta
SELECT value FROM perdure_meta WHERE `key` = :key FOR UPDATE

-- name: due_timers
SELECT due_at, run, number FROM perdure_timers WHERE due_at <= :now ORDER BY due_at LIMIT :limit

-- name: due_runs
SELECT deadline_at, serial FROM perdure_runs WHERE deadline_at <= :now ORDER BY deadline_at LIMIT :limit

-- name: due_activities
SELECT deadline_at, run, number FROM perdure_activities WHERE deadline_at <= :now
ORDER BY deadline_at LIMIT :limit

-- name: timers_by_key
SELECT run, number FROM perdure_timers WHERE {or:keys run = :1 AND number = :2}

-- name: serials_of_lineage
SELECT serial FROM perdure_runs WHERE lineage = :lineage ORDER BY serial

-- name: image_messages
SELECT digest FROM perdure_messages WHERE lineage = :lineage ORDER BY digest

-- name: image_updates
SELECT digest, stage, result, failure FROM perdure_updates WHERE lineage = :lineage ORDER BY digest

-- name: image_inbox
SELECT seq, entry, carried FROM perdure_inbox WHERE run = :run ORDER BY seq

-- name: image_activities
SELECT number, name, queue, input, policy, scheduled_at, attempt, due_at, deadline_at, started_at,
  owner, cancel, priority, headers, details, last_failure
FROM perdure_activities WHERE run = :run ORDER BY number

-- name: newest_runs
SELECT instance_id, serial FROM perdure_runs WHERE current_of IN :ids

-- name: named_runs
SELECT instance_id, run_id, serial FROM perdure_runs WHERE run_id IN :ids

-- Not joined: that would lock the runs as well.

-- name: claimable_queries
SELECT q.id,
  (SELECT CONVERT(instance_id USING utf8mb4) FROM perdure_runs WHERE serial = q.run),
  (SELECT CONVERT(run_id USING utf8mb4) FROM perdure_runs WHERE serial = q.run),
  (SELECT CONVERT(workflow USING utf8mb4) FROM perdure_runs WHERE serial = q.run),
  (SELECT version FROM perdure_runs WHERE serial = q.run),
  (SELECT CONVERT(queue USING utf8mb4) FROM perdure_runs WHERE serial = q.run),
  (SELECT turn FROM perdure_runs WHERE serial = q.run),
  (SELECT started_at FROM perdure_runs WHERE serial = q.run),
  q.entry
FROM perdure_queries AS q
WHERE q.answered = 0 AND q.expires_at > :now
  AND (q.claimed_at IS NULL OR q.claimed_at <= :again)
  AND EXISTS (SELECT 1 FROM perdure_runs AS r
    WHERE r.serial = q.run AND r.turn > 0 AND r.queue IN :queues
      AND (:all_workflows OR CONCAT(version, ' ', workflow) IN :offers))
ORDER BY q.expires_at LIMIT :limit FOR UPDATE SKIP LOCKED

-- name: read_answers
SELECT id, result, failure FROM perdure_queries WHERE id IN :ids AND answered = 1 FOR UPDATE

-- name: read_updates
SELECT digest, stage, result, failure FROM perdure_updates
WHERE lineage = (SELECT lineage FROM perdure_runs WHERE current_of = :instance_id) AND digest IN :ids

-- name: queue_limits
SELECT queue, per_second, burst, level, at FROM perdure_queue_limits ORDER BY queue

-- name: limited_and_waiting
SELECT queue, per_second, burst, level, at FROM perdure_queue_limits
WHERE queue IN (SELECT queue FROM perdure_activities WHERE owner IS NULL AND due_at <= :now)

-- name: forget_queries
DELETE FROM perdure_queries WHERE expires_at <= :now

-- name: describe
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure_runs AS r JOIN perdure_starts AS s ON s.run = r.serial
LEFT JOIN perdure_outcomes AS o ON o.run = r.serial
LEFT JOIN perdure_published AS p ON p.run = r.serial

-- name: describe_current
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure_runs AS r JOIN perdure_starts AS s ON s.run = r.serial
LEFT JOIN perdure_outcomes AS o ON o.run = r.serial
LEFT JOIN perdure_published AS p ON p.run = r.serial
WHERE r.current_of = :id

-- name: describe_run
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure_runs AS r JOIN perdure_starts AS s ON s.run = r.serial
LEFT JOIN perdure_outcomes AS o ON o.run = r.serial
LEFT JOIN perdure_published AS p ON p.run = r.serial
WHERE r.run_id = :run_id AND r.instance_id = :id

-- name: describe_runs
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, o.result, o.failure, r.owner, r.serial, s.started, p.value
FROM perdure_runs AS r JOIN perdure_starts AS s ON s.run = r.serial
LEFT JOIN perdure_outcomes AS o ON o.run = r.serial
LEFT JOIN perdure_published AS p ON p.run = r.serial
WHERE r.run_id IN :ids

-- name: ends
SELECT r.run_id, r.instance_id, r.status, r.continued_to, o.result, o.failure
FROM perdure_runs AS r LEFT JOIN perdure_outcomes AS o ON o.run = r.serial
WHERE r.run_id IN :ids AND r.finished_at IS NOT NULL

-- name: unread_of_run
SELECT serial, unread FROM perdure_runs WHERE run_id = :run_id

-- name: pending_activities
SELECT number, name, queue, attempt, scheduled_at, due_at, owner, last_failure
FROM perdure_activities WHERE run = :run ORDER BY number

-- name: pending_timers
SELECT number, due_at FROM perdure_timers WHERE run = :run ORDER BY number

-- name: list_sessions
SELECT start, opened_at, expires_at FROM perdure_sessions ORDER BY opened_at, id

-- name: look
SELECT l.*, s.id, s.build, s.expires_at,
  CASE WHEN s.lock_name IS NOT NULL AND ABS(s.booted_at - :booted) <= 1
    THEN IS_USED_LOCK(s.lock_name) IS NULL ELSE 0 END
FROM (
SELECT t.now,
  EXISTS (SELECT 1 FROM perdure_runs WHERE ready_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM perdure_activities
      WHERE owner IS NULL AND due_at <= t.now AND (lone_losses > 0 OR losses > 1)) AS ready,
  EXISTS (SELECT 1 FROM perdure_activities WHERE owner IS NULL AND due_at <= t.now) AS waiting,
  EXISTS (SELECT 1 FROM perdure_queries WHERE answered = 0) AS asked,
  EXISTS (SELECT 1 FROM perdure_runs WHERE park IS NOT NULL) AS parked,
  EXISTS (SELECT 1 FROM perdure_timers WHERE due_at <= t.now)
    OR EXISTS (SELECT 1 FROM perdure_runs WHERE deadline_at <= t.now)
    OR EXISTS (SELECT 1 FROM perdure_activities WHERE deadline_at <= t.now) AS due,
  EXISTS (SELECT 1 FROM perdure_activities
    WHERE owner IS NULL AND due_at > :since AND due_at <= t.now) AS retries,
  EXISTS (SELECT 1 FROM perdure_queries WHERE expires_at <= t.now) AS forgotten,
  EXISTS (SELECT 1 FROM perdure_queue_limits) AS limits,
  (SELECT MIN(due_at) FROM perdure_timers) AS timer_at,
  (SELECT MIN(deadline_at) FROM perdure_runs WHERE deadline_at IS NOT NULL) AS deadline_at,
  (SELECT MIN(deadline_at) FROM perdure_activities WHERE deadline_at IS NOT NULL) AS time_out_at,
  (SELECT MIN(due_at) FROM perdure_activities WHERE owner IS NULL AND due_at > t.now) AS offered_at,
  (SELECT MIN(expires_at) FROM perdure_queries) AS forget_at
FROM (SELECT COALESCE(:now, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) AS now) AS t
) AS l LEFT JOIN perdure_sessions AS s ON TRUE

-- name: renew_session
UPDATE perdure_sessions, (
  SELECT COALESCE(:now, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)) AS now) AS t
SET expires_at = t.now + lease WHERE id = :id AND expires_at > t.now

-- name: hold_lock
SELECT GET_LOCK(:lock, 0)

-- name: note_lock
UPDATE perdure_sessions SET lock_name = :lock, booted_at = :booted WHERE id = :id

-- What follows is given rows, whose columns are :1, :2 and so on. `{or …}` and `{rows …}` stand for
-- all rows at once; a statement without them is run for each.

-- name: clear_inbox
DELETE FROM perdure_inbox WHERE {or run = :1}

-- name: clear_timers
DELETE FROM perdure_timers WHERE {or run = :1}

-- name: clear_activities
DELETE FROM perdure_activities WHERE {or run = :1}

-- name: delete_inbox
DELETE FROM perdure_inbox WHERE {or run = :1 AND seq = :2}

-- name: delete_timers
DELETE FROM perdure_timers WHERE {or run = :1 AND number = :2}

-- name: delete_activities
DELETE FROM perdure_activities WHERE {or run = :1 AND number = :2}

-- name: insert_runs
INSERT INTO perdure_runs (
  serial, run_id, instance_id, lineage, request_id, workflow, version, queue, started_at,
  parent_instance, parent_run, parent_number, parent_close, current_of, status, suspended,
  deadline_at, finished_at, ready_at, owner, token, executing, losses, lone_losses, loss_base,
  turn, events, last_seq, unread, last_commit, closes_with, has_children, continued_to, park,
  tried)
VALUES {rows
  :1, :2, :3, :4, :5, :6, :7, :8, :9, :10, :11, :12, :13, :14, :15, :16, :17, :18, :19, :20, :21,
  :22, :23, :24, :25, :26, :27, :28, :29, :30, :31, :32, :33, :34, :35}

-- name: update_runs
UPDATE perdure_runs SET
  current_of = :2, status = :3, suspended = :4, deadline_at = :5, finished_at = :6,
  ready_at = :7, owner = :8, token = :9, executing = :10, losses = :11, lone_losses = :12,
  loss_base = :13, turn = :14, events = :15, last_seq = :16, unread = :17, last_commit = :18,
  closes_with = :19, has_children = :20, continued_to = :21, park = :22, tried = :23
WHERE serial = :1

-- name: update_runs_at_once
UPDATE (
  SELECT
    NULL AS serial, NULL AS current_of, NULL AS status, NULL AS suspended, NULL AS deadline_at,
    NULL AS finished_at, NULL AS ready_at, NULL AS owner, NULL AS token, NULL AS executing,
    NULL AS losses, NULL AS lone_losses, NULL AS loss_base, NULL AS turn, NULL AS events,
    NULL AS last_seq, NULL AS unread, NULL AS last_commit, NULL AS closes_with,
    NULL AS has_children, NULL AS continued_to, NULL AS park, NULL AS tried
  FROM DUAL WHERE FALSE UNION ALL SELECT {union
    :1, :2, :3, :4, :5, :6, :7, :8, :9, :10, :11, :12, :13, :14, :15, :16, :17, :18, :19, :20, :21,
    :22, :23}
) AS u STRAIGHT_JOIN perdure_runs AS r ON r.serial = u.serial SET
  r.current_of = u.current_of, r.status = u.status, r.suspended = u.suspended,
  r.deadline_at = u.deadline_at, r.finished_at = u.finished_at, r.ready_at = u.ready_at,
  r.owner = u.owner, r.token = u.token, r.executing = u.executing, r.losses = u.losses,
  r.lone_losses = u.lone_losses, r.loss_base = u.loss_base, r.turn = u.turn, r.events = u.events,
  r.last_seq = u.last_seq, r.unread = u.unread, r.last_commit = u.last_commit,
  r.closes_with = u.closes_with, r.has_children = u.has_children, r.continued_to = u.continued_to,
  r.park = u.park, r.tried = u.tried

-- name: compare_runs
UPDATE perdure_runs SET
  current_of = :2, status = :3, suspended = :4, deadline_at = :5, finished_at = :6,
  ready_at = :7, owner = :8, token = :9, executing = :10, losses = :11, lone_losses = :12,
  loss_base = :13, turn = :14, events = :15, last_seq = :16, unread = :17, last_commit = :18,
  closes_with = :19, has_children = :20, continued_to = :21, park = :22, tried = :23
WHERE serial = :1 AND status = :24 AND suspended = :25 AND ready_at <=> :26 AND owner <=> :27
  AND token <=> :28 AND executing = :29 AND losses = :30 AND lone_losses = :31 AND turn = :32
  AND last_seq = :33 AND unread = :34 AND closes_with <=> :35 AND has_children = :36

-- name: compare_runs_at_once
UPDATE (
  SELECT
    NULL AS serial, NULL AS current_of, NULL AS status, NULL AS suspended, NULL AS deadline_at,
    NULL AS finished_at, NULL AS ready_at, NULL AS owner, NULL AS token, NULL AS executing,
    NULL AS losses, NULL AS lone_losses, NULL AS loss_base, NULL AS turn, NULL AS events,
    NULL AS last_seq, NULL AS unread, NULL AS last_commit, NULL AS closes_with,
    NULL AS has_children, NULL AS continued_to, NULL AS park, NULL AS tried, NULL AS old_status,
    NULL AS old_suspended, NULL AS old_ready_at, NULL AS old_owner, NULL AS old_token,
    NULL AS old_executing, NULL AS old_losses, NULL AS old_lone_losses, NULL AS old_turn,
    NULL AS old_last_seq, NULL AS old_unread, NULL AS old_closes_with, NULL AS old_has_children
  FROM DUAL WHERE FALSE UNION ALL SELECT {union
    :1, :2, :3, :4, :5, :6, :7, :8, :9, :10, :11, :12, :13, :14, :15, :16, :17, :18, :19, :20, :21,
    :22, :23, :24, :25, :26, :27, :28, :29, :30, :31, :32, :33, :34, :35, :36}
) AS u STRAIGHT_JOIN perdure_runs AS r ON r.serial = u.serial SET
  r.current_of = u.current_of, r.status = u.status, r.suspended = u.suspended,
  r.deadline_at = u.deadline_at, r.finished_at = u.finished_at, r.ready_at = u.ready_at,
  r.owner = u.owner, r.token = u.token, r.executing = u.executing, r.losses = u.losses,
  r.lone_losses = u.lone_losses, r.loss_base = u.loss_base, r.turn = u.turn, r.events = u.events,
  r.last_seq = u.last_seq, r.unread = u.unread, r.last_commit = u.last_commit,
  r.closes_with = u.closes_with, r.has_children = u.has_children, r.continued_to = u.continued_to,
  r.park = u.park, r.tried = u.tried
WHERE r.status = u.old_status AND r.suspended = u.old_suspended AND r.ready_at <=> u.old_ready_at
  AND r.owner <=> u.old_owner AND r.token <=> u.old_token AND r.executing = u.old_executing
  AND r.losses = u.old_losses AND r.lone_losses = u.old_lone_losses AND r.turn = u.old_turn
  AND r.last_seq = u.old_last_seq AND r.unread = u.old_unread
  AND r.closes_with <=> u.old_closes_with AND r.has_children = u.old_has_children

-- name: settle_activities
DELETE FROM perdure_activities WHERE {or run = :1 AND number = :2 AND token = :3}

-- name: insert_starts
INSERT INTO perdure_starts (run, started)
VALUES {rows :1, :2}

-- name: insert_outcomes
INSERT INTO perdure_outcomes (run, result, failure)
VALUES {rows :1, :2, :3}

-- name: insert_inbox
INSERT INTO perdure_inbox (run, seq, entry, carried)
VALUES {rows :1, :2, :3, :4}

-- name: insert_messages
INSERT IGNORE INTO perdure_messages (lineage, digest)
VALUES {rows :1, :2}

-- name: insert_history
INSERT INTO perdure_history (run, turn, record)
VALUES {rows :1, :2, :3}

-- name: insert_timers
INSERT INTO perdure_timers (run, number, due_at)
VALUES {rows :1, :2, :3}

-- name: insert_activities
INSERT INTO perdure_activities (
  run, number, policy, scheduled_at, attempt, due_at, deadline_at, started_at, owner, token,
  cancel, losses, lone_losses, loss_base, name, queue, priority, input, headers)
VALUES {rows
  :1, :2, :3, :4, :5, :6, :7, :8, :9, :10, :11, :12, :13, :14, :15, :16, :17, :18, :19}

-- name: update_activities
UPDATE perdure_activities SET
  attempt = :3, due_at = :4, deadline_at = :5, started_at = :6, owner = :7, token = :8,
  cancel = :9, losses = :10, lone_losses = :11, loss_base = :12,
  last_failure = COALESCE(:13, last_failure), details = COALESCE(:14, details)
WHERE run = :1 AND number = :2

-- name: put_updates
INSERT INTO perdure_updates (lineage, digest, stage, result, failure)
VALUES {rows :1, :2, :3, :4, :5}
ON DUPLICATE KEY UPDATE stage = VALUES(stage), result = VALUES(result), failure = VALUES(failure)

-- name: put_published
INSERT INTO perdure_published (run, value)
VALUES {rows :1, :2}
ON DUPLICATE KEY UPDATE value = VALUES(value)

-- name: set_levels
UPDATE perdure_queue_limits SET level = :2, at = :3 WHERE queue = :1

-- name: insert_session
INSERT IGNORE INTO perdure_sessions (id, build, start, lease, opened_at, expires_at, booted_at)
VALUES (:1, :2, :3, :4, :5, :6, 0)

-- name: delete_session
DELETE FROM perdure_sessions WHERE id = :1

-- name: put_meta
INSERT INTO perdure_meta (`key`, value) VALUES {rows :1, :2}
ON DUPLICATE KEY UPDATE value = VALUES(value)

-- name: insert_queries
INSERT IGNORE INTO perdure_queries (id, run, entry, expires_at)
VALUES {rows :1, :2, :3, :4}

-- name: note_query_claims
UPDATE perdure_queries SET claimed_at = :2 WHERE id = :1

-- name: answer_queries
UPDATE perdure_queries SET answered = 1, result = :2, failure = :3 WHERE id = :1 AND answered = 0

-- name: delete_queries
DELETE FROM perdure_queries WHERE {or id = :1}

-- name: delete_queue_limit
DELETE FROM perdure_queue_limits WHERE queue = :1

-- name: put_queue_limit
INSERT INTO perdure_queue_limits (queue, per_second, burst, level, at)
VALUES {rows :1, :2, :3, :4, :5}
ON DUPLICATE KEY UPDATE per_second = VALUES(per_second), burst = VALUES(burst), level = VALUES(level), at = VALUES(at)

-- name: clear_history
DELETE FROM perdure_history WHERE {or run = :1}

-- name: clear_queries
DELETE FROM perdure_queries WHERE {or run = :1}

-- name: delete_starts
DELETE FROM perdure_starts WHERE {or run = :1}

-- name: delete_outcomes
DELETE FROM perdure_outcomes WHERE {or run = :1}

-- name: delete_published
DELETE FROM perdure_published WHERE {or run = :1}

-- name: delete_runs
DELETE FROM perdure_runs WHERE {or serial = :1}

-- name: clear_messages
DELETE FROM perdure_messages WHERE {or lineage = :1}

-- name: clear_updates
DELETE FROM perdure_updates WHERE {or lineage = :1}

-- name: count_state
SELECT COUNT(*) FROM (SELECT 1 FROM perdure_runs WHERE status = :status LIMIT :most) AS found

-- name: count_completed
SELECT COUNT(*) FROM (SELECT 1 FROM perdure_runs WHERE status = 'completed' LIMIT :most) AS found

-- name: count_suspended
SELECT COUNT(*) FROM (SELECT suspended FROM perdure_runs WHERE status = 'running' LIMIT :most) AS found
WHERE suspended = 1

-- name: some_parked
SELECT park FROM perdure_runs WHERE park IS NOT NULL AND suspended = 0 LIMIT :most

-- name: ready_by_queue
SELECT queue, COUNT(*), MIN(ready_at) FROM
  (SELECT queue, ready_at FROM perdure_runs WHERE ready_at IS NOT NULL LIMIT :most) AS found GROUP BY queue

-- name: waiting_by_queue
SELECT queue, COUNT(*), MIN(due_at) FROM (SELECT queue, due_at FROM perdure_activities
  WHERE owner IS NULL AND due_at <= :now LIMIT :most) AS found GROUP BY queue

-- name: running_by_queue
SELECT queue, COUNT(*), NULL FROM
  (SELECT queue FROM perdure_activities WHERE owner IS NOT NULL LIMIT :most) AS found GROUP BY queue

-- name: put_documents
INSERT INTO perdure_documents (collection, name, value) VALUES {rows :1, :2, :3}
ON DUPLICATE KEY UPDATE value = VALUES(value)

-- name: list_documents
SELECT collection, name, value FROM perdure_documents
WHERE collection = :collection AND name > :after ORDER BY name LIMIT :limit

-- name: newest_documents
SELECT collection, name, value FROM perdure_documents
WHERE collection = :collection AND (:after IS NULL OR name < :after) ORDER BY name DESC LIMIT :limit

-- name: clear_documents
DELETE FROM perdure_documents WHERE collection = :collection AND name < :before
