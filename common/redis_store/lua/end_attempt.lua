-- Ends an attempt (spec: reliability.md section 6, End). Repeated, it changes nothing: REPEATED, or RECOVERED again.
-- requires: attempt_end, claims, clock, context, forgotten_end, keys, quarantine
-- ARGV: prefix, run, execution, worker, action, outcome, ended_iso, ended_seconds, duration, delay_ms,
--       retried, note, then the fields of RQ's result as name, value pairs
-- action   finish | fail | stop: the run is over.   retry: again after delay_ms.   requeue: again, first,
--          spending no retry.   return: as if it had never been started.
--          quarantine: over, because nothing could be read or verified; `note` is the record, as JSON.
-- retried  1 where the attempt spends one of the run's retries, else 0.
-- outcome  for requeue: interrupted or lost, the account that pays.
-- Answers DONE, STOPPED (over instead of attempted again, because it was to be stopped or replaced), RECOVERED (a success,
-- and a run of the job had failed since its last one), REPEATED (this execution has ended before) or LATE (the run
-- belongs to another attempt, or somebody has deleted it). Of a run that Redis has lost altogether the outcome is recorded:
-- DONE, or STOPPED instead of attempted again, for there is nothing left to attempt.
local run, execution, worker, action, outcome = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local ended_iso, ended_seconds, duration, delay_ms, retried, note = unpack(ARGV, 7, 12)
local key = run_key(run)
local owner, origin, job, last, stop, recovered =
  unpack(redis.call('HMGET', key, 'execution', 'origin', 'job', 'ended_execution', 'stop', 'recovered'))
if owner ~= execution then
  if last == execution then return recovered == execution and 'RECOVERED' or 'REPEATED' end
  if redis.call('EXISTS', key) == 0 then
    ended_seconds = tostring(math.min(tonumber(ended_seconds), now_ms() / 1000))
    return end_forgotten(new_context(worker, ended_iso, ended_seconds), run,
      {execution = execution, action = action, outcome = outcome, ended_at = ended_seconds, duration = duration})
  end
  redis.call('HINCRBY', K .. 'counters', 'late', 1)
  redis.call('SREM', P .. ':worker:' .. worker .. ':executions', run .. ':' .. execution)
  return 'LATE'
end
origin = origin or 'default'
-- Where the run goes has to be of its kind before anything is written; refused, the worker asks again.
local registry = action == 'finish' and ':finished:' or action == 'retry' and ':scheduled:' or ':failed:'
local place, kind = P .. registry .. origin, 'zset'
if action == 'requeue' or action == 'return' then place, kind = queue_key(origin), 'list' end
local wrong = wrong_key({[place] = kind, [P .. ':results:' .. run] = 'stream'})
if wrong then return redis.error_reply(wrong) end
-- Never later than now: a worker of an earlier version has the wall clock of its machine.
ended_seconds = tostring(math.min(tonumber(ended_seconds), now_ms() / 1000))
local ctx = new_context(worker, ended_iso, ended_seconds)

-- A run that is to be stopped or replaced is not attempted again, whatever ended this attempt.
local is_stopped = stop and stop ~= ''
forget_execution(ctx, run, execution, origin, worker)
if action == 'return' and not is_stopped then
  redis.call('HSET', key, 'execution', '', 'ended_execution', execution, 'status', 'queued', 'returned_by', worker)
  redis.call('HINCRBY', key, 'attempt', -1)
  local before = last_returned(queue_key(origin), worker, redis.call('HGET', key, 'started_at') or '')
  if before then
    redis.call('LINSERT', queue_key(origin), 'AFTER', before, run)
  else
    redis.call('LPUSH', queue_key(origin), run)
  end
  return 'DONE'
end
redis.call('XADD', P .. ':results:' .. run, 'MAXLEN', 10, '*', unpack(ARGV, 13))
local answer = 'DONE'
if is_stopped and action ~= 'finish' then
  if action ~= 'stop' then answer = 'STOPPED' end
  action = 'stop'
end
if is_stopped and action == 'stop' and stop == 'replaced' then outcome = 'replaced' end
redis.call('HSET', key, 'execution', '', 'ended_execution', execution, 'ended_at', ended_iso, 'outcome', outcome,
           'recovering', '')
if retried ~= '0' and answer ~= 'STOPPED' then redis.call('HINCRBY', key, 'retried', retried) end

if action == 'retry' then
  redis.call('HSET', key, 'status', 'scheduled')
  redis.call('SADD', P .. ':queues', queue_key(origin))  -- the leader moves due retries of the queues that RQ knows
  redis.call('ZADD', P .. ':scheduled:' .. origin, (now_ms() + tonumber(delay_ms)) / 1000, run)
  return 'DONE'
end
if action == 'requeue' then
  redis.call('HSET', key, 'status', 'queued', 'recovering', outcome, 'enqueued_at', ended_iso)
  redis.call('HINCRBY', key, outcome, 1)
  redis.call('LPUSH', queue_key(origin), run)
  return 'DONE'
end

if action == 'quarantine' then record_quarantine(ctx, run, note) end
local status = ({finish = 'finished', fail = 'failed', stop = 'stopped', quarantine = 'failed'})[action]
register_ended(ctx, run, origin, status, ended_seconds)
if not job then return answer end
local failing = redis.call('HGET', K .. 'stats:' .. job, 'failing')
end_run(ctx, run, job, outcome, ended_seconds, duration)
if action == 'finish' and failing then
  redis.call('HSET', key, 'recovered', execution)
  return 'RECOVERED'
end
return answer
