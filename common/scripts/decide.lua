-- Decides a batch of occurrences, each exactly once (spec: reliability.md section 4).
-- ARGV: prefix, epoch, lease, holder, through, now_iso, log_limit, count,
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
local limit, count = tonumber(ARGV[7]), tonumber(ARGV[8])
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
KEEP.log = limit
BY = holder

local function record(item, decision, reason)
  redis.call('XADD', item.log_key, 'MAXLEN', '~', limit, '*', 'decision', decision, 'first', item.first,
    'last', item.last, 'count', item.n, 'reason', reason, 'run', item.run, 'epoch', ARGV[2], 'by', holder)
  if decision ~= 'moved' and decision ~= 'dropped' then through = through + tonumber(item.n) end
  item.told = decision
end

-- What later occurrences of its dependents will ask about this one. `outcome` is '' while the run is open.
local function note_past(item, outcome)
  local past = K .. 'past:' .. item.job
  if not item.policy.watched then
    -- Nobody asks now. Who asks later must not find what is older than the occurrences in between.
    redis.call('DEL', past)
    return
  end
  redis.call('ZADD', past, item.first, item.first .. '|' .. item.run .. '|' .. outcome)
  redis.call('ZREMRANGEBYRANK', past, 0, -limit - 1)
end

-- No success is asked for of an instant up to this one: the dead man's switch counts from here. An excuse that cannot
-- be written may cost a false alert, and never a decision.
local function excuse(item)
  redis.pcall('HSET', K .. 'stats:' .. item.job, 'expected_from', item.last)
end

local function skip(item, reason)
  item.run = ''
  record(item, 'skipped', reason)
  if reason == 'suspended' then excuse(item) end
  redis.call('HINCRBY', K .. 'missed', item.job .. '|' .. reason, item.n)
  note_past(item, reason)
  return 'SKIPPED', reason
end

-- The run exists: it was queued before Redis lost the cursor that said so, or somebody made it by hand.
local function known(item)
  local status, outcome = unpack(redis.call('HMGET', item.run_key, 'status', 'outcome'))
  record(item, 'known', 'the run exists')
  note_past(item, is_final(status) and (outcome or 'failed') or '')
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
  local ended = {}
  for _, found in ipairs(redis.call('XREVRANGE', K .. 'log:' .. job, '+', '-', 'COUNT', 50)) do
    local entry = {}
    for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
    if entry.decision == 'ended' then ended[entry.run] = true end
    if tonumber(entry.first) <= tonumber(first) then
      if entry.decision == 'skipped' or entry.decision == 'error' then return 'failed' end
      if entry.decision == 'queued' or entry.decision == 'held' or entry.decision == 'known' then
        local status = redis.call('HGET', run_key(entry.run), 'status')
        if not status then
          -- Deleted before its end, it has not succeeded; of one that had ended nobody knows any more.
          local is_removed = ended[entry.run] or redis.call('HEXISTS', K .. 'open', entry.run) == 1
          return is_removed and 'failed' or 'none'
        end
        if status == 'finished' then return 'success' end
        if is_final(status) then return 'failed' end
        return 'open', entry.run
      end
    end
  end
  return 'none'
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
  redis.call('HSET', item.run_key, 'enqueued_at', NOW.iso, 'order', through,
    unpack(ARGV, item.fields_from, item.fields_to))
  if policy.front then redis.call('HSET', item.run_key, 'front', '1') end
  if policy.deadline then redis.call('HSET', item.run_key, 'deadline_at', policy.deadline) end
  redis.call('ZADD', item.active_key, item.first, item.run)
  redis.call('HSET', K .. 'open', item.run, policy.group or '')
  note_past(item, '')
  if #gates > 0 then
    hold(item.run, item.queue, through)
    for _, one in ipairs(gates) do gate(item.run, one[1], one[2]) end
    return 'HELD', item.run
  end
  redis.call(policy.front and 'LPUSH' or 'RPUSH', item.queue_key, item.run)
  return 'QUEUED', item.run
end

-- The keys of a job that have no expiry while it is in the files.
local REMEMBERED = {'log:', 'stats:', 'history:', 'sizes:', 'past:'}

local function cancel(job)
  local todo = {}
  for _, old in ipairs(live_runs(job)) do
    if old.status ~= 'started' and redis.call('HGET', run_key(old.run), 'on_remove') == 'cancel' then
      end_unstarted(old.run, 'removed', todo)
    end
  end
  settle(todo)
end

