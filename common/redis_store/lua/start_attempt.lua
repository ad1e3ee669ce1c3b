-- Starts an attempt of a claimed run (spec: reliability.md section 6, Start). Repeated with the same execution, it gives the
-- first answer again.
-- requires: context, decision_log, groups, history_limits, keys, quarantine, run_state, signs_of_life
-- ARGV: prefix, run, execution, worker, ttl_ms, now_iso, now_seconds, claims key.
-- Answers {'STARTED', attempt, recovered, data, retried, lost, interrupted, enqueued_at, count}, {'DROPPED', why}, or
-- {'QUARANTINED', why}: what stands under the run's name is no run, and has been put aside.
-- {'HELD', group}: as many of its group run as may, so it waits outside of the queue, in decision order.
local run, execution, worker, ttl = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now_iso, now_seconds, claims = ARGV[6], ARGV[7], ARGV[8]
local key = run_key(run)
local ctx = new_context(worker, now_iso, now_seconds)

-- What cannot be a run must not end the worker, nor come back for ever: it is put aside for an operator.
local function put_aside(why)
  if redis.call('LREM', claims, 0, run) == 0 then return {'DROPPED', 'not claimed by this worker'} end
  redis.call('RENAME', key, K .. 'aside:' .. run)
  redis.call('EXPIRE', K .. 'aside:' .. run, limits_of(ctx).seconds)
  record_quarantine(ctx, run, cjson.encode({reason = 'malformed', message = why}))
  return {'QUARANTINED', why}
end
if not is_kind(key, 'hash') then return put_aside('its key is not a hash') end
local names = {'status', 'attempt', 'recovering', 'data', 'retried', 'lost', 'interrupted', 'origin', 'execution',
               'job', 'at', 'enqueued_at', 'group', 'order', 'outcome'}
local values = redis.call('HMGET', key, unpack(names))
local stored = {}
for i, name in ipairs(names) do stored[name] = values[i] end

local function started(attempt, recovered, count)
  return {'STARTED', tostring(attempt), recovered, stored.data or '', stored.retried or '0', stored.lost or '0',
          stored.interrupted or '0', stored.enqueued_at or '', count}
end

if stored.execution == execution and stored.status == 'started' then
  return started(stored.attempt, stored.recovering or '', signs_of(worker))
end
if redis.call('EXISTS', key) == 1 and not (stored.status and stored.origin and stored.data) then
  return put_aside('its hash lacks status, origin or data')
end
if redis.call('LREM', claims, 0, run) == 0 then return {'DROPPED', 'not claimed by this worker'} end
if not stored.status then return {'DROPPED', 'removed'} end
if stored.status ~= 'queued' then return {'DROPPED', 'status is ' .. stored.status} end
-- Whoever can write to Redis can push an id again; a success is not repeated by that.
if stored.outcome == 'success' then
  redis.call('HSET', key, 'status', 'finished')
  return {'DROPPED', 'has succeeded'}
end

-- A run that has ended and is queued again was requeued by an operator, in rq-dashboard or by `rq requeue`.
if stored.job and stored.attempt and redis.call('HEXISTS', K .. 'open', run) == 0 then
  redis.call('HSET', key, 'stop', '', 'manual', '1')
  log_run(ctx, 'requeued', stored.job, run, stored.at or '0', 'manual')
end

-- Also before it may have to wait for its group: what is held has to be found if somebody deletes it.
if stored.job then
  redis.call('ZADD', K .. 'active:' .. stored.job, stored.at or '0', run)
  redis.call('HSET', K .. 'open', run, stored.group or '')
end

if stored.group and stored.group ~= '' and not take_group_place(ctx, run, stored.group, stored.order or '0') then
  hold(ctx, run, stored.origin, stored.order or '0')
  redis.call('ZADD', K .. 'waiting:' .. stored.group, stored.order or '0', run)
  return {'HELD', stored.group}
end

local attempt = tonumber(stored.attempt or '0') + 1
redis.call('HSET', key, 'status', 'started', 'started_at', now_iso, 'last_heartbeat', now_iso, 'ended_at', '',
           'worker_name', worker, 'execution', execution, 'attempt', attempt)
redis.call('PERSIST', key)
local execution_key = P .. ':execution:' .. run .. ':' .. execution
redis.call('HSET', execution_key, 'id', execution, 'job_id', run, 'created_at', now_seconds,
           'last_heartbeat', now_seconds, 'worker_name', worker)
redis.call('PEXPIRE', execution_key, ttl)
-- Score +inf: RQ's own clean-ups, run by any reader with its wall clock, must not reap a live attempt.
redis.call('ZADD', P .. ':wip:' .. stored.origin, '+inf', run .. ':' .. execution)
redis.call('ZADD', P .. ':executions:' .. run, '+inf', execution)
redis.call('SADD', P .. ':worker:' .. worker .. ':executions', run .. ':' .. execution)
return started(attempt, stored.recovering or '', count_sign(worker, ttl))
