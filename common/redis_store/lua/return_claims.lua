-- Gives back what dead workers had claimed and not started, in its old order and without spending a retry.
-- ARGV: prefix, epoch, lease, claims worker names...   Answers {'OK', run, ...}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
local out = {'OK'}
for i = 4, #ARGV do
  local worker = ARGV[i]
  local claims = K .. 'claims:' .. worker
  if redis.call('EXISTS', K .. 'alive:' .. worker) == 0 then
    give_back(claims, out)
    -- A claim that was sent before the worker died may still arrive: its list is looked at for a day more.
    if redis.call('EXISTS', K .. 'seen:' .. worker, claims) == 0 then redis.call('SREM', K .. 'claims', worker) end
  end
end
return out
