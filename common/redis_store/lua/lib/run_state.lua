-- What the id and the hash of a run say of it, and its two places before it starts: its queue, or outside of every queue.
-- requires: keys

-- The job of a run id, for runs whose hash somebody has deleted: the id is <job>-<instant>[-m<8 hex>].
local function job_of(run)
  return string.match(run, '^(.*)%-%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ') or ''
end

-- A manual run stands for no occurrence, and none is missed with it. `manual` is the field of its hash.
local function is_manual(run, manual)
  return manual == '1' or string.match(run, 'Z%-m%x%x%x%x%x%x%x%x$') ~= nil
end

-- The scripts take a run out of `open` as they write a final status, so that a run which is open with one was ended by
-- another tool (RQ's cancel, say).
local function is_final(status)
  return status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled'
end

-- The run's status, nil where it has none that counts: its hash was deleted, or another tool has ended it. While an
-- attempt of it lives it is started, whatever another tool has written over that.
local function live_status(run)
  local status, execution, origin = unpack(redis.call('HMGET', run_key(run), 'status', 'execution', 'origin'))
  if not status then return nil end
  if not is_final(status) then return status end
  if not execution or execution == '' then return nil end
  local member = run .. ':' .. execution
  local is_owned = origin and redis.call('ZSCORE', P .. ':wip:' .. origin, member)
  return (is_owned or redis.call('EXISTS', P .. ':execution:' .. member) == 1) and 'started' or nil
end

-- The last of the members of a set that stand at the queue's head, nil where there is none. At most twenty are asked.
local function last_at_head(queue, members)
  local last = nil
  for _, run in ipairs(redis.call('LRANGE', queue, 0, 19)) do
    if redis.call('SISMEMBER', members, run) == 0 then break end
    last = run
  end
  return last
end

-- The held run stands in its queue: at its end, at its head for priority=high, or behind those `members` of a set that stand
-- at its head. Where the queue's key is no list it stays held, for repair_runs to try again, and the answer is false: one
-- bad key must not fail the end of another run.
local function push_held(ctx, run, members)
  local origin, front = unpack(redis.call('HMGET', run_key(run), 'origin', 'front'))
  local queue = queue_key(origin)
  if not is_kind(queue, 'list') then return false end
  local ahead = members and last_at_head(queue, members)
  if ahead then
    redis.call('LINSERT', queue, 'AFTER', ahead, run)
  else
    redis.call((members or front == '1') and 'LPUSH' or 'RPUSH', queue, run)
  end
  redis.call('SADD', P .. ':queues', queue)
  redis.call('HSET', run_key(run), 'status', 'queued', 'enqueued_at', ctx.now_iso)
  redis.call('ZREM', K .. 'held', run)
  redis.call('ZREM', P .. ':deferred:' .. origin, run)
  return true
end

-- The run waits outside of every queue: `held` is ours, RQ shows it as deferred.
local function hold(ctx, run, origin, order)
  redis.call('HSET', run_key(run), 'status', 'deferred')
  redis.call('ZADD', K .. 'held', order, run)
  redis.call('ZADD', P .. ':deferred:' .. origin, ctx.now_seconds, run)
  redis.call('SADD', P .. ':queues', queue_key(origin))
end
