-- One glance at a shard. KEYS: ready, suspects, offered, open queries, due, queries, limits, sessions'
-- ends, parked, sessions, outbox. ARGV: the test clock's time or "", and the time of the last glance.
local now
if ARGV[1] ~= "" then
  now = tonumber(ARGV[1])
else
  local time = redis.call("TIME")
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local text = string.format("%.0f", now)
local next_due
local function consider(key, low)
  local first = redis.call("ZRANGEBYSCORE", key, low, "+inf", "WITHSCORES", "LIMIT", 0, 1)
  if first[2] and (not next_due or tonumber(first[2]) < next_due) then
    next_due = tonumber(first[2])
  end
end
consider(KEYS[5], "-inf")
consider(KEYS[3], "(" .. text)
consider(KEYS[6], "-inf")
consider(KEYS[8], "-inf")
consider(KEYS[11], "-inf")
return {
  text,
  redis.call("ZCARD", KEYS[1]) + redis.call("ZCOUNT", KEYS[2], "-inf", text),
  redis.call("ZCOUNT", KEYS[3], "-inf", text),
  redis.call("ZCARD", KEYS[4]),
  redis.call("ZCARD", KEYS[9]),
  redis.call("ZCOUNT", KEYS[5], "-inf", text),
  redis.call("ZCOUNT", KEYS[3], "(" .. ARGV[2], text),
  redis.call("ZCOUNT", KEYS[6], "-inf", text),
  redis.call("HLEN", KEYS[7]),
  redis.call("ZCOUNT", KEYS[11], "-inf", text),
  next_due and string.format("%.0f", next_due) or false,
  redis.call("ZRANGE", KEYS[8], 0, -1, "WITHSCORES"),
  redis.call("HGETALL", KEYS[10]),
}
