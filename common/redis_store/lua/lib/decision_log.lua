-- The decision log of a job.
-- requires: keys

local function log_decision(ctx, job, entry)
  redis.call('XADD', K .. 'log:' .. job, 'MAXLEN', '~', ctx.log_limit, '*', unpack(entry))
end

-- An entry of what became of one run. `more` are further fields, as name and value in turn, or nil.
local function log_run(ctx, decision, job, run, scheduled_at, reason, more)
  local entry = {'decision', decision, 'first', scheduled_at, 'last', scheduled_at, 'count', 1, 'reason', reason,
    'run', run, 'epoch', redis.call('HGET', K .. 'fence', 'epoch') or '0', 'by', ctx.by}
  for _, part in ipairs(more or {}) do entry[#entry + 1] = part end
  log_decision(ctx, job, entry)
end
