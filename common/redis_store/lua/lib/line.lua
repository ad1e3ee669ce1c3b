-- The line of a job that allows no overlap: its open runs in the order of their decisions, which is not that of their
-- instants where somebody has asked for runs. It is an index: what counts are the runs themselves.
-- requires: keys, run_state

local function join_line(job, run, order) redis.call('ZADD', K .. 'line:' .. job, order, run) end

local function leave_line(job, run)
  if redis.call('EXISTS', K .. 'active:' .. job) == 0 then
    redis.call('DEL', K .. 'line:' .. job)
  else
    redis.call('ZREM', K .. 'line:' .. job, run)
  end
end

-- A run of the job that was decided before this one and has not ended, the latest decision first; nil if there is none.
local function before_in_line(job, run)
  local line, active = K .. 'line:' .. job, K .. 'active:' .. job
  local mine = redis.call('HGET', run_key(run), 'order') or '0'
  for _ = 1, 10 do
    local ahead = redis.call('ZREVRANGEBYSCORE', line, '(' .. mine, '-inf', 'LIMIT', 0, 100)
    for _, other in ipairs(ahead) do
      if live_status(other) then return other end
      redis.call('ZREM', line, other)  -- a script of the version before has ended it
    end
    if #ahead < 100 then break end
  end
  -- Runs that the line does not know were decided while the job allowed overlap, or by the version before: the oldest ones.
  local most = redis.call('ZCARD', active) > redis.call('ZCARD', line) and 500 or 20
  for _, other in ipairs(redis.call('ZRANGE', active, 0, most - 1)) do
    local order = redis.call('HGET', run_key(other), 'order') or '0'
    if tonumber(order) < tonumber(mine) and other ~= run and live_status(other) then return other end
  end
  return nil
end
