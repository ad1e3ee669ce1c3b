-- The leader's round for one queue (spec: reliability.md sections 4 and 6): due retries are queued, runs of
-- dead workers are taken from them, claims of dead workers go back to the queue's head.
-- ARGV: prefix, epoch, lease, origin, now_iso, now_seconds, reap (1 or 0), limit,
--       nfields and the fields of RQ's result for a lost attempt as name, value pairs.
-- now_seconds is Redis' time as the leader knows it: a call that comes later than 2 s after it reaps nothing.
-- Answers {'OK', what, run, job, ...} with what = retried | lost_again | lost_failed, or FENCED, LOST.
local epoch, lease, origin, now, reap = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[6]), ARGV[7] == '1'
local refused = fenced(epoch, lease)
if refused then return refused end
if not is_kind(queue_key(origin), 'list') then
  return redis.error_reply('WRONGKIND ' .. queue_key(origin) .. ' is not a list')
end
-- Whoever sent this has long given it up, and every execution's key may have expired while Redis stood still.
if now_ms() / 1000 - now > 2 then reap = false end
local limit, out = tonumber(ARGV[8]), {'OK'}
NOW = {iso = ARGV[5], seconds = ARGV[6]}
BY = 'housekeeping'
local function tell(what, run, job)
  out[#out + 1] = what
  out[#out + 1] = run
  out[#out + 1] = job or ''
end

local scheduled = P .. ':scheduled:' .. origin
for _, run in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, limit)) do
  local status, job, front = unpack(redis.call('HMGET', run_key(run), 'status', 'job', 'front'))
  -- A run without `job` is somebody else's RQ job in a queue of the same name: RQ's own scheduler moves it.
  if job or not status then redis.call('ZREM', scheduled, run) end
  if job and status == 'scheduled' then
    redis.call('HSET', run_key(run), 'status', 'queued', 'enqueued_at', ARGV[5])
    redis.call(front == '1' and 'LPUSH' or 'RPUSH', queue_key(origin), run)
    tell('retried', run, job)
  end
end
if not reap then return out end

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
      forget_execution(run, execution, origin, worker or '')
      redis.call('XADD', P .. ':results:' .. run, 'MAXLEN', 10, '*', 'worker_name', worker or '',
                 'execution_id', execution, 'execution_ended_at', ARGV[6], unpack(ARGV, 10, 9 + tonumber(ARGV[9])))
      -- What was to be stopped or replaced is not started again, and has ended as that.
      local is_stopped = stop and stop ~= ''
      local outcome = not is_stopped and 'lost' or stop == 'replaced' and 'replaced' or 'stopped'
      redis.call('HSET', key, 'execution', '', 'lost', lost, 'outcome', outcome, 'ended_at', ARGV[5])
      -- Without a job it is somebody else's RQ job, which a worker has to put in quarantine yet.
      if job then redis.call('HINCRBY', K .. 'lost', job, 1) end
      if lost > tonumber(max_lost or '3') or is_stopped then
        redis.call('HSET', key, 'status', is_stopped and 'stopped' or 'failed')
        redis.call('ZADD', P .. ':failed:' .. origin, now + bounds().seconds, run)
        redis.call('EXPIRE', key, bounds().seconds)
        redis.call('EXPIRE', P .. ':results:' .. run, bounds().seconds)
        if job then
          finish(run, job, outcome, ARGV[6], '')
          tell('lost_failed', run, job)
        end
      else
        redis.call('HSET', key, 'status', 'queued', 'recovering', 'lost', 'enqueued_at', ARGV[5])
        redis.call('LPUSH', queue_key(origin), run)
        if job then tell('lost_again', run, job) end
      end
    end
  end
end
return out
