-- An ended run is queued anew, because an operator wants it.
-- requires: decision_log, gates, history, keys, line, live_runs, manual_order, operator_log, operator_target, run_state

-- With all its budgets, or in line where its job allows no overlap. `act` is what it is counted as. `again`: a success
-- too. `force`: in no line. Answers {'QUEUED'}, {'HELD'}, {'OVERLAP', run}, {'SUCCEEDED'}, {'LIVE', status}, or what
-- unfit_run says.
local function retry_ended(ctx, act, run, again, force)
  local unfit = unfit_run(run)
  if unfit then return unfit end
  local key = run_key(run)
  local job, origin, scheduled_at, group, concurrency, outcome, status =
    unpack(redis.call('HMGET', key, 'job', 'origin', 'at', 'group', 'concurrency', 'outcome', 'status'))
  origin, scheduled_at, outcome = origin or 'default', scheduled_at or '0', outcome or ''
  if not is_final(status) or live_status(run) or redis.call('HEXISTS', K .. 'open', run) == 1 then
    return {'LIVE', status}
  end
  if outcome == 'success' and not again then return {'SUCCEEDED'} end
  local is_in_line, ahead = concurrency and concurrency ~= 'allow', nil
  if is_in_line and not force then ahead = newest_live(ctx, job) end
  if ahead and concurrency == 'forbid' then return {'OVERLAP', ahead} end
  local registries = {P .. ':finished:' .. origin, P .. ':failed:' .. origin, P .. ':canceled:' .. origin}
  for _, registry in ipairs(registries) do demand_kinds({[registry] = 'zset'}) end

  -- One that was stopped while a worker had claimed it stands in that worker's list yet.
  -- (Of more than a thousand workers not all are asked: what stays in a list is dropped when it is started.)
  for _, worker in ipairs(redis.call('SRANDMEMBER', K .. 'claims', 1000)) do
    redis.pcall('LREM', K .. 'claims:' .. worker, 0, run)
  end
  log_run(ctx, 'retried', job, run, scheduled_at, ahead and 'held' or '', {'who', ctx.who})
  for _, registry in ipairs(registries) do redis.call('ZREM', registry, run) end
  redis.call('LREM', K .. 'history:' .. job, 0, run)
  forget_size(K .. 'sizes:' .. job, run)
  local order = next_manual_order()
  redis.call('HSET', key, 'status', 'queued', 'enqueued_at', ctx.now_iso, 'ended_at', '', 'outcome', '', 'stop', '',
    'recovering', '', 'retried', 0, 'lost', 0, 'interrupted', 0, 'manual', '1', 'who', ctx.who, 'order', order)
  -- The operator wants it now, whenever it was due.
  redis.call('HDEL', key, 'deadline_at')
  redis.call('PERSIST', key)
  redis.call('PERSIST', P .. ':results:' .. run)
  redis.call('ZADD', K .. 'active:' .. job, scheduled_at, run)
  if is_in_line then join_line(job, run, order) end
  redis.call('HSET', K .. 'open', run, group or '')
  -- What comes after the job is decided by how it goes now.
  local past = K .. 'past:' .. job
  if is_kind(past, 'zset') and redis.call('ZREM', past, scheduled_at .. '|' .. run .. '|' .. outcome) == 1 then
    redis.call('ZADD', past, scheduled_at, scheduled_at .. '|' .. run .. '|')
  end
  record_act(ctx, act, job, run, '')
  if ahead then
    hold(ctx, run, origin, order)
    add_gate(run, ahead, 'line')
    return {'HELD'}
  end
  push_held(ctx, run)
  return {'QUEUED'}
end
