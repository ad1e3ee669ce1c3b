-- The fence as electors read and take it. Each reply carries Redis' time, by which the caller measures the offset of its
-- own clock.
-- requires: clock, keys
local FENCE = K .. 'fence'

local function read_fence()
  local epoch, holder, cluster, seen, through =
    unpack(redis.call('HMGET', FENCE, 'epoch', 'holder', 'cluster', 'seen', 'through'))
  return {epoch = tonumber(epoch or '0'), holder = holder, cluster = cluster, seen = tonumber(seen or '0'),
          through = through or '0', now = now_ms()}
end

-- {verdict, epoch, holder or cluster, now_ms, decisions so far}
local function fence_reply(fence, verdict, epoch, who)
  return {verdict, string.format('%.0f', epoch), who or '', string.format('%.0f', fence.now), fence.through}
end

-- Another cluster's leader was seen within `window` milliseconds: the fence is not taken, nor read further.
local function is_other_clusters(fence, cluster, window)
  return fence.cluster and fence.cluster ~= cluster and fence.now - fence.seen < window
end

local function take_fence(fence, epoch, holder, cluster)
  redis.call('HSET', FENCE, 'epoch', string.format('%.0f', epoch), 'holder', holder, 'cluster', cluster,
             'seen', string.format('%.0f', fence.now))
end

local function mark_leader_seen(fence)
  redis.call('HSET', FENCE, 'seen', string.format('%.0f', fence.now))
end
