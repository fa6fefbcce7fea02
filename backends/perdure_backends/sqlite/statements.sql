-- Each statement stands under its name. Loaded once, by name.

-- name: put_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: find_request
SELECT run_id FROM runs WHERE instance_id = ? AND request_id = ? ORDER BY serial LIMIT 1

-- name: current_run
SELECT serial, run_id, status, unread FROM runs
WHERE instance_id = ? ORDER BY serial DESC LIMIT 1

-- name: named_run
SELECT serial, run_id, status, unread FROM runs WHERE run_id = ? AND instance_id = ?

-- name: insert_run
INSERT INTO runs (run_id, instance_id, request_id, workflow, version, queue, status,
  started_at, deadline_at, ready_at, last_seq, unread,
  parent_instance, parent_run, parent_number, parent_close, closes_with)
VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_start
INSERT INTO starts (run, started) VALUES (?, ?)

-- name: insert_inbox
INSERT INTO inbox (run, seq, entry, carried) VALUES (?, ?, ?, ?)

-- name: accept
UPDATE runs SET last_seq = last_seq + 1, unread = unread + 1,
  ready_at = CASE WHEN ready_at IS NULL AND suspended = 0 AND park IS NULL THEN ? ELSE ready_at END
WHERE serial = ? RETURNING last_seq

-- name: message_known
SELECT 1 FROM messages WHERE instance_id = ? AND message_id IN (?, ?)

-- name: insert_message
INSERT OR IGNORE INTO messages (instance_id, message_id) VALUES (?, ?)

-- name: claimable
SELECT serial, instance_id, run_id, token, turn, workflow, version, queue, started_at, events,
  parent_instance, parent_run, parent_number, owner, unread, ready_at
FROM runs
WHERE ready_at IS NOT NULL
  AND queue IN (SELECT value FROM json_each(:queues))
  AND (:all_workflows OR (version || ' ' || workflow) IN (SELECT value FROM json_each(:offers)))
  AND (owner IS NULL OR owner = :session)
  AND ((lone_losses > 0 OR losses >= :suspect) AND owner IS NULL) = :alone
ORDER BY ready_at LIMIT :limit

-- name: claimable_parked
SELECT serial, instance_id, run_id, token, turn, workflow, version, queue, started_at, events,
  parent_instance, parent_run, parent_number, owner, unread, ready_at
FROM runs
WHERE park IS NOT NULL AND suspended = 0
  AND queue IN (SELECT value FROM json_each(:queues))
  AND (:all_workflows OR (version || ' ' || workflow) IN (SELECT value FROM json_each(:offers)))
  AND (lone_losses > 0 OR losses >= :suspect) = :alone
  AND instr(tried, ' ' || :build || ' ') = 0
ORDER BY serial LIMIT :limit

-- name: any_ready
SELECT EXISTS (SELECT 1 FROM runs WHERE ready_at IS NOT NULL)
  OR EXISTS (SELECT 1 FROM queries WHERE answered = 0)
  OR EXISTS (SELECT 1 FROM activities
  WHERE owner IS NULL AND due_at <= ? AND (lone_losses > 0 OR losses > 1))

-- name: any_parked
SELECT EXISTS (SELECT 1 FROM runs WHERE park IS NOT NULL) AND ? > 0

-- name: any_activity
SELECT EXISTS (SELECT 1 FROM activities WHERE owner IS NULL AND due_at <= ?)

-- name: anything_due
SELECT EXISTS (SELECT 1 FROM timers WHERE due_at <= ?)
  OR EXISTS (SELECT 1 FROM runs WHERE deadline_at IS NOT NULL AND deadline_at <= ?)
  OR EXISTS (SELECT 1 FROM activities WHERE deadline_at IS NOT NULL AND deadline_at <= ?)
  OR EXISTS (SELECT 1 FROM activities WHERE owner IS NULL AND due_at > ? AND due_at <= ?)
  OR EXISTS (SELECT 1 FROM queries WHERE expires_at <= ?)
  OR EXISTS (SELECT 1 FROM queue_limits WHERE queue IN
    (SELECT queue FROM activities WHERE owner IS NULL AND due_at <= ?))
  OR EXISTS (SELECT 1 FROM sessions WHERE id <> ?)

