-- The lease on a Redis key, for where there is no Kubernetes (spec: reliability.md section 3, last paragraph).
-- ARGV: prefix, action, holder, epoch, ttl_ms, cluster.
-- Answers {verdict, epoch, holder, now_ms, run-of-decisions}; every answer carries Redis' time, by which the
-- caller measures the offset of its own clock.
local action, holder, epoch, ttl, cluster = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local lease, fence = K .. 'lease', K .. 'fence'
local function answer(verdict, number, who)
  return {verdict, tostring(number), who, string.format('%.0f', now_ms()),
          redis.call('HGET', fence, 'through') or '0'}
end

local held = redis.call('GET', lease)
local mine = holder .. ':' .. tostring(epoch)

if action == 'acquire' then
  if held then return answer('HELD', 0, held) end
  local seen_cluster = redis.call('HGET', fence, 'cluster')
  local seen = tonumber(redis.call('HGET', fence, 'seen') or '0')
  if seen_cluster and seen_cluster ~= cluster and now_ms() - seen < 3 * ttl then
    return answer('OTHER_CLUSTER', 0, seen_cluster)
  end
  local taken = redis.call('HINCRBY', fence, 'epoch', 1)
  redis.call('HSET', fence, 'holder', holder, 'cluster', cluster, 'seen', string.format('%.0f', now_ms()))
  redis.call('SET', lease, holder .. ':' .. tostring(taken), 'PX', ttl)
  return answer('ACQUIRED', taken, holder)
end

if action == 'renew' then
  if held ~= mine then return answer('LOST', redis.call('HGET', fence, 'epoch') or 0, held or '') end
  redis.call('PEXPIRE', lease, ttl)
  redis.call('HSET', fence, 'seen', string.format('%.0f', now_ms()))
  return answer('RENEWED', epoch, holder)
end

if action == 'release' then
  if held == mine then
    redis.call('DEL', lease)
    redis.call('PUBLISH', K .. 'released', holder)
    return answer('RELEASED', epoch, holder)
  end
  return answer('LOST', redis.call('HGET', fence, 'epoch') or 0, held or '')
end

return redis.error_reply('lease.lua: unknown action ' .. action)
