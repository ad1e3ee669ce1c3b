-- How much of ended runs stays readable, by the settings of whoever leads: the scripts that end runs read it.
-- ARGV: prefix, epoch, lease, runs of each job, seconds after the end, bytes of each job.   Answers {'OK'}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
redis.call('HSET', K .. 'bounds', 'runs', ARGV[4], 'seconds', ARGV[5], 'bytes', ARGV[6])
return {'OK'}
