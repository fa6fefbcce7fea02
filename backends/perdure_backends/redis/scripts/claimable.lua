-- Members of a sorted set, lowest scores first, that satisfy a claim; each is held for the session for
-- a moment, so that others look at different ones meanwhile.
-- KEYS[1]: the sorted set; KEYS[2]: what the keys of rows begin with; KEYS[3]: what holds begin with.
-- ARGV: session, highest score, limit, milliseconds of a hold, JSON of the filter. Columns count from 1.
local session, highest, limit, hold = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local filter = cjson.decode(ARGV[5])
local found, offset, page = {}, 0, math.max(50, 2 * limit)
while #found < limit do
  local members = redis.call(
    "ZRANGEBYSCORE", KEYS[1], "-inf", highest, "LIMIT", offset, page)
  for _, member in ipairs(members) do
    local stored = redis.call("HMGET", KEYS[2] .. member, "rev", "row")
    if stored[2] then
      local row = cmsgpack.unpack(stored[2])
      local owner = row[filter.owner]
      local suspect = (row[filter.lone] > 0 or row[filter.losses] >= filter.suspect)
      if filter.own then suspect = suspect and owner == nil end
      local offered = filter.all
      if not offered then
        local name = row[filter.name]
        if filter.version then name = tostring(row[filter.version]) .. " " .. name end
        offered = filter.offers[name]
      end
      if offered and filter.runs then -- an activity whose run is suspended waits
        local run = redis.call("HGET", filter.runs .. string.format("%.0f", row[1]), "row")
        offered = run and cmsgpack.unpack(run)[filter.suspended] == 0
      end
      if offered and suspect == filter.alone
        and (owner == nil or (filter.own and owner == session)) then
        local holder = KEYS[3] .. member
        local held = redis.call("GET", holder)
        if not held or held == session then
          redis.call("SET", holder, session, "PX", hold)
          found[#found + 1] = {member, stored[1], stored[2]}
          if #found >= limit then return found end
        end
      end
    end
  end
  if #members < page then return found end
  offset = offset + page
end
return found
