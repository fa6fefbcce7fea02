-- Runs as they are described, with what is kept apart from their rows. KEYS: what the keys of rows,
-- outcomes, starts and published states begin with, and the hash from ids to serials (left out where
-- serials are given). ARGV: ids, or serials. Answers {serial, row, result, failure, start, published}
-- each, or false.
local found = {}
for n, name in ipairs(ARGV) do
  found[n] = false
  local serial = name
  if KEYS[5] then serial = redis.call("HGET", KEYS[5], name) end
  local row = serial and redis.call("HGET", KEYS[1] .. serial, "row")
  if row then
    local outcome = redis.call("HMGET", KEYS[2] .. serial, "result", "failure")
    found[n] = {
      serial, row, outcome[1], outcome[2],
      redis.call("GET", KEYS[3] .. serial), redis.call("GET", KEYS[4] .. serial),
    }
  end
end
return found
