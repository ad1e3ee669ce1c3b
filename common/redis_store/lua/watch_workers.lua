-- Reads the heartbeats of these workers, for the leader's watch (scheduler/maintenance/worker_watch.py).
-- The fence's check is also its write: where Redis takes no writes, no heartbeat is taken either, and this call fails too.
-- requires: clock, fencing, keys
-- ARGV: prefix, epoch, lease, names of workers, at most 1,000
-- Repeated, it reads again.
-- Answers {'OK', now_ms, worker, mark, ...}, a mark being what `seen` holds or ''; or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK', string.format('%.0f', now_ms())}
for i = 4, #ARGV do
  out[#out + 1] = ARGV[i]
  out[#out + 1] = redis.call('GET', K .. 'seen:' .. ARGV[i]) or ''
end
return out
