-- The history of a job: its ended runs that are still readable.
-- requires: history_limits, keys, run_state

-- What the run takes in Redis, as Redis itself counts it; a guess where it may not be asked.
local function size_of(run)
  local size = 0
  for _, key in ipairs({run_key(run), P .. ':results:' .. run}) do
    local found = redis.pcall('MEMORY', 'USAGE', key)
    if type(found) == 'table' then return 4096 end
    size = size + (found or 0)
  end
  return size
end

-- The run is not among the job's ended ones any more, whatever became of it.
local function forget_size(sizes, run)
  local size = redis.call('HGET', sizes, run)
  if size then
    redis.call('HDEL', sizes, run)
    redis.call('HINCRBY', sizes, '', -size)
  end
end

-- The ended run is the newest of its job's history. Older ones beyond the limits are dropped, at most ten a call.
local function add_to_history(ctx, run, job)
  local history, sizes = K .. 'history:' .. job, K .. 'sizes:' .. job
  redis.call('LREM', history, 0, run)
  redis.call('LPUSH', history, run)
  forget_size(sizes, run)
  local size = size_of(run)
  redis.call('HSET', sizes, run, size)
  local total, count = redis.call('HINCRBY', sizes, '', size), redis.call('LLEN', history)
  for _ = 1, 10 do
    if count <= 1 then break end
    local old = redis.call('LINDEX', history, -1)
    local origin, status = unpack(redis.call('HMGET', run_key(old), 'origin', 'status'))
    -- One that has expired is in the list still.
    if count <= limits_of(ctx).runs and total <= limits_of(ctx).bytes and status then break end
    redis.call('RPOP', history)
    forget_size(sizes, old)
    total, count = tonumber(redis.call('HGET', sizes, '')), count - 1
    -- An operator may have queued an ended run again: it lives, and comes back here at its next end. One that others wait
    -- for yet, because they are many, is asked how it ended; it expires.
    if not status or (is_final(status) and redis.call('EXISTS', K .. 'gated:' .. old) == 0) then
      for _, registry in ipairs({':finished:', ':failed:', ':canceled:'}) do
        if origin then redis.call('ZREM', P .. registry .. origin, old) end
      end
      redis.call('DEL', run_key(old), P .. ':results:' .. old, P .. ':executions:' .. old)
    end
  end
end
