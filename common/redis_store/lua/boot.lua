-- This boot's jobs have been decided: no later leader decides them again (spec: cron.md section 1, rule 9).
-- ARGV: prefix, epoch, lease, token.   Answers {'OK'}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
redis.call('SET', K .. 'boot', ARGV[4])
return {'OK'}
