-- Decides a batch of occurrences, each exactly once (spec: reliability.md section 4).
-- ARGV: prefix, epoch, lease, holder, through, now_iso, log_limit, history_limit, failure_ttl, count,
--   then for each item
--   kind job believed cursor first last n reason run queue policy nfields field value ...
-- through  the number of decisions that the leader knows of; Redis having fewer has lost writes.
-- kind     queue: one occurrence becomes a run.   skip: first..last become entries "not queued", with a reason.
--          move: the cursor is set and logged, nothing is decided (first sight, edited schedule).
--          drop: the cursor is removed (the job is gone); its runs are cancelled where they say so.
-- believed the cursor as the leader knows it, '' for none: compared and set, never "at least".
-- first, last, n  instants in seconds since the epoch, and how many they are.
-- policy   '' or a JSON object: concurrency, max_running, group, limit, watched (others come after this job),
--          after = [[job, its cursor as the leader believes it], ...], deadline (seconds since the epoch), front.
-- Answers {'OK', through, verdict, detail, verdict, detail, ...}, {'FENCED' | 'LOST', what, stored}.
-- Sent twice, the second application finds every cursor moved and says so.
local epoch, lease, holder, floor = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local limit, count = tonumber(ARGV[7]), tonumber(ARGV[10])
local refused = fenced(epoch, lease)
if refused then return refused end
local through = tonumber(redis.call('HGET', K .. 'fence', 'through') or '0')
if through < floor then return {'LOST', 'through', tostring(through)} end
for key, kind in pairs({cursor = 'hash', missed = 'hash', open = 'hash', held = 'zset', groups = 'hash', paused = 'hash'}) do
  if not is_kind(K .. key, kind) then return redis.error_reply('WRONGKIND ' .. K .. key .. ' is not a ' .. kind) end
end
if not is_kind(P .. ':queues', 'set') then return redis.error_reply('WRONGKIND ' .. P .. ':queues is not a set') end

local now = now_ms()
NOW = {iso = ARGV[6], seconds = string.format('%.3f', now / 1000)}
KEEP = {history = tonumber(ARGV[8]), log = limit, ttl = tonumber(ARGV[9])}
BY = holder

local paused = nil
local function is_paused(job)
  if paused == nil then paused = redis.call('HLEN', K .. 'paused') > 0 end
  if not paused then return false end
  for _, until_ms in ipairs(redis.call('HMGET', K .. 'paused', '*', job)) do
    if until_ms and (until_ms == '0' or tonumber(until_ms) > now) then return true end
  end
  return false
end

local function record(item, decision, reason)
  if decision ~= 'moved' and decision ~= 'dropped' then through = through + tonumber(item.n) end
  log_decision(item.job, limit, {
    'decision', decision, 'first', item.first, 'last', item.last, 'count', item.n, 'reason', reason,
    'run', item.run, 'epoch', ARGV[2], 'by', holder})
end

-- What later occurrences of its dependents will ask about this one. `outcome` is '' while the run is open.
local function note_past(item, outcome)
  if not item.policy.watched then return end
  local past = K .. 'past:' .. item.job
  redis.call('ZADD', past, item.first, item.first .. '|' .. item.run .. '|' .. outcome)
  redis.call('ZREMRANGEBYRANK', past, 0, -limit - 1)
end

local function skip(item, reason)
  item.run = ''
  record(item, 'skipped', reason)
  redis.call('HINCRBY', K .. 'missed', item.job .. '|' .. reason, item.n)
  note_past(item, reason)
  return 'SKIPPED', reason
end

-- The run exists: it was queued before Redis lost the cursor that said so, or somebody made it by hand.
local function known(item)
  record(item, 'known', 'the run exists')
  local status, outcome = unpack(redis.call('HMGET', run_key(item.run), 'status', 'outcome'))
  local is_over = status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled'
  note_past(item, is_over and (outcome or 'failed') or '')
  return 'KNOWN', item.run
end

