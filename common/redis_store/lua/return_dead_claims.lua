-- Returns what dead workers had claimed and not started, in its old order and without spending a retry. Repeated, it finds
-- their lists empty. A worker whose mark is not the given one any more has sent a heartbeat: it keeps its claims.
-- requires: claims, fencing, keys
-- ARGV: prefix, epoch, lease, worker, mark, ...   Answers {'OK', run, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local out = {'OK'}
for i = 4, #ARGV, 2 do
  if #out > 1000 then break end  -- the others have their turn in the next call
  local worker, mark = ARGV[i], ARGV[i + 1]
  local claims, seen = K .. 'claims:' .. worker, redis.call('GET', K .. 'seen:' .. worker)
  if (seen or '') == mark then
    return_claims(claims, out)
    -- A claim that was sent before the worker died may still arrive: its list is read for a day more.
    if not seen and redis.call('EXISTS', claims) == 0 then redis.call('SREM', K .. 'claims', worker) end
  end
end
return out
