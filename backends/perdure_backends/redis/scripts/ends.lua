-- Rows of runs with their outcomes, for who wants to know which have ended. KEYS: what the keys of
-- rows and outcomes begin with, and the hash from ids to serials. ARGV: ids. Answers
-- {row, result, failure} each, or false.
local found = {}
for n, id in ipairs(ARGV) do
  found[n] = false
  local serial = redis.call("HGET", KEYS[3], id)
  local row = serial and redis.call("HGET", KEYS[1] .. serial, "row")
  if row then
    local outcome = redis.call("HMGET", KEYS[2] .. serial, "result", "failure")
    found[n] = {row, outcome[1], outcome[2]}
  end
end
return found
