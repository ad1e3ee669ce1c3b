-- The lease on a Redis key, for where there is no Kubernetes (spec: reliability.md section 3, last paragraph).
-- requires: fence, keys
-- ARGV: prefix, action, holder, epoch, cluster, ttl_ms.
-- acquire  takes the key and the next epoch: above the fence's, and above the `epoch` given, the largest that the
--          caller has ever seen, so that a Redis that was rolled back never gives a number twice. Repeated, it finds
--          the key held by its own holder and answers HELD, for the caller to wait out or to release.
-- renew    only while the key is the caller's, which goes by Redis' clock alone. Repeated, it renews again.
-- release  the same; and publishes it to the standbys. Repeated, it answers LOST.
-- Answers {verdict, epoch, holder or cluster, now_ms, decisions so far}.
local action, holder, epoch, cluster, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local lease = K .. 'lease'
local stored = redis.call('GET', lease)
local fence = read_fence()

if action == 'acquire' then
  if is_other_clusters(fence, cluster, 3 * ttl) then
    return fence_reply(fence, 'OTHER_CLUSTER', fence.epoch, fence.cluster)
  end
  if stored then return fence_reply(fence, 'HELD', fence.epoch, stored) end
  local taken = math.max(fence.epoch, epoch) + 1
  take_fence(fence, taken, holder, cluster)
  redis.call('SET', lease, holder .. ':' .. string.format('%.0f', taken), 'PX', ttl)
  return fence_reply(fence, 'ACQUIRED', taken, holder)
end

if action ~= 'renew' and action ~= 'release' then
  return redis.error_reply('redis_lease.lua: unknown action ' .. action)
end
if stored ~= holder .. ':' .. ARGV[4] then return fence_reply(fence, 'LOST', fence.epoch, stored) end
if action == 'renew' then
  redis.call('PEXPIRE', lease, ttl)
  mark_leader_seen(fence)
  return fence_reply(fence, 'RENEWED', fence.epoch, holder)
end
redis.call('DEL', lease)
redis.call('PUBLISH', K .. 'released', holder)
return fence_reply(fence, 'RELEASED', fence.epoch, holder)
