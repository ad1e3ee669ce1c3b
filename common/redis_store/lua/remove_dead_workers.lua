-- Takes dead workers off RQ's lists: those whose hash has expired. RQ's own tools do so only when somebody uses them, and
-- each process has a name of its own. Repeated, it finds nobody.
-- requires: fencing, keys
-- ARGV: prefix, epoch, lease, list of a queue's workers, ...   RQ's list of all comes last, so that nobody is forgotten
-- half-way.   Answers {'OK', worker key, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local all, out = P .. ':workers', {'OK'}
local function remove_dead(list)
  local dead = {}
  for _, key in ipairs(redis.call('SMEMBERS', list)) do
    if redis.call('EXISTS', key) == 0 then
      redis.call('SREM', list, key)
      dead[#dead + 1] = key
    end
  end
  return dead
end
for i = 4, #ARGV do remove_dead(ARGV[i]) end
for _, key in ipairs(remove_dead(all)) do
  redis.call('DEL', key .. ':executions')
  out[#out + 1] = key
end
return out
