-- A worker leaves: what it has claimed and not started is back in its queues, and it does not count as alive. A claim that
-- was sent before may still arrive, so the leader looks after its list for a day more (return_claims.lua).
-- ARGV: prefix, worker.   Answers the runs that went back.
local returned = {}
give_back(K .. 'claims:' .. ARGV[2], returned)
redis.call('DEL', K .. 'alive:' .. ARGV[2])
return returned
