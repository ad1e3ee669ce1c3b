-- Returns what a live worker has claimed and not started to its queues, because it cannot start anything now. Repeated, it
-- finds the list empty.
-- requires: claims, keys
-- ARGV: prefix, worker.   Answers the runs that went back.
local returned = {}
return_claims(K .. 'claims:' .. ARGV[2], returned, ARGV[2])
return returned
