-- Takes dead workers off RQ's lists: those whose hash has expired. RQ's own tools do so only when somebody uses them,
-- and each process has a name of its own.
-- ARGV: prefix, epoch, lease.   Answers {'OK', worker key, ...}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
local out = {'OK'}
for _, key in ipairs(redis.call('SMEMBERS', P .. ':workers')) do
  if redis.call('EXISTS', key) == 0 then
    redis.call('SREM', P .. ':workers', key)
    for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
      redis.call('SREM', P .. ':workers:' .. string.sub(queue, #(P .. ':queue:') + 1), key)
    end
    redis.call('DEL', key .. ':executions')
    out[#out + 1] = key
  end
end
return out
