-- The end of a run: what it held is released. No count can go stale, because overlap, groups and chains are held by the
-- runs themselves (`active`, `group`, `gates`), and whatever ends a run comes through here.
-- requires: decision_log, groups, history, history_limits, job_counts, job_memory, keys, line
-- requires: run_state

-- Nothing is held by this run any more: not its job's overlap, not its group.
local function close_run(ctx, run, job, outcome)
  local scheduled_at = redis.call('ZSCORE', K .. 'active:' .. job, run)
  redis.call('ZREM', K .. 'active:' .. job, run)
  leave_line(job, run)
  release_group_place(ctx, run, redis.call('HGET', K .. 'open', run))
  redis.call('HDEL', K .. 'open', run)
  count_ended(job, outcome)
  if scheduled_at and redis.call('ZREM', K .. 'past:' .. job, scheduled_at .. '|' .. run .. '|') == 1 then
    redis.call('ZADD', K .. 'past:' .. job, scheduled_at, scheduled_at .. '|' .. run .. '|' .. outcome)
  end
end

-- The run ends without having been started, or between two attempts: replaced, removed, predecessor, deadline.
-- What waits for it is put on `todo`, which the caller hands to settle (lib/gates.lua).
local function end_unstarted(ctx, run, reason, todo)
  local job, origin, scheduled_at, attempt, manual =
    unpack(redis.call('HMGET', run_key(run), 'job', 'origin', 'at', 'attempt', 'manual'))
  local exists = origin ~= false
  job = job or job_of(run)
  scheduled_at = scheduled_at or redis.call('ZSCORE', K .. 'active:' .. job, run) or '0'
  ctx.left = ctx.left - 1
  -- A run of the version before may have any number of gates; what is left of them goes as theirs end.
  for _, other in ipairs(redis.call('HRANDFIELD', K .. 'gates:' .. run, 1000)) do
    redis.call('SREM', K .. 'gated:' .. other, run)
  end
  redis.call('DEL', K .. 'gates:' .. run)
  redis.call('ZREM', K .. 'held', run)
  local kept_seconds = limits_of(ctx).seconds
  if exists then
    -- A place of the wrong kind does not hold the run, and must not keep it from ending: it could be queued later.
    redis.pcall('LREM', queue_key(origin), 1, run)
    -- A long queue is searched for it: that costs, too.
    local length = redis.pcall('LLEN', queue_key(origin))
    if type(length) == 'number' then ctx.left = ctx.left - math.floor(length / 20000) end
    redis.pcall('ZREM', P .. ':scheduled:' .. origin, run)
    redis.pcall('ZREM', P .. ':deferred:' .. origin, run)
    redis.call('HSET', run_key(run), 'status', 'canceled', 'execution', '', 'ended_at', ctx.now_iso, 'outcome', reason)
    redis.call('EXPIRE', run_key(run), kept_seconds)
    redis.call('EXPIRE', P .. ':results:' .. run, kept_seconds)
    redis.call('ZADD', P .. ':canceled:' .. origin, ctx.now_seconds, run)
    add_to_history(ctx, run, job)
  else
    -- Which queue it was of went with the hash.
    local queues = redis.call('SRANDMEMBER', P .. ':queues', 1000)
    ctx.left = ctx.left - math.floor(#queues / 20)
    for _, queue in ipairs(queues) do
      redis.call('ZREM', P .. ':deferred:' .. string.sub(queue, #queue_key('') + 1), run)
    end
    redis.call('EXPIRE', P .. ':results:' .. run, kept_seconds)
  end
  -- The log before the counts, because an error there leaves everything to be done again.
  local more, by_operator = {}, is_manual(run, manual)
  if by_operator then more = {'manual', '1'} end
  if ctx.who ~= '' then
    more[#more + 1] = 'who'
    more[#more + 1] = ctx.who
  end
  log_run(ctx, 'ended', job, run, scheduled_at, reason, more)
  if not attempt and not by_operator and reason ~= 'replaced' and reason ~= 'stopped' then
    count_missed(job, reason, 1)
  end
  close_run(ctx, run, job, reason)
  note_end_of(ctx, job)
  todo[#todo + 1] = {run = run, outcome = reason}
end
