-- Sets how much of ended runs stays readable, by the leader's settings: the scripts that end runs read it. Repeated, it
-- changes nothing.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, runs of each job, seconds after the end, bytes of each job.   Answers {'OK'}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
redis.call('HSET', K .. 'bounds', 'runs', ARGV[4], 'seconds', ARGV[5], 'bytes', ARGV[6])
return {'OK'}
