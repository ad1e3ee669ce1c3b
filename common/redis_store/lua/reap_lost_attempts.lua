-- Takes the runs of one queue from dead workers: those whose execution's key has expired (spec: reliability.md sections 4
-- and 6). Repeated, it finds none of them.
-- requires: attempt_end, clock, context, fencing, keys
-- ARGV: prefix, epoch, lease, queue, now_iso, now_seconds, then the fields of RQ's result for a lost attempt as name,
--       value pairs.
-- now_seconds is Redis' time as the leader knows it: a call that comes later than 2 s after it reaps nothing.
-- Answers {'OK', what, run, job, ...} with what = lost_again | lost_failed, or FENCED, LOST.
local origin, now_iso, now_seconds = ARGV[4], ARGV[5], ARGV[6]
local now = tonumber(now_seconds)
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local wrong = wrong_key({[queue_key(origin)] = 'list'})
if wrong then return redis.error_reply(wrong) end
local out = {'OK'}
-- The caller has long given this call up, and every execution's key may have expired while Redis stood still.
if now_ms() / 1000 - now > 2 then return out end
local ctx = new_context('housekeeping', now_iso, now_seconds)
local function report(what, run, job)
  for _, part in ipairs({what, run, job}) do out[#out + 1] = part end
end

local wip = P .. ':wip:' .. origin
for _, member in ipairs(redis.call('ZRANGEBYSCORE', wip, '+inf', '+inf')) do
  local run, execution = string.match(member, '^(.*):(.-)$')
  if redis.call('EXISTS', P .. ':execution:' .. member) == 0 then
    local key = run_key(run)
    local owner, job, lost, max_lost, worker, stop =
      unpack(redis.call('HMGET', key, 'execution', 'job', 'lost', 'max_lost', 'worker_name', 'stop'))
    if owner ~= execution then
      -- An end script has been here, or somebody deleted the run; nothing is owed to this execution.
      redis.call('ZREM', wip, member)
      redis.call('ZREM', P .. ':executions:' .. run, execution)
    else
      lost = tonumber(lost or '0') + 1
      forget_execution(ctx, run, execution, origin, worker or '')
      redis.call('XADD', P .. ':results:' .. run, 'MAXLEN', 10, '*', 'worker_name', worker or '',
                 'execution_id', execution, 'execution_ended_at', now_seconds, unpack(ARGV, 7))
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
  end
end
return out
