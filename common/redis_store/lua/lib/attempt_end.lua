-- The end of an attempt, and of its run if it was the last.
-- requires: gates, groups, history, history_limits, job_memory, keys, run_end

-- Takes away the traces of one execution. What remains of the attempt is its entry in RQ's results.
local function forget_execution(ctx, run, execution, origin, worker)
  redis.call('ZREM', P .. ':wip:' .. origin, run .. ':' .. execution)
  redis.call('DEL', P .. ':execution:' .. run .. ':' .. execution)
  redis.call('ZREM', P .. ':executions:' .. run, execution)
  redis.call('SREM', P .. ':worker:' .. worker .. ':executions', run .. ':' .. execution)
  release_group_place(ctx, run, redis.call('HGET', K .. 'open', run))
end

-- The run is in RQ's registry of its ended status, and expires with what is kept of its attempts. `now` in seconds.
local function register_ended(ctx, run, origin, status, now)
  local ttl = limits_of(ctx).seconds
  redis.call('HSET', run_key(run), 'status', status)
  redis.call('ZADD', P .. (status == 'finished' and ':finished:' or ':failed:') .. origin, now + ttl, run)
  redis.call('EXPIRE', run_key(run), ttl)
  redis.call('EXPIRE', P .. ':results:' .. run, ttl)
end

-- A run is over for good after an attempt: its outcome becomes the job's last.
local function note_outcome(run, job, outcome, ended_at, duration)
  local stats = K .. 'stats:' .. job
  redis.call('HSET', stats, 'last_run_at', ended_at, 'last_outcome', outcome)
  if duration ~= '' then redis.call('HSET', stats, 'last_duration', duration) end
  if outcome == 'success' then
    redis.call('HSET', stats, 'last_success_at', ended_at)
    redis.call('HDEL', stats, 'failing')
  elseif outcome ~= 'replaced' then
    redis.call('HSET', stats, 'failing', run)  -- until the next success, which is then a recovery
  end
end

-- The same, and what the run held is released.
local function end_run(ctx, run, job, outcome, ended_at, duration)
  note_outcome(run, job, outcome, ended_at, duration)
  close_run(ctx, run, job, outcome)
  add_to_history(ctx, run, job)
  note_end_of(ctx, job)
  settle(ctx, {{run = run, outcome = outcome}})
end
