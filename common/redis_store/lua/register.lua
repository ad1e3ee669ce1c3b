-- Lays the jobs' cards, for people who look without job files; nothing is decided by them (common/records/job_summary.py).
-- ARGV: prefix, epoch, lease, count, then count times job and card, then jobs to forget: those that have a cursor are kept.
-- Answers {'OK', the jobs that were kept ...}, or FENCED, LOST. Repeated, it comes to the same.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
local cards, count, out = K .. 'jobs', tonumber(ARGV[4]), {'OK'}
if not is_kind(cards, 'hash') then return redis.error_reply('WRONGKIND ' .. cards .. ' is not a hash') end
for i = 5, 3 + 2 * count, 2 do redis.call('HSET', cards, ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * count, #ARGV do
  if redis.call('HEXISTS', K .. 'cursor', ARGV[i]) == 0 then
    redis.call('HDEL', cards, ARGV[i])
  else
    out[#out + 1] = ARGV[i]
  end
end
return out
