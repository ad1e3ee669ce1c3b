-- How much of ended runs stays readable, by the leader's settings (set_history_limits.lua): `runs` and `bytes` of each
-- job, and all for so many `seconds` after their end.
-- requires: keys
local DEFAULT_LIMITS = {runs = 100, seconds = 2592000, bytes = 4194304}

local function limits_of(ctx)
  if not ctx.limits then
    ctx.limits = {}
    local stored = redis.pcall('HMGET', K .. 'bounds', 'runs', 'seconds', 'bytes')
    for i, name in ipairs({'runs', 'seconds', 'bytes'}) do
      ctx.limits[name] = tonumber(stored[i] or '') or DEFAULT_LIMITS[name]
    end
  end
  return ctx.limits
end
