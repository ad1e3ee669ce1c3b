-- Reads the heartbeats of all workers that may own something, for the leader's watch (scheduler/maintenance/worker_watch.py).
-- The fence's check is also its write: where Redis takes no writes, no heartbeat is taken either, and this call fails too.
-- requires: clock, fencing, keys
-- ARGV: prefix, epoch, lease, names of further workers...
-- Repeated, it reads again.
-- Answers {'OK', now_ms, worker, mark, ...}, a mark being what `seen` holds or ''; or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK', string.format('%.0f', now_ms())}
local known = {}
local function add(worker)
  if known[worker] then return end
  known[worker] = true
  out[#out + 1] = worker
  out[#out + 1] = redis.call('GET', K .. 'seen:' .. worker) or ''
end
for _, worker in ipairs(redis.call('SMEMBERS', K .. 'claims')) do add(worker) end
for i = 4, #ARGV do add(ARGV[i]) end
return out