-- name: suspects
SELECT EXISTS (SELECT 1 FROM runs
  WHERE ready_at IS NOT NULL AND owner IS NULL AND (lone_losses > 0 OR losses >= :suspect)
    AND queue IN (SELECT value FROM json_each(:queues))
    AND (:all_workflows OR (version || ' ' || workflow) IN (SELECT value FROM json_each(:offers))))
  OR EXISTS (SELECT 1 FROM activities
  WHERE owner IS NULL AND due_at <= :now AND (lone_losses > 0 OR losses >= :suspect)
    AND queue IN (SELECT value FROM json_each(:queues))),
  EXISTS (SELECT 1 FROM queries WHERE answered = 0)

-- name: lease_run
UPDATE runs SET owner = ?, token = ?, executing = 1, ready_at = NULL, park = NULL WHERE serial = ?

-- name: read_inbox
SELECT seq, entry FROM inbox WHERE run = ? ORDER BY seq

-- name: read_history
SELECT record FROM history WHERE run = (SELECT serial FROM runs WHERE run_id = ?) AND turn > ?
ORDER BY turn LIMIT ?

-- name: for_commit
SELECT serial, status, owner, token, turn, last_commit, last_seq, unread, instance_id,
  request_id, parent_instance, parent_run, parent_number, parent_close, closes_with,
  EXISTS (SELECT 1 FROM queue_limits)
FROM runs WHERE run_id = ?

-- name: activity_token
SELECT token FROM activities WHERE run = ? AND number = ?

-- name: take_activity
DELETE FROM activities WHERE run = ? AND number = ? AND token = ?

-- name: delete_activity
DELETE FROM activities WHERE run = ? AND number = ?

-- name: delete_inbox
DELETE FROM inbox WHERE run = ? AND seq = ?

-- name: insert_history
INSERT INTO history (run, turn, record) VALUES (?, ?, ?)

-- name: insert_activity
INSERT INTO activities (run, number, name, queue, input, policy, scheduled_at, attempt, due_at,
  deadline_at, started_at, owner, token, priority, headers)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_timer
INSERT INTO timers (run, number, due_at) VALUES (?, ?, ?)

-- name: delete_timer
DELETE FROM timers WHERE run = ? AND number = ?

-- name: advance_run
UPDATE runs SET turn = ?, events = events + ?, unread = unread - ?, last_commit = ?, executing = 0,
  losses = 0, lone_losses = 0, ready_at = CASE WHEN unread = ? THEN NULL ELSE ready_at END
WHERE serial = ?

-- name: note_commit
UPDATE runs SET last_commit = ?, executing = 0, unread = unread - ?,
  ready_at = CASE WHEN unread = ? THEN NULL ELSE ready_at END
WHERE serial = ?

-- name: publish
UPDATE runs SET published = ? WHERE serial = ?

-- name: put_update
INSERT INTO updates (instance_id, update_id, stage, result, failure) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (instance_id, update_id)
DO UPDATE SET stage = excluded.stage, result = excluded.result, failure = excluded.failure

-- name: read_update
SELECT stage, result, failure FROM updates WHERE instance_id = ? AND update_id IN (?, ?)
ORDER BY update_id DESC

-- name: image_runs
SELECT r.serial, r.suspended, r.run_id, r.request_id, r.workflow, r.version, r.queue, r.started_at,
  r.status, s.started, r.turn, r.events, r.last_seq, r.parent_instance, r.parent_run,
  r.parent_number, r.parent_close, r.closes_with, r.deadline_at, r.finished_at, r.last_commit,
  r.continued_to, r.park, r.tried, r.result, r.failure, r.published
FROM runs AS r JOIN starts AS s ON s.run = r.serial WHERE r.instance_id = ? ORDER BY r.serial

-- name: image_state
SELECT run_id, turn, last_seq, status, suspended FROM runs
WHERE instance_id = ? ORDER BY serial DESC LIMIT 1

-- name: image_messages
SELECT message_id FROM messages WHERE instance_id = ?

-- name: image_updates
SELECT update_id, stage, result, failure FROM updates WHERE instance_id = ? ORDER BY update_id

-- name: image_inbox
SELECT seq, entry, carried FROM inbox WHERE run = ? ORDER BY seq

-- name: image_activities
SELECT number, name, queue, input, policy, scheduled_at, attempt, due_at, deadline_at, started_at,
  owner, cancel, priority, headers, details, last_failure
