-- Sets how many runs of groups may run at once, as the files say: a decision sets its group's too, and may be far. Repeated,
-- it changes nothing.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, then group and limit in turn.   Answers {'OK'}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
for i = 4, #ARGV, 2 do redis.call('HSET', K .. 'groups', ARGV[i], ARGV[i + 1]) end
return {'OK'}
