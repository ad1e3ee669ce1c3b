-- What every script shares. ARGV[1] is RQ's key prefix; KEYS[1] is the fence, declared so that a proxy or an
-- ACL sees where we write. Keys found inside a script stay under the prefix (spec: reliability.md section 4).
local P = ARGV[1]
local K = P .. ':kuber-cron:'

local function run_key(id) return P .. ':job:' .. id end
local function queue_key(name) return P .. ':queue:' .. name end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The answer to give when this epoch may not write, nil when it may. Equality, not "at least": a smaller or
-- absent epoch means that Redis lost acknowledged writes. `lease` is what the lease key must hold, or ''.
local function fenced(epoch, lease)
  local stored = redis.call('HGET', K .. 'fence', 'epoch')
  if not stored or tonumber(stored) < epoch then return {'LOST', 'epoch', stored or ''} end
  if tonumber(stored) > epoch then return {'FENCED', 'epoch', stored} end
  if lease ~= '' and redis.call('GET', K .. 'lease') ~= lease then return {'FENCED', 'lease', stored} end
  redis.call('HSET', K .. 'fence', 'seen', string.format('%.0f', now_ms()))
  return nil
end

-- True where `key` is absent or of `kind`: checked before anything is written, for a script that fails
-- half-way is not undone.
local function is_kind(key, kind)
  local found = redis.call('TYPE', key)['ok']
  return found == 'none' or found == kind
end

-- Entry of one decision in the job's log.
local function log_decision(job, limit, entry)
  redis.call('XADD', K .. 'log:' .. job, 'MAXLEN', '~', limit, '*', unpack(entry))
end

-- The queue's key that a run waits in: low priority has a list of its own beside the queue.
local function queue_of(run)
  local origin = redis.call('HGET', run_key(run), 'origin')
  return origin and queue_key(origin) or nil
end
