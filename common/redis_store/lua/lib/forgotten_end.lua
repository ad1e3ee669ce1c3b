-- The end of an attempt whose run Redis has lost: everything was flushed, or an older copy put back. Nobody else can have the
-- run, so its command was left alone, and its outcome counts for its job like any other.
-- requires: attempt_end, decision_log, job_counts, job_memory, keys, run_state

-- What the job's log says of the run: nil where it does not know it, else the execution whose end it records, or ''.
local function known_to_log(job, run)
  for _, found in ipairs(redis.call('XREVRANGE', K .. 'log:' .. job, '+', '-', 'COUNT', 500)) do
    local entry = {}
    for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
    if entry.run == run then return entry.execution or '' end
  end
  return nil
end

-- A run that somebody has deleted is in the log, or open yet: housekeeping ends it as removed, and this end is late. Any key
-- that is made here has an expiry while its job has no cursor (again).
local function end_forgotten(ctx, run, attempt)
  local job = job_of(run)
  redis.call('SREM', P .. ':worker:' .. ctx.by .. ':executions', run .. ':' .. attempt.execution)
  local is_over = attempt.action ~= 'return' and attempt.action ~= 'quarantine'
  if job == '' or not is_over or redis.call('HEXISTS', K .. 'open', run) == 1 then return 'LATE' end
  if not is_kind(K .. 'log:' .. job, 'stream') or not is_kind(K .. 'stats:' .. job, 'hash') then return 'LATE' end
  local known = known_to_log(job, run)
  if known then return known == attempt.execution and 'REPEATED' or 'LATE' end
  local last_at = redis.call('HGET', K .. 'stats:' .. job, 'last_run_at')
  log_run(ctx, 'forgotten', job, run, string.match(attempt.ended_at, '^%d+'), attempt.outcome, {'execution', attempt.execution})
  if not last_at or tonumber(last_at) <= tonumber(attempt.ended_at) then
    note_outcome(run, job, attempt.outcome, attempt.ended_at, attempt.duration)
  end
  count_ended(job, attempt.outcome)
  note_end_of(ctx, job)
  return (attempt.action == 'retry' or attempt.action == 'requeue') and 'STOPPED' or 'DONE'
end
