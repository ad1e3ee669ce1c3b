-- Counts the live workers of a queue, beside the asking one, that may take what that one cannot start: those that have not
-- refused the run, or, for no run in particular, tell of no problem of their own. Repeated, it counts again.
-- Of more than a thousand workers not all are asked.
-- requires: keys
-- ARGV: prefix, worker, queue, run that the asking worker refuses from now on ('' for none).   Answers their number.
local worker, queue, run = ARGV[2], ARGV[3], ARGV[4]
local refused, kept, count = {}, {}, 0
local key = run_key(run)
local is_run = run ~= '' and redis.call('EXISTS', key) == 1 and is_kind(key, 'hash')
if is_run then
  for name in string.gmatch(redis.call('HGET', key, 'refused_by') or '', '%S+') do refused[name] = true end
  refused[worker] = true
end
for _, member in ipairs(redis.call('SRANDMEMBER', P .. ':workers:' .. queue, 1000)) do
  local name = string.sub(member, #P + 9)
  -- By no key that expires with a ttl: a clock of Redis that is set forward would leave the asking worker alone.
  local seen = redis.call('GET', K .. 'seen:' .. name)
  if seen and seen ~= 'left' then
    if refused[name] then
      kept[#kept + 1] = name
    elseif name ~= worker and (is_run or (redis.call('HGET', P .. ':worker:' .. name, 'problem') or '') == '') then
      count = count + 1
    end
  end
end
-- Only the living are kept, so that the field does not grow with each worker that was ever started.
if is_run then redis.call('HSET', key, 'refused_by', table.concat(kept, ' ')) end
return count