-- Why the item's keys cannot be written, nil when they can. Asked by commands that answer with a number: TYPE makes
-- a table of each answer, and was a quarter of the script's time. A queue is asked once a batch, and made known to RQ.
local known_queues = {}
local function wrong_kind(item)
  if type(redis.pcall('XLEN', item.log_key)) == 'table' then return item.log_key .. ' is not a stream' end
  if item.kind ~= 'queue' then return nil end
  if type(redis.pcall('ZCARD', item.active_key)) == 'table' then return item.active_key .. ' is not a zset' end
  if item.policy.watched and type(redis.pcall('ZCARD', K .. 'past:' .. item.job)) == 'table' then
    return K .. 'past:' .. item.job .. ' is not a zset'
  end
  if not known_queues[item.queue_key] then
    if type(redis.pcall('LLEN', item.queue_key)) == 'table' then return item.queue_key .. ' is not a list' end
    redis.call('SADD', P .. ':queues', item.queue_key)
    known_queues[item.queue_key] = true
  end
  return nil
end

-- Every cursor that the batch asks for, in one call, and as this batch has set them meanwhile.
local cursors = {}
local function read_cursors(jobs)
  for from = 1, #jobs, 1000 do
    local part = {unpack(jobs, from, math.min(from + 999, #jobs))}
    for i, cursor in ipairs(redis.call('HMGET', K .. 'cursor', unpack(part))) do cursors[part[i]] = cursor or '' end
  end
end

local function cursor_of(job)
  if not cursors[job] then read_cursors({job}) end
  return cursors[job]
end

local function decide(item)
  local stored = cursors[item.job]
  if stored ~= item.believed then return 'MOVED', stored end
  if item.kind ~= 'move' and item.kind ~= 'drop' and tonumber(item.last) * 1000 > now + 1000 then
    return 'EARLY', ''
  end
  item.policy = item.policy == '' and {} or cjson.decode(item.policy)
  for _, one in ipairs(item.policy.after or {}) do
    if cursor_of(one[1]) ~= one[2] then return 'WAITS', one[1] end
  end
  item.log_key, item.active_key = K .. 'log:' .. item.job, K .. 'active:' .. item.job
  item.queue_key, item.run_key = queue_key(item.queue), run_key(item.run)
  local wrong = wrong_kind(item)
  if wrong then return 'ERROR', wrong end
  if item.kind == 'drop' then
    cancel(item.job)  -- first: if it fails, all of the removal is tried again
    redis.call('HDEL', K .. 'cursor', item.job)
    cursors[item.job] = ''
    record(item, 'dropped', item.reason)
    -- What is remembered of a job that is gone outlives it as long as its failed runs do.
    for _, name in ipairs(REMEMBERED) do redis.call('EXPIRE', K .. name .. item.job, bounds().seconds) end
    return 'DROPPED', ''
  end
  redis.call('HSET', K .. 'cursor', item.job, item.cursor)
  item.has_moved = true
  cursors[item.job] = item.cursor
  if item.kind == 'move' then
    if item.believed == '' then
      for _, name in ipairs(REMEMBERED) do redis.call('PERSIST', K .. name .. item.job) end
    end
    excuse(item)
    record(item, 'moved', item.reason)
    return 'MOVE', ''
  end
  if item.kind == 'skip' then return skip(item, item.reason) end
  if is_paused(item.job, now) then return skip(item, 'suspended') end
  if redis.call('EXISTS', item.run_key) == 1 then return known(item) end
  return enqueue(item)
end

-- Something could not be written. Before the cursor had moved that is nobody's outcome yet: the instant is still to
-- be decided. After it, the occurrence is not queued, half a run is taken away, and the log says why. None of it may
-- fail in turn.
local function undo(item, reason)
  if not item.has_moved then return end
  local has_run = item.told == 'queued' or item.told == 'held'
  if has_run then unmake(item.run, item.job, item.queue) end
  if item.kind ~= 'move' and (has_run or not item.told) then
    redis.pcall('HINCRBY', K .. 'missed', item.job .. '|error', item.n)
    pcall(note_past, item, 'error')
  end
  pcall(log_decision, item.job, limit, {'decision', 'error', 'first', item.first, 'last', item.last,
    'count', item.n, 'reason', reason, 'run', item.run, 'epoch', ARGV[2], 'by', holder})
end

local items, jobs, at = {}, {}, 9
for i = 1, count do
  local nfields = tonumber(ARGV[at + 11])
  items[i] = {kind = ARGV[at], job = ARGV[at + 1], believed = ARGV[at + 2], cursor = ARGV[at + 3],
              first = ARGV[at + 4], last = ARGV[at + 5], n = ARGV[at + 6], reason = ARGV[at + 7],
              run = ARGV[at + 8], queue = ARGV[at + 9], policy = ARGV[at + 10],
              fields_from = at + 12, fields_to = at + 11 + nfields}
  jobs[i] = ARGV[at + 1]
  at = at + 12 + nfields
end
read_cursors(jobs)

local out, before = {'OK', ''}, through
for _, item in ipairs(items) do
  local ok, verdict, detail = pcall(decide, item)
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