-- How the predecessor's latest occurrence at or before `first` stands: 'none', 'success', 'failed', or
-- 'open' and its run. The log answers for the time before anybody depended on the job.
local function latest_of(job, first)
  local past = redis.call('ZREVRANGEBYSCORE', K .. 'past:' .. job, first, '-inf', 'LIMIT', 0, 1)[1]
  if past then
    local run, outcome = string.match(past, '^%d+|(.-)|(.*)$')
    if outcome == 'success' then return 'success' end
    if outcome ~= '' or redis.call('EXISTS', run_key(run)) == 0 then return 'failed' end
    return 'open', run
  end
  for _, found in ipairs(redis.call('XREVRANGE', K .. 'log:' .. job, '+', '-', 'COUNT', 50)) do
    local entry = {}
    for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
    if tonumber(entry.first) <= tonumber(first) then
      if entry.decision == 'skipped' then return 'failed' end
      if entry.decision == 'queued' or entry.decision == 'held' or entry.decision == 'known' then
        local status = redis.call('HGET', run_key(entry.run), 'status')
        if not status then return 'none' end
        if status == 'finished' then return 'success' end
        if status == 'failed' or status == 'stopped' or status == 'canceled' then return 'failed' end
        return 'open', entry.run
      end
    end
  end
  return 'none'
end

