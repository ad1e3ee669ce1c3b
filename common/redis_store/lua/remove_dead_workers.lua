-- Takes dead workers off RQ's lists: those of them whose hash is still absent. RQ's own tools do so only when somebody uses
-- them, and each process has a name of its own. Repeated, it finds nobody.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, is_last, number of workers, worker keys ..., lists of queues' workers ...
-- is_last  1: no further lists follow, so they leave RQ's list of all, which comes last so that nobody is forgotten half-way.
-- Answers {'OK', worker key, ...}: those that have left the list of all, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local is_last, nworkers, dead, out = ARGV[4] == '1', tonumber(ARGV[5]), {}, {'OK'}
for i = 6, 5 + nworkers do
  if redis.call('EXISTS', ARGV[i]) == 0 then dead[#dead + 1] = ARGV[i] end
end
if #dead == 0 then return out end
for i = 6 + nworkers, #ARGV do redis.call('SREM', ARGV[i], unpack(dead)) end
if is_last then
  for _, key in ipairs(dead) do
    redis.call('DEL', key .. ':executions')
    if redis.call('SREM', P .. ':workers', key) == 1 then out[#out + 1] = key end
  end
end
return out