FROM activities WHERE run = ? ORDER BY number

-- name: restore_run
INSERT INTO runs (instance_id, suspended, unread, run_id, request_id, workflow, version, queue,
  started_at, status, turn, events, last_seq, parent_instance, parent_run, parent_number,
  parent_close, closes_with, deadline_at, finished_at, last_commit, continued_to, park, tried,
  result, failure, published)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: restore_activity
UPDATE activities SET cancel = ?, details = ?, last_failure = ? WHERE run = ? AND number = ?

-- name: clear_updates
DELETE FROM updates WHERE instance_id = ?

-- name: insert_query
INSERT OR IGNORE INTO queries (id, run, entry, expires_at) VALUES (?, ?, ?, ?)

-- name: claimable_queries
SELECT q.id, r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.turn, r.started_at, q.entry
FROM queries AS q JOIN runs AS r ON r.serial = q.run
WHERE q.answered = 0 AND q.expires_at > :now AND r.turn > 0
  AND (q.claimed_at IS NULL OR q.claimed_at <= :again)
  AND r.queue IN (SELECT value FROM json_each(:queues))
  AND (:all_workflows OR
    (r.version || ' ' || r.workflow) IN (SELECT value FROM json_each(:offers)))
ORDER BY q.expires_at LIMIT :limit

-- name: note_query_claim
UPDATE queries SET claimed_at = ? WHERE id = ?

-- name: answer_query
UPDATE queries SET answered = 1, result = ?, failure = ? WHERE id = ? AND answered = 0

-- name: read_answer
SELECT result, failure FROM queries WHERE id = ? AND answered = 1

-- name: delete_query
DELETE FROM queries WHERE id = ?

-- name: forget_queries
DELETE FROM queries WHERE expires_at <= ?

-- name: clear_queries
DELETE FROM queries WHERE run = ?

-- name: put_queue_limit
INSERT OR REPLACE INTO queue_limits (queue, per_second, burst, level, at) VALUES (?, ?, ?, ?, ?)

-- name: delete_queue_limit
DELETE FROM queue_limits WHERE queue = ?

-- name: queue_limits
SELECT queue, per_second, burst, level, at FROM queue_limits ORDER BY queue

-- name: queue_limit
SELECT queue, per_second, burst, level, at FROM queue_limits WHERE queue = ?

-- name: set_level
UPDATE queue_limits SET level = ?, at = ? WHERE queue = ?

-- name: limited_and_waiting
SELECT queue, per_second, burst, level, at FROM queue_limits
WHERE queue IN (SELECT queue FROM activities WHERE owner IS NULL AND due_at <= ?)

-- name: disown_run
UPDATE runs SET owner = NULL, token = NULL, executing = 0,
  ready_at = CASE WHEN ready_at IS NULL AND unread > 0 AND suspended = 0 AND park IS NULL
    AND status = 'running' THEN ? ELSE ready_at END
WHERE serial = ? RETURNING ready_at IS NOT NULL

-- name: park_run
UPDATE runs SET park = ?, tried = replace(tried, ?, '') || ?, ready_at = NULL WHERE serial = ?

-- name: finish_run
UPDATE runs SET status = ?, finished_at = ?, result = ?, failure = ?, park = NULL, suspended = 0,
  ready_at = NULL, deadline_at = NULL, owner = NULL, token = NULL, executing = 0, unread = 0
WHERE serial = ?

-- name: clear_activities
DELETE FROM activities WHERE run = ?

-- name: clear_timers
DELETE FROM timers WHERE run = ?

-- name: clear_inbox
DELETE FROM inbox WHERE run = ?

-- name: clear_messages
DELETE FROM messages WHERE instance_id = ?

-- name: unread_carried
SELECT entry FROM inbox WHERE run = ? AND carried = 1 ORDER BY seq

-- name: set_continued
UPDATE runs SET continued_to = ? WHERE serial = ?

-- name: adopt_children
UPDATE runs SET closes_with = ? WHERE closes_with = ? AND status = 'running'

-- name: live_children
SELECT serial, run_id, parent_close, parent_instance, parent_run, parent_number FROM runs
WHERE closes_with = ? AND status = 'running'

-- name: running_by_run
SELECT serial FROM runs WHERE run_id = ? AND status = 'running'

-- name: release_lease
SELECT serial FROM runs WHERE run_id = ? AND token = ? AND owner IS NOT NULL

