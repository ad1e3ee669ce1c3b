-- The check with which each script of the leader begins.
-- requires: clock, keys

-- The reply to give where this epoch may not write, nil where it may. Equality, not "at least": a smaller or absent
-- epoch means that Redis has lost acknowledged writes. `lease` is what the lease key must hold, or ''.
local function refusal_of(epoch, lease)
  local stored = redis.call('HGET', K .. 'fence', 'epoch')
  if not stored or tonumber(stored) < epoch then return {'LOST', 'epoch', stored or ''} end
  if tonumber(stored) > epoch then return {'FENCED', 'epoch', stored} end
  if lease ~= '' and redis.call('GET', K .. 'lease') ~= lease then return {'FENCED', 'lease', stored} end
  redis.call('HSET', K .. 'fence', 'seen', string.format('%.0f', now_ms()))
  return nil
end
