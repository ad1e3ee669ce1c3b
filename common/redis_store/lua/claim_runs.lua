-- Claims up to `count` runs: moves their ids from the queues, in the order given, into the worker's own claim list.
-- Repeated, it claims further runs.
-- requires: keys
-- ARGV: prefix, claims key, count, queue name...   Answers the ids.
local claims, left, out = ARGV[2], tonumber(ARGV[3]), {}
for i = 4, #ARGV do
  while left > 0 do
    local run = redis.call('LMOVE', queue_key(ARGV[i]), claims, 'LEFT', 'RIGHT')
    if not run then break end
    out[#out + 1] = run
    left = left - 1
  end
end
return out
