-- Moves up to `n` run ids from the queues, in the order given, into the worker's own claim list.
-- ARGV: prefix, claims key, n, queue name...   Answers the ids.
local claims, left, out = ARGV[2], tonumber(ARGV[3]), {}
for i = 4, #ARGV do
  while left > 0 do
    local id = redis.call('LMOVE', queue_key(ARGV[i]), claims, 'LEFT', 'RIGHT')
    if not id then break end
    out[#out + 1] = id
    left = left - 1
  end
end
return out
