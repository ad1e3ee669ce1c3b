-- Marks this boot's jobs as decided: no later leader decides them again (spec: cron.md section 1, rule 9). Repeated, it
-- changes nothing.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, token.   Answers {'OK'}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
redis.call('SET', K .. 'boot', ARGV[4])
return {'OK'}