-- name: cancel_flag
UPDATE activities SET cancel = 1 WHERE run = ? AND number = ?

-- name: activity_owner
SELECT owner FROM activities WHERE run = ? AND number = ?

-- name: claimable_activities
SELECT a.run, a.number, a.name, a.queue, a.input, a.policy, a.scheduled_at, a.attempt, a.details,
  r.instance_id, r.run_id, a.headers, a.priority, a.due_at
FROM activities AS a JOIN runs AS r ON r.serial = a.run
WHERE a.owner IS NULL AND a.due_at <= :now
  AND a.queue IN (SELECT value FROM json_each(:queues))
  AND (:all_names OR a.name IN (SELECT value FROM json_each(:names)))
  AND (a.lone_losses > 0 OR a.losses >= :suspect) = :alone
  AND r.suspended = 0
ORDER BY a.priority DESC, a.due_at LIMIT :limit

-- name: lease_activity
UPDATE activities SET owner = ?, token = ?, attempt = attempt + 1, started_at = ?, deadline_at = ?
WHERE run = ? AND number = ?

-- name: find_attempt
SELECT a.run, a.policy, a.scheduled_at, a.attempt, a.started_at, a.cancel
FROM activities AS a
WHERE a.run = (SELECT serial FROM runs WHERE run_id = ?) AND a.number = ? AND a.token = ?

-- name: offer_activity
UPDATE activities SET owner = NULL, token = NULL, due_at = ?, attempt = ?,
  last_failure = coalesce(?, last_failure),
  deadline_at = ? WHERE run = ? AND number = ?

-- name: detach_activity
UPDATE activities SET owner = '' WHERE run = ? AND number = ?

-- name: beat_details
UPDATE activities SET details = ? WHERE run = ? AND number = ?

-- name: beat_deadline
UPDATE activities SET deadline_at = ? WHERE run = ? AND number = ?

-- name: insert_session
INSERT OR IGNORE INTO sessions (id, build, start, lease, opened_at, expires_at, proof)
VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: renew_session
UPDATE sessions SET expires_at = ? + lease WHERE id = ? AND expires_at > ?

-- name: session_exists
SELECT build FROM sessions WHERE id = ?

-- name: delete_session
DELETE FROM sessions WHERE id = ?

-- name: list_sessions
SELECT start, opened_at, expires_at FROM sessions ORDER BY opened_at, id

-- name: other_sessions
SELECT id, build, expires_at, proof FROM sessions WHERE id <> ?

-- name: owned_runs
SELECT serial, executing, token FROM runs WHERE owner = ?

-- name: owned_activities
SELECT run, number, policy, scheduled_at, attempt, cancel, token FROM activities
WHERE owner = ?

-- name: count_session_loss
INSERT INTO meta (key, value) VALUES ('lost_sessions', '1')
ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1 RETURNING CAST(value AS INTEGER)

-- name: count_run_loss
UPDATE runs SET losses = losses + 1 WHERE serial = ?

-- name: count_lone_run_loss
UPDATE runs SET loss_base = CASE WHEN lone_losses = 0 THEN ? - 1 ELSE loss_base END,
  lone_losses = lone_losses + 1
WHERE serial = ? RETURNING lone_losses, loss_base

-- name: count_activity_loss
UPDATE activities SET losses = losses + 1 WHERE run = ? AND number = ?

-- name: count_lone_activity_loss
UPDATE activities SET loss_base = CASE WHEN lone_losses = 0 THEN ? - 1 ELSE loss_base END,
  lone_losses = lone_losses + 1
WHERE run = ? AND number = ? RETURNING lone_losses, loss_base

-- name: due_timers
SELECT due_at, run, number FROM timers WHERE due_at <= ? ORDER BY due_at LIMIT ?

-- name: due_runs
SELECT deadline_at, serial, run_id, parent_instance, parent_run, parent_number FROM runs
WHERE deadline_at <= ? AND status = 'running' ORDER BY deadline_at LIMIT ?

-- name: due_activities
SELECT deadline_at, run, number, policy, scheduled_at, attempt, started_at, owner, cancel
FROM activities WHERE deadline_at <= ? ORDER BY deadline_at LIMIT ?

-- name: is_pending
SELECT 1 FROM activities WHERE run = ? AND number = ?

