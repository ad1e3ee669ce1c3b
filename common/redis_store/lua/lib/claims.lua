-- Claims: runs that a worker has taken from a queue and not yet started.
-- requires: keys

-- What was claimed and not started goes back to the heads of its queues, in its old order; put on `returned`. A run or
-- a queue of the wrong kind keeps its claim as it is, and nobody else's.
local function return_claims(claims, returned)
  while true do
    local run = redis.call('LINDEX', claims, -1)
    if not run or not is_kind(run_key(run), 'hash') then return end
    local origin, status = unpack(redis.call('HMGET', run_key(run), 'origin', 'status'))
    if origin and status == 'queued' then
      if not is_kind(queue_key(origin), 'list') then return end
      redis.call('LMOVE', claims, queue_key(origin), 'RIGHT', 'LEFT')
      returned[#returned + 1] = run
    else
      redis.call('RPOP', claims)
    end
  end
end
