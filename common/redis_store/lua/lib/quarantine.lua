-- The quarantine: runs that nobody could read or verify, and their records.
-- requires: keys

-- The run is recorded for an operator; the newest thousand records are kept. `note` is JSON.
local function record_quarantine(ctx, run, note)
  redis.call('XADD', K .. 'quarantine', 'MAXLEN', '~', 1000, '*', 'run', run, 'note', note, 'at', ctx.now_iso, 'by', ctx.by)
end
