-- What an operator names, run or job, before it is acted upon.
-- requires: keys

-- Ends the script where one of these keys is of another kind: before anything is written.
local function demand_kinds(kinds)
  local wrong = wrong_key(kinds)
  if wrong then error(wrong, 0) end
end

-- The keys that every act of an operator may write.
local function demand_shared_kinds()
  demand_kinds({[K .. 'open'] = 'hash', [K .. 'held'] = 'zset', [K .. 'paused'] = 'hash', [K .. 'acted'] = 'hash',
                [K .. 'acts'] = 'stream'})
end

-- The reply where nothing can be done with this run, or nil.
local function unfit_run(run)
  local key = run_key(run)
  if not is_kind(key, 'hash') or redis.call('HEXISTS', key, 'status') == 0 then return {'UNKNOWN'} end
  if redis.call('HEXISTS', key, 'job') == 0 then return {'FOREIGN'} end
  local job, origin = unpack(redis.call('HMGET', key, 'job', 'origin'))
  demand_kinds({[K .. 'log:' .. job] = 'stream', [K .. 'active:' .. job] = 'zset', [K .. 'history:' .. job] = 'list',
                [queue_key(origin or 'default')] = 'list'})
  return nil
end
