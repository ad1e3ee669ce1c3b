-- Claims: runs that a worker has taken from a queue and not yet started.
-- requires: keys

-- The last of the runs at a queue's head that the worker has started before `started_at` and returned, nil for none: what it
-- returns next comes after it, so that several keep their order. A worker has returned at most as many as it has slots.
local function last_returned(queue, worker, started_at)
  local last
  for i = 0, 63 do
    local run = redis.call('LINDEX', queue, i)
    if not run or not is_kind(run_key(run), 'hash') then break end
    local by, at = unpack(redis.call('HMGET', run_key(run), 'returned_by', 'started_at'))
    if by ~= worker or not at or at > started_at then break end
    last = run
  end
  return last
end

-- What was claimed and not started goes back to the heads of its queues, in its old order; put on `returned`. A run or
-- a queue of the wrong kind keeps its claim as it is, and nobody else's. `worker`: behind what that has returned itself.
-- At most 1,000 at once: a worker claims no more than it has slots, so whatever else stands there can wait.
local function return_claims(claims, returned, worker)
  for _ = 1, 1000 do
    local run = redis.call('LINDEX', claims, -1)
    if not run or not is_kind(run_key(run), 'hash') then return end
    local origin, status = unpack(redis.call('HMGET', run_key(run), 'origin', 'status'))
    if origin and status == 'queued' then
      if not is_kind(queue_key(origin), 'list') then return end
      local before = worker and last_returned(queue_key(origin), worker, '~')
      if before then
        redis.call('LINSERT', queue_key(origin), 'AFTER', before, redis.call('RPOP', claims))
      else
        redis.call('LMOVE', claims, queue_key(origin), 'RIGHT', 'LEFT')
      end
      returned[#returned + 1] = run
    else
      redis.call('RPOP', claims)
    end
  end
end
