-- Decides a batch of occurrences, each exactly once (spec: reliability.md section 4).
-- ARGV: prefix, epoch, lease, holder, through, now_iso, log_limit, count, shapes,
--   then for each shape (what many runs' hashes have alike, sent once)
--   name nfields field value ...
--   then for each item
--   kind job believed cursor first last n reason run queue policy shape nfields field value ...
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
--
-- What is written when. A script that fails is not undone, so the order is that of what can fail:
-- * A plain run (no policy) writes `active`, then its log, then its hash. A key of the wrong kind fails the first or the
--   second of them, and all that there is to take back is the entry in `active`: the instant stays undecided. No kind
--   has to be asked for beforehand; three such questions were a fifth of the script's time.
-- * Everything else asks for the kinds first (wrong_kind), and then moves its cursor before whatever it does.
-- * Cursors, `open`, what is forgotten of the past and the pushes of plain runs are gathered and written once for many
--   decisions (flush): at the end, and before any item that looks at them. Nobody can look in between, for a script is
--   one step to everybody else, to a replica and to the append-only file. Cursor and log still come before the push.
--   None of these writes can fail by kind (asked for at the start; nothing here changes one) or for want of memory
--   (Redis refuses that to a script's first write only, which is the fence's); a push can, by a right that was taken
--   away. Each decision that a failed write stood for has failed, and its run is taken away again: never half of one.
local epoch, lease, holder, floor = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local limit, count, nshapes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
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

-- Gathered until the next flush: job, cursor, ... and run, group, ... and keys; runs by their queue's key. `gathered`
-- are the items whose outcome hangs on it.
local moved, opened, forgotten, queues, pushes, gathered = {}, {}, {}, {}, {}, {}

-- The item's cursor is the new one from here on, for this batch at once and for all others with the next flush.
local cursors = {}
local function move(item)
  item.has_moved = true
  cursors[item.job] = item.cursor
  moved[#moved + 1] = item.job
  moved[#moved + 1] = item.cursor
  gathered[#gathered + 1] = item
end

local function record(item, decision, reason)
  redis.call('XADD', item.log_key, 'MAXLEN', '~', limit, '*', 'decision', decision, 'first', item.first,
    'last', item.last, 'count', item.n, 'reason', reason, 'run', item.run, 'epoch', ARGV[2], 'by', holder)
  if decision ~= 'moved' and decision ~= 'dropped' then through = through + tonumber(item.n) end
  item.told = decision
  if not item.has_moved then move(item) end
end

-- What later occurrences of its dependents will ask about this one. `outcome` is '' while the run is open.
local function note_past(item, outcome)
  local past = K .. 'past:' .. item.job
  if not item.policy.watched then
    -- Nobody asks now. Who asks later must not find what is older than the occurrences in between.
    forgotten[#forgotten + 1] = past
    return
  end
  redis.call('ZADD', past, item.first, item.first .. '|' .. item.run .. '|' .. outcome)
  redis.call('ZREMRANGEBYRANK', past, 0, -limit - 1)
end

-- No success is asked for of an instant up to this one: the dead man's switch counts from here. An excuse that cannot
-- be written may cost a false alert, and never a decision.
local function excuse(item)
  redis.pcall('HSET', K .. 'stats:' .. item.job, 'expected_from', item.last)
  note_change(item.job)
end

local function skip(item, reason)
  item.run = ''
  record(item, 'skipped', reason)
  if reason == 'suspended' then excuse(item) end
  redis.call('HINCRBY', K .. 'missed', item.job .. '|' .. reason, item.n)
  note_change(item.job)
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

-- The run's hash: a copy of its shape's, then what is its own. Two thirds of the fields are the shape's; as arguments of
-- each run they would cost a third of what the hash does, in here and in the append-only file.
local shapes, made = {}, {}
local function shape_key(name)
  local key = shapes[name].key
  if not key then
    key = K .. 'shape:' .. name
    made[#made + 1] = key
    redis.call('DEL', key)
    redis.call('HSET', key, 'created_at', NOW.iso, 'enqueued_at', NOW.iso, unpack(ARGV, shapes[name].from, shapes[name].to))
    shapes[name].key = key
  end
  return key
end

local function write_run(item)
  redis.call('COPY', shape_key(item.shape), item.run_key)
  redis.call('HSET', item.run_key, 'order', through, 'job', item.job, 'at', item.first,
    unpack(ARGV, item.fields_from, item.fields_to))
end

-- The run of a job without any policy.
local function enqueue_plain(item)
  redis.call('ZADD', item.active_key, item.first, item.run)
  local ok, err = pcall(record, item, 'queued', '')
  if not ok then
    redis.pcall('ZREM', item.active_key, item.run)
    error(err, 0)
  end
  write_run(item)
  opened[#opened + 1] = item.run
  opened[#opened + 1] = ''
  forgotten[#forgotten + 1] = K .. 'past:' .. item.job
  local queue = pushes[item.queue_key]
  if not queue then
    queue = {}
    pushes[item.queue_key] = queue
    queues[#queues + 1] = item.queue_key
  end
  queue[#queue + 1] = item.run
  item.pushed_to = queue
  return 'QUEUED', item.run
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
  write_run(item)
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
-- a table of each answer. A queue is asked once a batch, and made known to RQ.
local known_queues = {}
local function wrong_queue(item)
  if known_queues[item.queue_key] then return nil end
  if type(redis.pcall('LLEN', item.queue_key)) == 'table' then return item.queue_key .. ' is not a list' end
  redis.call('SADD', P .. ':queues', item.queue_key)
  known_queues[item.queue_key] = true
  return nil
end

local function wrong_kind(item)
  if type(redis.pcall('XLEN', item.log_key)) == 'table' then return item.log_key .. ' is not a stream' end
  if item.kind ~= 'queue' then return nil end
  if type(redis.pcall('ZCARD', item.active_key)) == 'table' then return item.active_key .. ' is not a zset' end
  if item.policy.watched and type(redis.pcall('ZCARD', K .. 'past:' .. item.job)) == 'table' then
    return K .. 'past:' .. item.job .. ' is not a zset'
  end
  return wrong_queue(item)
end

-- Every cursor that the batch asks for, in one call; `move` keeps them as this batch has set them meanwhile.
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

local NO_POLICY, flush = {}, nil

local function decide(item)
  local stored = cursors[item.job]
  if stored ~= item.believed then return 'MOVED', stored end
  if item.kind ~= 'move' and item.kind ~= 'drop' and tonumber(item.last) * 1000 > now + 1000 then
    return 'EARLY', ''
  end
  if item.kind == 'queue' and not item.has_policy and not is_paused(item.job, now)
      and redis.call('EXISTS', item.run_key) == 0 then
    local wrong = wrong_queue(item)
    if wrong then return 'ERROR', wrong end
    return enqueue_plain(item)
  end
  if item.has_policy or item.kind == 'drop' then flush() end
  for _, one in ipairs(item.policy.after or {}) do
    if cursor_of(one[1]) ~= one[2] then return 'WAITS', one[1] end
  end
  local wrong = wrong_kind(item)
  if wrong then return 'ERROR', wrong end
  if item.kind == 'drop' then
    cancel(item.job)  -- first: if it fails, all of the removal is tried again
    redis.call('HDEL', K .. 'cursor', item.job)
    cursors[item.job] = ''
    item.has_moved = true
    record(item, 'dropped', item.reason)
    -- What is remembered of a job that is gone outlives it as long as its failed runs do.
    for _, name in ipairs(REMEMBERED) do redis.call('EXPIRE', K .. name .. item.job, bounds().seconds) end
    return 'DROPPED', ''
  end
  move(item)
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
    note_change(item.job)
    pcall(note_past, item, 'error')
  end
  pcall(log_decision, item.job, limit, {'decision', 'error', 'first', item.first, 'last', item.last,
    'count', item.n, 'reason', reason, 'run', item.run, 'epoch', ARGV[2], 'by', holder})
end

local function write_gathered()
  if #moved > 0 then redis.call('HSET', K .. 'cursor', unpack(moved)) end
  if #opened > 0 then redis.call('HSET', K .. 'open', unpack(opened)) end
  if #forgotten > 0 then redis.call('DEL', unpack(forgotten)) end
end

local out = {'OK', ''}

-- What hung on a write that failed: the items of one queue's push, all that were gathered otherwise.
local function fail(err, queue)
  local reason = type(err) == 'table' and err['err'] or tostring(err)
  for _, item in ipairs(gathered) do
    if not queue or item.pushed_to == queue then
      undo(item, reason)
      out[item.place], out[item.place + 1] = 'ERROR', reason
    end
  end
end

-- All that was gathered is written.
function flush()
  local ok, err = pcall(write_gathered)
  if not ok then
    fail(err)
  else
    for _, key in ipairs(queues) do
      local answer = redis.pcall('RPUSH', key, unpack(pushes[key]))
      if type(answer) == 'table' then fail(answer, pushes[key]) end
    end
  end
  moved, opened, forgotten, queues, pushes, gathered = {}, {}, {}, {}, {}, {}
end

local at = 10
for _ = 1, nshapes do
  local n = tonumber(ARGV[at + 1])
  shapes[ARGV[at]] = {from = at + 2, to = at + 1 + n}
  at = at + 2 + n
end

local first, jobs = at, {}
for i = 1, count do
  jobs[i] = ARGV[at + 1]
  at = at + 13 + tonumber(ARGV[at + 12])
end
read_cursors(jobs)

local before = through
at = first
for i = 1, count do
  local nfields = tonumber(ARGV[at + 12])
  local job, run, policy = ARGV[at + 1], ARGV[at + 8], ARGV[at + 10]
  local item = {kind = ARGV[at], job = job, believed = ARGV[at + 2], cursor = ARGV[at + 3],
                first = ARGV[at + 4], last = ARGV[at + 5], n = ARGV[at + 6], reason = ARGV[at + 7],
                run = run, queue = ARGV[at + 9], has_policy = policy ~= '', policy = NO_POLICY,
                shape = ARGV[at + 11], fields_from = at + 13, fields_to = at + 12 + nfields,
                log_key = K .. 'log:' .. job, active_key = K .. 'active:' .. job,
                queue_key = queue_key(ARGV[at + 9]), run_key = run_key(run),
                place = 2 * i + 1, has_moved = false, told = false, pushed_to = false}
  at = at + 13 + nfields
  if item.has_policy then item.policy = cjson.decode(policy) end
  local ok, verdict, detail = pcall(decide, item)
  if not ok then
    detail = type(verdict) == 'table' and verdict['err'] or tostring(verdict)
    verdict = 'ERROR'
    if not item.has_moved then detail = wrong_kind(item) or detail end
    undo(item, detail)
  end
  out[item.place] = verdict
  out[item.place + 1] = detail
  if #forgotten >= 1000 or #moved >= 2000 then flush() end
end
flush()
if #made > 0 then redis.call('DEL', unpack(made)) end
if through > before then redis.call('HINCRBY', K .. 'fence', 'through', through - before) end
out[2] = tostring(through)
return out