-- The job's runs that are decided and not ended, oldest first. A hash that somebody deleted holds nothing up.
local function live_runs(job)
  local live = {}
  for _, run in ipairs(redis.call('ZRANGE', K .. 'active:' .. job, 0, -1)) do
    local status = redis.call('HGET', run_key(run), 'status')
    if status then live[#live + 1] = {run = run, status = status} end
  end
  return live
end

-- Ends or stops the job's older runs; the one that has to end before the new one may start, or nil.
local function replace(live)
  local started, todo = nil, {}
  for _, old in ipairs(live) do
    if old.status == 'started' then
      started = old.run
      redis.call('HSET', run_key(old.run), 'stop', 'replaced')
      -- The field is durable and read with each heartbeat; RQ's own command makes it quick.
      local worker = redis.call('HGET', run_key(old.run), 'worker_name')
      if worker then
        redis.call('PUBLISH', P .. ':pubsub:' .. worker, cjson.encode({command = 'stop-job', job_id = old.run}))
      end
    else
      end_unstarted(old.run, 'replaced', todo)
    end
  end
  settle(todo)
  return started
end

local function enqueue(item)
  local policy, gates = item.policy, {}
  for _, one in ipairs(policy.after or {}) do
    local state, run = latest_of(one[1], item.first)
    if state == 'failed' then return skip(item, 'predecessor') end
    if state == 'open' then gates[#gates + 1] = {run, 'after'} end
  end
  local concurrency = policy.concurrency or 'allow'
  if concurrency ~= 'allow' then
    local live = live_runs(item.job)
    if #live > 0 then
      if concurrency == 'forbid' then return skip(item, 'overlap') end
      local ahead = live[#live].run
      if concurrency == 'queue' and #live - 1 >= policy.max_running then return skip(item, 'overlap') end
      if concurrency == 'replace' then ahead = replace(live) end
      if ahead then gates[#gates + 1] = {ahead, 'line'} end
    end
  end
  if policy.group then redis.call('HSET', K .. 'groups', policy.group, policy.limit) end
  record(item, #gates > 0 and 'held' or 'queued', '')
  item.is_recorded = true
  redis.call('HSET', run_key(item.run), unpack(item.fields))
  redis.call('HSET', run_key(item.run), 'enqueued_at', NOW.iso, 'order', through)
  if policy.front then redis.call('HSET', run_key(item.run), 'front', '1') end
  if policy.deadline then redis.call('HSET', run_key(item.run), 'deadline_at', policy.deadline) end
  redis.call('ZADD', K .. 'active:' .. item.job, item.first, item.run)
  redis.call('HSET', K .. 'open', item.run, policy.group or '')
  note_past(item, '')
  if #gates > 0 then
    hold(item.run, item.queue, through)
    for _, one in ipairs(gates) do gate(item.run, one[1], one[2]) end
    return 'HELD', item.run
  end
  redis.call('SADD', P .. ':queues', queue_key(item.queue))
  redis.call(policy.front and 'LPUSH' or 'RPUSH', queue_key(item.queue), item.run)
  return 'QUEUED', item.run
end

local function cancel(job)
  local todo = {}
  for _, old in ipairs(live_runs(job)) do
    if old.status ~= 'started' and redis.call('HGET', run_key(old.run), 'on_remove') == 'cancel' then
      end_unstarted(old.run, 'removed', todo)
    end
  end
  settle(todo)
end

local checked = {}
local function wrong_kind(item)
  local keys = {{'log:' .. item.job, 'stream'}, {'active:' .. item.job, 'zset'}}
  if item.policy.watched then keys[3] = {'past:' .. item.job, 'zset'} end
  for _, one in ipairs(keys) do
    if not is_kind(K .. one[1], one[2]) then return K .. one[1] .. ' is not a ' .. one[2] end
  end
  if item.kind == 'queue' and not checked[item.queue] then
    if not is_kind(queue_key(item.queue), 'list') then return queue_key(item.queue) .. ' is not a list' end
    checked[item.queue] = true
  end
  return nil
end

local function decide(item)
  local stored = redis.call('HGET', K .. 'cursor', item.job) or ''
  if stored ~= item.believed then return 'MOVED', stored end
  if item.kind ~= 'move' and item.kind ~= 'drop' and tonumber(item.last) * 1000 > now + 1000 then
    return 'EARLY', ''
  end
  for _, one in ipairs(item.policy.after or {}) do
    if (redis.call('HGET', K .. 'cursor', one[1]) or '') ~= one[2] then return 'WAITS', one[1] end
  end
  local wrong = wrong_kind(item)
  if wrong then return 'ERROR', wrong end
  if item.kind == 'drop' then
    redis.call('HDEL', K .. 'cursor', item.job)
    record(item, 'dropped', item.reason)
    cancel(item.job)
    return 'DROPPED', ''
  end
  redis.call('HSET', K .. 'cursor', item.job, item.cursor)
  if item.kind == 'move' then
    record(item, 'moved', item.reason)
    return 'MOVE', ''
  end
  if item.kind == 'skip' then return skip(item, item.reason) end
  if is_paused(item.job) then return skip(item, 'suspended') end
  if redis.call('EXISTS', run_key(item.run)) == 1 then return known(item) end
  return enqueue(item)
end

-- Something could not be written after the cursor and the log were: the occurrence is not queued, half a run is
-- taken away, and the log says why. None of it may fail in turn.
local function undo(item, reason)
  if item.is_recorded then
    for _, command in ipairs({{'DEL', run_key(item.run)}, {'ZREM', K .. 'active:' .. item.job, item.run},
                              {'HDEL', K .. 'open', item.run}, {'ZREM', K .. 'held', item.run}}) do
      redis.pcall(unpack(command))
    end
    redis.pcall('HINCRBY', K .. 'missed', item.job .. '|error', 1)
  end
  pcall(log_decision, item.job, limit, {'decision', 'error', 'first', item.first, 'last', item.last,
    'count', item.n, 'reason', reason, 'run', item.run, 'epoch', ARGV[2], 'by', holder})
end

local out, at, before = {'OK', ''}, 11, through
for _ = 1, count do
  local item = {kind = ARGV[at], job = ARGV[at + 1], believed = ARGV[at + 2], cursor = ARGV[at + 3],
                first = ARGV[at + 4], last = ARGV[at + 5], n = ARGV[at + 6], reason = ARGV[at + 7],
                run = ARGV[at + 8], queue = ARGV[at + 9], policy = ARGV[at + 10]}
  local nfields = tonumber(ARGV[at + 11])
  item.fields = {unpack(ARGV, at + 12, at + 11 + nfields)}
  at = at + 12 + nfields
  local ok, verdict, detail = pcall(function()
    item.policy = item.policy == '' and {} or cjson.decode(item.policy)
    return decide(item)
  end)
  if not ok then
    detail = type(verdict) == 'table' and verdict['err'] or tostring(verdict)
    verdict = 'ERROR'
    undo(item, detail)
  end
  out[#out + 1] = verdict
  out[#out + 1] = detail
end
if through > before then redis.call('HINCRBY', K .. 'fence', 'through', through - before) end
out[2] = tostring(through)
return out
