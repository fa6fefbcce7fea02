-- Renews a session that has not run out. KEYS: sessions, their ends. ARGV: id, the test clock's time
-- or "", number of the lease's column from 1. Answers 1, or 0 when the session is gone.
local now
if ARGV[2] ~= "" then
  now = tonumber(ARGV[2])
else
  local time = redis.call("TIME")
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local row = redis.call("HGET", KEYS[1], ARGV[1])
local ends = redis.call("ZSCORE", KEYS[2], ARGV[1])
if not row or not ends or tonumber(ends) <= now then
  return 0
end
local lease = cmsgpack.unpack(row)[tonumber(ARGV[3])]
redis.call("ZADD", KEYS[2], string.format("%.0f", now + lease), ARGV[1])
return 1
