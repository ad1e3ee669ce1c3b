-- The fence as an elector meets it where a Kubernetes Lease says who leads (spec: reliability.md section 3).
-- ARGV: prefix, action, holder, epoch, cluster, window_ms.
-- look   reads, and where this very term stands in the fence tells the others that it is alive.
-- claim  makes this the term that may write: a larger epoch than any before, or the same by the same holder, so
--        that a claim whose answer was lost may be repeated. Every older term is fenced from then on.
-- Another cluster's fence, seen within window_ms, is neither taken nor looked at further: OTHER_CLUSTER.
-- Answers {verdict, epoch, holder or cluster, now_ms, decisions so far}; every answer carries Redis' time, by
-- which the caller measures the offset of its own clock.
local action, holder, epoch, cluster, window = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local fence = K .. 'fence'
local stored = redis.call('HMGET', fence, 'epoch', 'holder', 'cluster', 'seen', 'through')
local stored_epoch = tonumber(stored[1] or '0')
local now = now_ms()
local function answer(verdict, number, who)
  return {verdict, string.format('%.0f', number), who or '', string.format('%.0f', now), stored[5] or '0'}
end

if stored[3] and stored[3] ~= cluster and now - tonumber(stored[4] or '0') < window then
  return answer('OTHER_CLUSTER', stored_epoch, stored[3])
end

if action == 'look' then
  if stored_epoch == epoch and stored[2] == holder then
    redis.call('HSET', fence, 'seen', string.format('%.0f', now))
  end
  return answer('LOOKED', stored_epoch, stored[2])
end

if action == 'claim' then
  if epoch > stored_epoch or (epoch == stored_epoch and stored[2] == holder) then
    redis.call('HSET', fence, 'epoch', string.format('%.0f', epoch), 'holder', holder, 'cluster', cluster,
               'seen', string.format('%.0f', now))
    return answer('CLAIMED', epoch, holder)
  end
  return answer('STALE', stored_epoch, stored[2])
end

return redis.error_reply('term.lua: unknown action ' .. action)
