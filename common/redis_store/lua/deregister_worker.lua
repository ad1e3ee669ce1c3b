-- A worker deregisters: what it has claimed and not started is back in its queues, and it does not count as alive. A claim
-- that was sent before may still arrive, so the leader returns its claims for a day more (return_dead_claims.lua).
-- Repeated, it returns what has arrived since.
-- requires: claims, keys
-- ARGV: prefix, worker.   Answers the runs that went back.
local returned = {}
return_claims(K .. 'claims:' .. ARGV[2], returned)
redis.call('DEL', K .. 'alive:' .. ARGV[2])
-- It need not be watched for a ttl: what arrives later is returned in the leader's next round.
redis.call('SET', K .. 'seen:' .. ARGV[2], 'left', 'EX', 86400)
return returned
