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
  if not stored or tonumber(stored) < epoch then return {'LOST', stored or ''} end
  if tonumber(stored) > epoch then return {'FENCED', stored} end
  if lease ~= '' and redis.call('GET', K .. 'lease') ~= lease then return {'FENCED', stored} end
  redis.call('HSET', K .. 'fence', 'seen', string.format('%.0f', now_ms()))
  return nil
end

-- True where `key` is absent or of `kind`: checked before anything is written, for a script that fails
-- half-way is not undone.
local function is_kind(key, kind)
  local found = redis.call('TYPE', key)['ok']
  return found == 'none' or found == kind
end

-- Entry of one decision in the job's log and, for what was not queued, in the counters that the leader
-- exports: they survive a change of leader, and they cannot disagree with the log.
local function log_decision(job, limit, entry)
  redis.call('XADD', K .. 'log:' .. job, 'MAXLEN', '~', limit, '*', unpack(entry))
end

-- The run is over for good: the overlap that it held is released and its outcome becomes the job's last.
-- `keep` bounds the ended runs that stay readable per job; older ones are dropped, two at most a call.
local function finish(run, job, outcome, ended_at, duration, keep)
  redis.call('ZREM', K .. 'active:' .. job, run)
  local stats = K .. 'stats:' .. job
  redis.call('HSET', stats, 'last_run_at', ended_at, 'last_outcome', outcome)
  if duration ~= '' then redis.call('HSET', stats, 'last_duration', duration) end
  if outcome == 'success' then redis.call('HSET', stats, 'last_success_at', ended_at) end
  local history = K .. 'history:' .. job
  redis.call('LREM', history, 0, run)
  redis.call('LPUSH', history, run)
  for _ = 1, 2 do
    if redis.call('LLEN', history) <= keep then break end
    local old = redis.call('RPOP', history)
    local origin = redis.call('HGET', run_key(old), 'origin')
    if origin then
      redis.call('ZREM', P .. ':finished:' .. origin, old)
      redis.call('ZREM', P .. ':failed:' .. origin, old)
    end
    redis.call('DEL', run_key(old), P .. ':results:' .. old, P .. ':executions:' .. old)
  end
end

-- Takes away the traces of one execution. What remains of the attempt is its entry in RQ's results.
local function forget_execution(run, execution, origin, worker)
  redis.call('ZREM', P .. ':wip:' .. origin, run .. ':' .. execution)
  redis.call('DEL', P .. ':execution:' .. run .. ':' .. execution)
  redis.call('ZREM', P .. ':executions:' .. run, execution)
  redis.call('SREM', P .. ':worker:' .. worker .. ':executions', run .. ':' .. execution)
end

-- The queue's key that a run waits in: low priority has a list of its own beside the queue.
local function queue_of(run)
  local origin = redis.call('HGET', run_key(run), 'origin')
  return origin and queue_key(origin) or nil
end
