-- Does a unit of work, if nothing that it was decided on has changed since it was read.
-- KEYS[1]: the shard's meta; KEYS[2]: a key that is never there. ARGV: the number of guards, four parts for each of them (kind, key,
-- field, expected value; an empty one means that there must be none), then the commands, each behind
-- the number of its parts. Answers 0, or the number of the first guard that does not hold.
-- While a cluster moves this slot elsewhere, a key that is missing here is asked for there, which ends
-- the script. That must happen before anything is written.
redis.call("EXISTS", KEYS[2])
local position = 2
for number = 1, tonumber(ARGV[1]) do
  local kind, key = ARGV[position], ARGV[position + 1]
  local field, expected = ARGV[position + 2], ARGV[position + 3]
  local found
  if kind == "field" then
    found = redis.call("HGET", key, field) or ""
  elseif kind == "size" then
    found = tostring(redis.call("SCARD", key))
  else -- "score"
    found = redis.call("ZSCORE", key, field)
    found = found and string.format("%.0f", tonumber(found)) or ""
  end
  if found ~= expected then
    return number
  end
  position = position + 4
end

-- Drops what a run has pending. Parts: what the shard's keys begin with, the run's serial, columns of
-- an activity's row from 1: owner, queue, priority.
local function clear(base, serial, owner_column, queue_column, priority_column)
  redis.call("DEL", base .. "inbox:" .. serial)
  for _, number in ipairs(redis.call("HKEYS", base .. "timers:" .. serial)) do
    redis.call("ZREM", base .. "due", "t:" .. serial .. ":" .. number)
  end
  redis.call("DEL", base .. "timers:" .. serial)
  local pending = base .. "pending:" .. serial
  for _, number in ipairs(redis.call("SMEMBERS", pending)) do
    local member = serial .. ":" .. number
    local stored = redis.call("HGET", base .. "activity:" .. member, "row")
    if stored then
      local row = cmsgpack.unpack(stored)
      local owner = row[tonumber(owner_column)]
      if owner then
        redis.call("SREM", base .. "owned:" .. owner, "a:" .. member)
      end
      local queue, priority = row[tonumber(queue_column)], row[tonumber(priority_column)]
      redis.call("ZREM", base .. "offered", member)
      redis.call("ZREM", base .. "suspects", member)
      redis.call("ZREM", base .. "offered:" .. queue .. ":" .. priority, member)
      redis.call("ZREM", base .. "due", "a:" .. member)
      redis.call("DEL", base .. "activity:" .. member)
    end
  end
  redis.call("DEL", pending)
end

-- A query waits for its answer, unless it has one.
local function open(key, index, expires, name)
  if redis.call("HEXISTS", key, "answered") == 0 then
    redis.call("ZADD", index, "NX", expires, name)
  end
end

-- The first answer of a query that is there; "1" stands before a value that is given.
local function answer(key, index, name, has_result, result, has_failure, failure)
  if redis.call("EXISTS", key) == 1 and redis.call("HSETNX", key, "answered", 1) == 1 then
    if has_result == "1" then redis.call("HSET", key, "result", result) end
    if has_failure == "1" then redis.call("HSET", key, "failure", failure) end
    redis.call("ZREM", index, name)
  end
end

-- Forgets a query. Parts: what the shard's keys begin with, its id.
local function forget(base, name)
  local key = base .. "query:" .. name
  local run = redis.call("HGET", key, "run")
  if run then redis.call("SREM", base .. "queries-of:" .. run, name) end
  redis.call("DEL", key)
  redis.call("ZREM", base .. "queries", name)
  redis.call("ZREM", base .. "open", name)
end

-- Forgets the queries of a run. Parts: what the shard's keys begin with, the run's serial.
local function unask(base, serial)
  local index = base .. "queries-of:" .. serial
  for _, name in ipairs(redis.call("SMEMBERS", index)) do
    forget(base, name)
  end
  redis.call("DEL", index)
end

-- Puts aside what goes to another shard. Parts: what the shard's keys begin with, when anybody may take
-- it over, the item.
local function post(base, due, item)
  local number = redis.call("HINCRBY", base .. "meta", "posted", 1)
  redis.call("HSET", base .. "outbox", number, item)
  redis.call("ZADD", base .. "outbox:due", due, number)
end

local ours = {
  ["@clear"] = clear, ["@open"] = open, ["@answer"] = answer, ["@forget"] = forget,
  ["@unask"] = unask, ["@post"] = post,
}

while position <= #ARGV do
  local count = tonumber(ARGV[position])
  local step = ours[ARGV[position + 1]]
  if step then
    step(unpack(ARGV, position + 2, position + count))
  else
    redis.call(unpack(ARGV, position + 1, position + count))
  end
  position = position + 1 + count
end
return 0
