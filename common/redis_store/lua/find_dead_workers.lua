-- Finds the workers on RQ's list of all whose hash has expired. Reads only.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease.   Answers {'OK', worker key, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK'}
for _, key in ipairs(redis.call('SMEMBERS', P .. ':workers')) do
  if redis.call('EXISTS', key) == 0 then out[#out + 1] = key end
end
return out
