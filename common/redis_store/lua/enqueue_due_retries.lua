-- Queues the due retries of one queue (spec: reliability.md section 6). Repeated, it finds them queued.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, queue, now_iso, now_seconds, limit: at most so many.
-- Answers {'OK', 'retried', run, job, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local origin, now_iso, now_seconds, limit, out = ARGV[4], ARGV[5], ARGV[6], ARGV[7], {'OK'}
local wrong = wrong_key({[queue_key(origin)] = 'list'})
if wrong then return redis.error_reply(wrong) end

local scheduled = P .. ':scheduled:' .. origin
for _, run in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', now_seconds, 'LIMIT', 0, limit)) do
  local status, job, front = unpack(redis.call('HMGET', run_key(run), 'status', 'job', 'front'))
  -- A run without `job` is somebody else's RQ job in a queue of the same name: RQ's own scheduler moves it.
  if job or not status then redis.call('ZREM', scheduled, run) end
  if job and status == 'scheduled' then
    redis.call('HSET', run_key(run), 'status', 'queued', 'enqueued_at', now_iso)
    redis.call(front == '1' and 'LPUSH' or 'RPUSH', queue_key(origin), run)
    for _, part in ipairs({'retried', run, job}) do out[#out + 1] = part end
  end
end
return out
