-- Publishes the jobs' summaries, for those who have no job files; nothing is decided by them
-- (common/records/job_summary.py). Repeated, it changes nothing.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, count, then count times job and summary, then jobs to forget: those that have a cursor are
-- kept.
-- Answers {'OK', the jobs that were kept ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local summaries, count, out = K .. 'jobs', tonumber(ARGV[4]), {'OK'}
local wrong = wrong_key({[summaries] = 'hash'})
if wrong then return redis.error_reply(wrong) end
for i = 5, 3 + 2 * count, 2 do redis.call('HSET', summaries, ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * count, #ARGV do
  if redis.call('HEXISTS', K .. 'cursor', ARGV[i]) == 0 then
    redis.call('HDEL', summaries, ARGV[i])
  else
    out[#out + 1] = ARGV[i]
  end
end
return out