-- name: is_running
SELECT 1 FROM runs WHERE serial = ? AND status = 'running'

-- name: next_due
SELECT min(due) FROM (
  SELECT min(due_at) AS due FROM timers
  UNION ALL SELECT min(deadline_at) FROM runs WHERE deadline_at IS NOT NULL
  UNION ALL SELECT min(deadline_at) FROM activities WHERE deadline_at IS NOT NULL
  UNION ALL SELECT min(due_at) FROM activities WHERE owner IS NULL AND due_at > ?
  UNION ALL SELECT min(expires_at) FROM queries
  UNION ALL SELECT min(expires_at) FROM sessions WHERE id <> ?)

-- name: retries_due
SELECT EXISTS (SELECT 1 FROM activities WHERE owner IS NULL AND due_at > ? AND due_at <= ?)

-- name: for_control
SELECT serial, run_id, status, suspended, park IS NOT NULL,
  parent_instance, parent_run, parent_number
FROM runs WHERE instance_id = ? ORDER BY serial DESC LIMIT 1

-- name: suspend_run
UPDATE runs SET suspended = 1, ready_at = NULL WHERE serial = ?

-- name: resume_run
UPDATE runs SET suspended = 0, ready_at = CASE WHEN park IS NULL THEN ? END WHERE serial = ?

-- name: unpark_run
UPDATE runs SET park = NULL, tried = '', losses = 0, lone_losses = 0,
  ready_at = CASE WHEN suspended = 0 THEN ? END WHERE serial = ?

-- name: describe
SELECT r.instance_id, r.run_id, r.workflow, r.version, r.queue, r.status, r.started_at, r.turn,
  r.events, r.finished_at, r.suspended, r.park, r.parent_instance, r.parent_run, r.parent_number,
  r.continued_to, r.result, r.failure, r.owner, r.serial, s.started, r.published
FROM runs AS r JOIN starts AS s ON s.run = r.serial

-- name: ends
SELECT run_id, instance_id, status, continued_to, result, failure FROM runs
WHERE run_id IN (SELECT value FROM json_each(?)) AND finished_at IS NOT NULL

-- name: pending_activities
SELECT number, name, queue, attempt, scheduled_at, due_at, owner, last_failure FROM activities
WHERE run = ? ORDER BY number

-- name: pending_timers
SELECT number, due_at FROM timers WHERE run = ? ORDER BY number

-- name: runs_of_instance
SELECT serial, status FROM runs WHERE instance_id = ? ORDER BY serial

-- name: delete_run
DELETE FROM runs WHERE serial = ?

-- name: delete_start
DELETE FROM starts WHERE run = ?

-- name: clear_history
DELETE FROM history WHERE run = ?

-- name: count_state
SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = ?
  AND status <> 'completed' AND status <> 'continued_as_new' LIMIT ?)

-- name: count_completed
SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = 'completed' LIMIT ?)

-- name: count_suspended
SELECT count(*) FROM (SELECT suspended FROM runs WHERE status = 'running'
  AND status <> 'completed' AND status <> 'continued_as_new' LIMIT ?) WHERE suspended = 1

-- name: some_parked
SELECT park FROM runs WHERE park IS NOT NULL AND suspended = 0 LIMIT ?

-- name: ready_by_queue
SELECT queue, count(*), min(ready_at) FROM
  (SELECT queue, ready_at FROM runs WHERE ready_at IS NOT NULL ORDER BY ready_at LIMIT ?) GROUP BY queue

-- name: waiting_by_queue
SELECT queue, count(*), min(due_at) FROM (SELECT queue, due_at FROM activities
  WHERE owner IS NULL AND due_at <= ? ORDER BY due_at LIMIT ?) GROUP BY queue

-- name: running_by_queue
SELECT queue, count(*), NULL FROM (SELECT queue FROM activities WHERE owner IS NOT NULL LIMIT ?)
GROUP BY queue

-- name: put_document
INSERT INTO documents (collection, key, value) VALUES (?, ?, ?)
ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value

-- name: list_documents
SELECT collection, key, value FROM documents WHERE collection = ? AND key > ? ORDER BY key LIMIT ?

-- name: newest_documents
SELECT collection, key, value FROM documents WHERE collection = ? AND key < ?
ORDER BY key DESC LIMIT ?

-- name: clear_documents
DELETE FROM documents WHERE collection = ? AND key < ?
