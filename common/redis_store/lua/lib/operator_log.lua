-- What operators did: counted, and recorded with who did it, for all jobs in one stream.
-- requires: keys

local function record_act(ctx, action, job, run, detail)
  redis.call('HINCRBY', K .. 'acted', action, 1)
  redis.call('XADD', K .. 'acts', 'MAXLEN', '~', 1000, '*', 'action', action, 'job', job, 'run', run, 'detail', detail,
    'who', ctx.who, 'at', ctx.now_iso)
end
