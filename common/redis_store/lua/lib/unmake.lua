-- The way back from a run that could not be made whole.
-- requires: keys

-- The run is taken away again. None of it may fail in turn.
local function unmake_run(run, job, origin)
  local gates = redis.pcall('HKEYS', K .. 'gates:' .. run)
  for _, other in ipairs(gates) do redis.pcall('SREM', K .. 'gated:' .. other, run) end
  redis.pcall('DEL', run_key(run))
  redis.pcall('ZREM', K .. 'active:' .. job, run)
  redis.pcall('ZREM', K .. 'line:' .. job, run)
  redis.pcall('HDEL', K .. 'open', run)
  redis.pcall('ZREM', K .. 'held', run)
  redis.pcall('DEL', K .. 'gates:' .. run)
  redis.pcall('ZREM', P .. ':deferred:' .. origin, run)
end
