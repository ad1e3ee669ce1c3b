-- Returns what dead workers had claimed and not started, in its old order and without spending a retry. Repeated, it finds
-- their lists empty.
-- requires: claims, fencing, keys
-- ARGV: prefix, epoch, lease, names of workers...   Answers {'OK', run, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK'}
for i = 4, #ARGV do
  local worker = ARGV[i]
  local claims = K .. 'claims:' .. worker
  if redis.call('EXISTS', K .. 'alive:' .. worker) == 0 then
    return_claims(claims, out)
    -- A claim that was sent before the worker died may still arrive: its list is read for a day more.
    if redis.call('EXISTS', K .. 'seen:' .. worker, claims) == 0 then redis.call('SREM', K .. 'claims', worker) end
  end
end
return out
