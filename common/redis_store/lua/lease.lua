-- The lease on a Redis key, for where there is no Kubernetes (spec: reliability.md section 3, last paragraph).
-- ARGV: prefix, action, holder, epoch, cluster, ttl_ms.
-- acquire  takes the key and the next epoch: above the fence's, and above the `epoch` given, the largest that the
--          caller has ever seen, so that a Redis that was rolled back never gives a number twice.
-- renew    only while the key is the caller's, which goes by Redis' clock alone.
-- release  the same; and tells the standbys.
-- Answers {verdict, epoch, holder or cluster, now_ms, decisions so far}; every answer carries Redis' time, by
-- which the caller measures the offset of its own clock. A repetition of acquire finds the key held by itself
-- and is told so: HELD by its own holder, for the caller to wait out or to release.
local action, holder, epoch, cluster, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local lease, fence = K .. 'lease', K .. 'fence'
local held = redis.call('GET', lease)
local stored = redis.call('HMGET', fence, 'epoch', 'cluster', 'seen', 'through')
local stored_epoch = tonumber(stored[1] or '0')
local now = now_ms()
local function answer(verdict, number, who)
  return {verdict, string.format('%.0f', number), who or '', string.format('%.0f', now), stored[4] or '0'}
end

if action == 'acquire' then
  if stored[2] and stored[2] ~= cluster and now - tonumber(stored[3] or '0') < 3 * ttl then
    return answer('OTHER_CLUSTER', stored_epoch, stored[2])
  end
  if held then return answer('HELD', stored_epoch, held) end
  local taken = math.max(stored_epoch, epoch) + 1
  local number = string.format('%.0f', taken)
  redis.call('HSET', fence, 'epoch', number, 'holder', holder, 'cluster', cluster,
             'seen', string.format('%.0f', now))
  redis.call('SET', lease, holder .. ':' .. number, 'PX', ttl)
  return answer('ACQUIRED', taken, holder)
end

local is_ours = held == holder .. ':' .. ARGV[4]
if action == 'renew' then
  if not is_ours then return answer('LOST', stored_epoch, held) end
  redis.call('PEXPIRE', lease, ttl)
  redis.call('HSET', fence, 'seen', string.format('%.0f', now))
  return answer('RENEWED', stored_epoch, holder)
end

if action == 'release' then
  if not is_ours then return answer('LOST', stored_epoch, held) end
  redis.call('DEL', lease)
  redis.call('PUBLISH', K .. 'released', holder)
  return answer('RELEASED', stored_epoch, holder)
end

return redis.error_reply('lease.lua: unknown action ' .. action)
