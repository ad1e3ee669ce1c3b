-- Takes dead workers off RQ's lists: those whose hash has expired. RQ's own tools do so only when somebody uses them,
-- and each process has a name of its own.
-- ARGV: prefix, epoch, lease, list, ...   Without a list it only answers who is dead; else these lists are tidied,
-- RQ's list of all as the last, so that nobody is forgotten half-way.
-- Answers {'OK', worker key, ...}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
local out = {'OK'}
for _, key in ipairs(redis.call('SMEMBERS', P .. ':workers')) do
  if redis.call('EXISTS', key) == 0 then out[#out + 1] = key end
end
if #ARGV < 4 then return out end
for i = 4, #ARGV do
  for _, key in ipairs(redis.call('SMEMBERS', ARGV[i])) do
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', ARGV[i], key) end
  end
end
for i = 2, #out do redis.call('DEL', out[i] .. ':executions') end
return out
