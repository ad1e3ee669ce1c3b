-- The open runs of a job, by which its overlap is judged. There may be any number of them, and a call asks a bounded one.
-- requires: keys, run_state

-- How many of a job's open runs may be asked: what is left of the call's, and a few in any case.
local function most_asked(ctx) return math.max(20, math.min(1000, ctx.asks)) end

-- The job's run of the latest instant that has not ended, or nil. Second, false where the runs that were asked have all been
-- deleted or canceled and there are more: housekeeping ends such within ten seconds.
local function newest_live(ctx, job)
  local at, most = 0, most_asked(ctx)
  while at < most do
    local runs = redis.call('ZREVRANGE', K .. 'active:' .. job, at, math.min(at + (at == 0 and 10 or 200), most) - 1)
    for _, run in ipairs(runs) do
      ctx.asks = ctx.asks - 1
      if live_status(run) then return run, true end
    end
    if #runs == 0 then return nil, true end
    at = at + #runs
  end
  return nil, redis.call('ZCARD', K .. 'active:' .. job) <= most
end

-- True where more than `most` of the job's runs have not ended. Those that were not asked are taken for that.
local function has_more_live(ctx, job, most)
  local count = redis.call('ZCARD', K .. 'active:' .. job)
  if count <= most then return false end
  for _, run in ipairs(redis.call('ZREVRANGE', K .. 'active:' .. job, 0, most_asked(ctx) - 1)) do
    ctx.asks = ctx.asks - 1
    if not live_status(run) then count = count - 1 end
    if count <= most then return false end
  end
  return true
end
