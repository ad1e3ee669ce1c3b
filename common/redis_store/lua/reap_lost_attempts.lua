-- Takes runs of one queue from dead workers (spec: reliability.md sections 4 and 6). Which are dead the leader has seen
-- (scheduler/maintenance/worker_watch.py); here is only checked that none of them has sent a heartbeat since. Repeated, it
-- finds none of the runs.
-- requires: attempt_end, clock, context, fencing, keys
-- ARGV: prefix, epoch, lease, queue, now_iso, now_seconds, offset, limit, most, number of dead workers, then worker and
--       mark of each, number of abandoned attempts, then their names in RQ's registry, then the fields of RQ's result for a lost attempt as name, value pairs.
-- now_seconds is Redis' time as the leader knows it: a call that comes later than 2 s after it reaps nothing.
-- Looks at `limit` attempts from `offset` on, and takes at most `most`.
-- Answers {'OK', next offset or -1 at the end, number of unknown owners, owner, ..., number of missing attempts, name, ...,
-- what, run, job, ...} with what = lost_again | lost_failed, or FENCED, LOST. An unknown owner is no worker that Redis knows,
-- and not among the dead. A missing attempt is one that its living worker does not send heartbeats for: Redis went back to a
-- time before its end. Where the leader has seen it missing for long enough it is abandoned, and taken.
local origin, now_iso, now_seconds = ARGV[4], ARGV[5], ARGV[6]
local offset, limit, most = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local first_abandoned = 12 + 2 * tonumber(ARGV[10])
local first_of_result = first_abandoned + tonumber(ARGV[first_abandoned - 1])
local now = tonumber(now_seconds)
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local wrong = wrong_key({[queue_key(origin)] = 'list'})
if wrong then return redis.error_reply(wrong) end
-- The caller has long given this call up, and the workers may have been heard since.
if now_ms() / 1000 - now > 2 then return {'OK', '-1', '0', '0'} end
local ctx = new_context('housekeeping', now_iso, now_seconds)
local events, unknown, missing, is_dead, is_known, is_abandoned = {}, {}, {}, {}, {}, {}
local function report(what, run, job)
  for _, part in ipairs({what, run, job}) do events[#events + 1] = part end
end
for i = first_abandoned, first_of_result - 1 do is_abandoned[ARGV[i]] = true end
for i = 11, first_abandoned - 2, 2 do
  is_dead[ARGV[i]] = (redis.call('GET', K .. 'seen:' .. ARGV[i]) or '') == ARGV[i + 1]
  is_known[ARGV[i]] = true
end
local function note_owner(worker)
  if is_known[worker] then return end
  is_known[worker] = true
  if redis.call('EXISTS', K .. 'seen:' .. worker) == 0 and #unknown < 100 then unknown[#unknown + 1] = worker end
end

-- Without a heartbeat for the ttl: the run is queued again, or has failed for good.
local function take(run, execution, worker, job, lost, max_lost, stop)
  local key = run_key(run)
  lost = tonumber(lost or '0') + 1
  forget_execution(ctx, run, execution, origin, worker)
  redis.call('XADD', P .. ':results:' .. run, 'MAXLEN', 10, '*', 'worker_name', worker,
             'execution_id', execution, 'execution_ended_at', now_seconds, unpack(ARGV, first_of_result))
  -- What was to be stopped or replaced is not started again, and has ended as that.
  local is_stopped = stop and stop ~= ''
  local outcome = not is_stopped and 'lost' or stop == 'replaced' and 'replaced' or 'stopped'
  redis.call('HSET', key, 'execution', '', 'lost', lost, 'outcome', outcome, 'ended_at', now_iso)
  -- Without a job it is somebody else's RQ job, which a worker has to put in quarantine yet.
  if job then redis.call('HINCRBY', K .. 'lost', job, 1) end
  if lost > tonumber(max_lost or '3') or is_stopped then
    register_ended(ctx, run, origin, is_stopped and 'stopped' or 'failed', now)
    if job then
      end_run(ctx, run, job, outcome, now_seconds, '')
      report('lost_failed', run, job)
    end
  else
    redis.call('HSET', key, 'status', 'queued', 'recovering', 'lost', 'enqueued_at', now_iso)
    redis.call('LPUSH', queue_key(origin), run)
    if job then report('lost_again', run, job) end
  end
end

local wip = P .. ':wip:' .. origin
local members = redis.call('ZRANGEBYSCORE', wip, '+inf', '+inf', 'LIMIT', offset, limit)
local kept, taken = 0, 0
for _, member in ipairs(members) do
  local run, execution = string.match(member, '^(.*):(.-)$')
  local owner, worker, job, lost, max_lost, stop =
    unpack(redis.call('HMGET', run_key(run), 'execution', 'worker_name', 'job', 'lost', 'max_lost', 'stop'))
  worker = worker or ''
  local is_missing = redis.call('EXISTS', P .. ':execution:' .. member) == 0
  if owner ~= execution and is_missing then
    -- An end script has been here, or somebody deleted the run; nothing is owed to this execution.
    redis.call('ZREM', wip, member)
    redis.call('ZREM', P .. ':executions:' .. run, execution)
  elseif owner == execution and (is_dead[worker] or is_missing and is_abandoned[member]) then
    take(run, execution, worker, job, lost, max_lost, stop)
    taken = taken + 1
  else
    if owner == execution then note_owner(worker) end
    if owner == execution and is_missing and #missing < 100 then missing[#missing + 1] = member end
    kept = kept + 1
  end
  if taken >= most then break end
end
local next_offset = (#members < limit and taken < most) and -1 or offset + kept
local out = {'OK', string.format('%d', next_offset), string.format('%d', #unknown)}
for _, owner in ipairs(unknown) do out[#out + 1] = owner end
out[#out + 1] = string.format('%d', #missing)
for _, member in ipairs(missing) do out[#out + 1] = member end
for _, part in ipairs(events) do out[#out + 1] = part end
return out
