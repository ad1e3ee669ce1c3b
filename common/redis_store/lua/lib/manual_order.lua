-- The place of a manual run in the line of decisions.
-- requires: keys

-- After every decision so far, and after the manual runs since the last of them. Decisions are counted without manual
-- runs, because the count says whether Redis has lost any.
local function next_manual_order()
  local through, at, count = unpack(redis.call('HMGET', K .. 'fence', 'through', 'hand_at', 'hand_count'))
  through = through or '0'
  count = at == through and tonumber(count) + 1 or 1
  redis.call('HSET', K .. 'fence', 'hand_at', through, 'hand_count', count)
  return string.format('%s.%06d', through, count)
end
