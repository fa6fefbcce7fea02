-- Hands out open queries. KEYS[1]: the open ones; KEYS[2]: what their keys begin with. ARGV: the time
-- now, the time before which they may have been handed out, the limit. Answers {id, run, entry} each.
local found = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. ARGV[1], "+inf")) do
  local row = redis.call("HMGET", KEYS[2] .. id, "run", "entry", "claimed")
  if row[1] and (not row[3] or tonumber(row[3]) <= tonumber(ARGV[2])) then
    found[#found + 1] = {id, row[1], row[2]}
    if #found >= tonumber(ARGV[3]) then return found end
  end
end
return found
