-- Trims RQ's registries of one queue's ended runs: entries whose run has expired. RQ's own tools do so only when somebody
-- uses them. Repeated, it trims what has expired since.
-- requires: context, fencing, history_limits, keys
-- ARGV: prefix, epoch, lease, queue, now_seconds, limit: at most so many of each registry.
-- Answers {'OK', number of entries removed}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local origin, now, limit, count = ARGV[4], tonumber(ARGV[5]), ARGV[6], 0
local kept_seconds = limits_of(new_context('housekeeping', '', '')).seconds
-- The score is when the run expires; of a canceled one, when it was canceled.
for name, before in pairs({[':finished:'] = now, [':failed:'] = now, [':canceled:'] = now - kept_seconds}) do
  local registry = P .. name .. origin
  if is_kind(registry, 'zset') then
    for _, run in ipairs(redis.call('ZRANGEBYSCORE', registry, '-inf', string.format('%.3f', before), 'LIMIT', 0, limit)) do
      if redis.call('EXISTS', run_key(run)) == 0 then count = count + redis.call('ZREM', registry, run) end
    end
  end
end
return {'OK', tostring(count)}
