-- Rows of runs with their revisions. KEYS[1]: the hash from ids to serials; KEYS[2]: what the keys of
-- rows begin with. ARGV: the ids. Answers {serial, revision, row} or false for each.
local found = {}
for n, id in ipairs(ARGV) do
  local serial = redis.call("HGET", KEYS[1], id)
  found[n] = false
  if serial then
    local row = redis.call("HMGET", KEYS[2] .. serial, "rev", "row")
    if row[2] then found[n] = {serial, row[1], row[2]} end
  end
end
return found
