-- The counter of what a worker has sent, by which the leader judges whether it lives (watch_workers.lua): `seen` holds
-- '<count> <ttl_ms>'. A worker that finds it no higher than it was knows that Redis has gone back to a time before.
-- requires: keys

local function signs_of(worker)
  return tonumber(string.match(redis.call('GET', K .. 'seen:' .. worker) or '', '^(%d+) %d+$') or '0')
end

-- Raises it; answers the count.
local function count_sign(worker, ttl_ms)
  local count = signs_of(worker) + 1
  redis.call('SET', K .. 'seen:' .. worker, string.format('%.0f %.0f', count, ttl_ms), 'EX', 86400)
  return count
end
