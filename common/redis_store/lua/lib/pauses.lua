-- Pauses: until when a job, or every job, is not run.
-- requires: keys

-- `now` is in milliseconds. Mostly nothing is paused, so that is asked first, once a call.
local function is_paused(ctx, job, now)
  if ctx.any_paused == nil then ctx.any_paused = redis.call('HLEN', K .. 'paused') > 0 end
  if not ctx.any_paused then return false end
  for _, until_ms in ipairs(redis.call('HMGET', K .. 'paused', '*', job)) do
    if until_ms and (until_ms == '0' or tonumber(until_ms) > now) then return true end
  end
  return false
end
