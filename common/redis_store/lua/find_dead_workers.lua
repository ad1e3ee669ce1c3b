-- Finds those of some workers whose hash has expired. Reads only.
-- requires: fencing
-- ARGV: prefix, epoch, lease, worker keys...   Answers {'OK', worker key, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK'}
for i = 4, #ARGV do
  if redis.call('EXISTS', ARGV[i]) == 0 then out[#out + 1] = ARGV[i] end
end
return out
