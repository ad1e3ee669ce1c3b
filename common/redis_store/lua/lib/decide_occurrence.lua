-- The rules by which one occurrence is decided (spec: reliability.md section 4). An item is a decision as the leader
-- wants it (decide_batch.lua); `ctx` has besides (lib/context.lua)
--   epoch    the leader's, as text
--   through  the number of decisions so far
--   now_ms   Redis' time
--   fail     what is called with an item, and the reason, where a write of it fails later (lib/batch_writes.lua)
-- requires: batch_writes, decision_log, gates, job_counts, job_memory, keys, line, live_runs, overlap, pauses
-- requires: run_end, run_state, unmake
--
-- A script that fails is not undone, so the order of writes is that of what can fail:
-- * A plain run (no policy) writes `active`, then its log, then its hash. A key of the wrong kind fails the first or the
--   second of them, and all that there is to take back is the entry in `active`: the instant stays undecided. No kind
--   has to be asked for beforehand; three such questions were a fifth of the script's time.
-- * Everything else asks for the kinds first (wrong_kind), and then moves its cursor before whatever it does.
-- * No cursor passes an instant that has no entry in the log: where neither the decision nor the error that kept it from
--   being made can be logged, the cursor goes back, and the instant stays undecided (undo_decision).

local function is_counted(decision) return decision ~= 'moved' and decision ~= 'dropped' end

local function record_decision(ctx, item, decision, reason)
  item.entry = redis.call('XADD', item.log_key, 'MAXLEN', '~', ctx.log_limit, '*', 'decision', decision, 'first',
    item.first_at, 'last', item.last_at, 'count', item.count, 'reason', reason, 'run', item.run, 'epoch', ctx.epoch,
    'by', ctx.by)
  if is_counted(decision) then ctx.through = ctx.through + tonumber(item.count) end
  item.recorded = decision
  if not item.has_moved then gather_cursor(item) end
end

-- Ends the decision where its log cannot be written, before runs of others are ended for it. An entry alone shows that;
-- nobody sees it.
local function demand_log(item)
  redis.call('XDEL', item.log_key, redis.call('XADD', item.log_key, '*', 'decision', 'none'))
end

-- What later occurrences of its dependents will ask about this one. `outcome` is '' while the run is open.
local function note_past(ctx, item, outcome)
  if not item.policy.watched then
    -- Nobody asks now. Who asks later must not find what is older than the occurrences in between.
    forget_past(item.job)
    return
  end
  local past = K .. 'past:' .. item.job
  redis.call('ZADD', past, item.first_at, item.first_at .. '|' .. item.run .. '|' .. outcome)
  redis.call('ZREMRANGEBYRANK', past, 0, -ctx.log_limit - 1)
end

-- No success is asked for of an instant up to this one: the dead man's switch counts from here. An excuse that cannot
-- be written may cost a false alert, and never a decision.
local function excuse(item)
  redis.pcall('HSET', K .. 'stats:' .. item.job, 'expected_from', item.last_at)
  note_change(item.job)
end

-- What else the cursor is of, beside its schedule and zone. After a move it may fail: a later leader then sees the same
-- edit again, which costs an entry.
local function set_timing(item)
  redis.call('HSET', K .. 'timing', item.job, ARGV[item.fields_from])
end

local function skip(ctx, item, reason)
  item.run = ''
  record_decision(ctx, item, 'skipped', reason)
  if reason == 'suspended' then excuse(item) end
  count_missed(item.job, reason, item.count)
  note_past(ctx, item, reason)
  return 'SKIPPED', reason
end

-- The run exists: it was queued before Redis lost the cursor that said so, or an operator made it.
local function recognise(ctx, item)
  local status, outcome = unpack(redis.call('HMGET', item.run_key, 'status', 'outcome'))
  record_decision(ctx, item, 'known', 'the run exists')
  note_past(ctx, item, is_final(status) and (outcome or 'failed') or '')
  return 'KNOWN', item.run
end

-- How the latest occurrence of `job` at or before `scheduled_at` stands by its decision log: as latest_of.
local function latest_in_log(job, scheduled_at)
  local ended = {}
  for _, found in ipairs(redis.call('XREVRANGE', K .. 'log:' .. job, '+', '-', 'COUNT', 50)) do
    local entry = {}
    for i = 1, #found[2], 2 do entry[found[2][i]] = found[2][i + 1] end
    if entry.decision == 'ended' then ended[entry.run] = true end
    if tonumber(entry.first) <= tonumber(scheduled_at) then
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

-- How the predecessor's latest occurrence at or before `scheduled_at` stands: 'none', 'success', 'failed', or
-- 'open' and its run. The log answers for the time before anybody depended on the job.
local function latest_of(job, scheduled_at)
  local past = redis.call('ZREVRANGEBYSCORE', K .. 'past:' .. job, scheduled_at, '-inf', 'LIMIT', 0, 1)[1]
  if not past then return latest_in_log(job, scheduled_at) end
  local run, outcome = string.match(past, '^%d+|(.-)|(.*)$')
  if outcome == 'success' then return 'success' end
  if outcome ~= '' or redis.call('EXISTS', run_key(run)) == 0 then return 'failed' end
  return 'open', run
end

-- The run of a job without any policy.
local function enqueue_plain(ctx, item)
  redis.call('ZADD', item.active_key, item.first_at, item.run)
  local ok, err = pcall(record_decision, ctx, item, 'queued', '')
  if not ok then
    redis.pcall('ZREM', item.active_key, item.run)
    error(err, 0)
  end
  write_run(ctx, item)
  forget_past(item.job)
  push_plain(item)
  return 'QUEUED', item.run
end

-- What the run has to wait for: its gates; or nil, and why it is not queued; or nil and nil where this call may not end as
-- many runs as it replaces, or ask as many as there are. The cursor stays then: if this leader dies in between, the next
-- one finds the same occurrence undecided.
local function find_gates(ctx, item)
  local policy, gates = item.policy, {}
  for _, predecessor in ipairs(policy.after or {}) do
    local state, run = latest_of(predecessor[1], item.first_at)
    if state == 'failed' then return nil, 'predecessor' end
    if state == 'open' then gates[#gates + 1] = {run, 'after'} end
  end
  local concurrency = policy.concurrency or 'allow'
  if concurrency == 'allow' then return gates end
  local ahead, is_sure = newest_live(ctx, item.job)
  if not is_sure then return nil, nil end
  if not ahead then return gates end
  if concurrency == 'forbid' then return nil, 'overlap' end
  if concurrency == 'queue' and has_more_live(ctx, item.job, policy.max_running) then return nil, 'overlap' end
  if concurrency == 'replace' then
    demand_log(item)
    local is_all
    is_all, ahead = replace_runs(ctx, item.job)
    if not is_all then return nil, nil end
  end
  if ahead then gates[#gates + 1] = {ahead, 'line'} end
  return gates
end

local function enqueue(ctx, item, gates)
  local policy = item.policy
  if policy.group then redis.call('HSET', K .. 'groups', policy.group, policy.limit) end
  record_decision(ctx, item, #gates > 0 and 'held' or 'queued', '')
  write_run(ctx, item)
  if policy.front then redis.call('HSET', item.run_key, 'front', '1') end
  if policy.deadline then redis.call('HSET', item.run_key, 'deadline_at', policy.deadline) end
  redis.call('ZADD', item.active_key, item.first_at, item.run)
  if policy.concurrency then join_line(item.job, item.run, ctx.through) end
  redis.call('HSET', K .. 'open', item.run, policy.group or '')
  note_past(ctx, item, '')
  if #gates > 0 then
    hold(ctx, item.run, item.queue, ctx.through)
    for _, gate in ipairs(gates) do add_gate(item.run, gate[1], gate[2]) end
    return 'HELD', item.run
  end
  redis.call(policy.front and 'LPUSH' or 'RPUSH', item.queue_key, item.run)
  return 'QUEUED', item.run
end

-- The job's runs end that have not been started, where they say that its removal cancels them: as many as this call may.
-- The others are ended by repair_runs, which finds that their job is gone.
local function cancel_runs(ctx, job)
  local todo = {}
  for _, old in ipairs(redis.call('ZRANGE', K .. 'active:' .. job, 0, most_asked(ctx) - 1)) do
    if ctx.left <= 0 then break end
    ctx.asks = ctx.asks - 1
    local status = live_status(old)
    if status and status ~= 'started' and redis.call('HGET', run_key(old), 'on_remove') == 'cancel' then
      end_unstarted(ctx, old, 'removed', todo)
    end
  end
  settle(ctx, todo)
end

local function drop_job(ctx, item)
  demand_log(item)
  cancel_runs(ctx, item.job)  -- first: if it fails, all of the removal is tried again
  remove_cursor(item)
  record_decision(ctx, item, 'dropped', item.reason)
  redis.call('HDEL', K .. 'timing', item.job)
  note_removal(ctx, item.job)
  return 'DROPPED', ''
end

-- Why the item's keys cannot be written, nil where they can. Asked by commands that answer with a number.
local function wrong_kind(item)
  if type(redis.pcall('XLEN', item.log_key)) == 'table' then return item.log_key .. ' is not a stream' end
  if item.kind ~= 'queue' then return nil end
  if type(redis.pcall('ZCARD', item.active_key)) == 'table' then return item.active_key .. ' is not a zset' end
  if item.policy.watched and type(redis.pcall('ZCARD', K .. 'past:' .. item.job)) == 'table' then
    return K .. 'past:' .. item.job .. ' is not a zset'
  end
  return wrong_queue(item)
end

-- Answers the verdict and its detail.
local function decide_occurrence(ctx, item)
  local stored = cursor_of(item.job)
  if stored ~= item.believed then return 'MOVED', stored end
  if (item.kind == 'queue' or item.kind == 'skip') and tonumber(item.last_at) * 1000 > ctx.now_ms + 1000 then
    return 'EARLY', ''
  end
  if item.kind == 'queue' and not item.has_policy and not is_paused(ctx, item.job, ctx.now_ms)
      and redis.call('EXISTS', item.run_key) == 0 then
    local wrong = wrong_queue(item)
    if wrong then return 'ERROR', wrong end
    if item.believed == '' then keep_memory(item.job) end
    return enqueue_plain(ctx, item)
  end
  if item.has_policy or item.kind == 'drop' then flush_batch(ctx.fail) end
  for _, predecessor in ipairs(item.policy.after or {}) do
    if cursor_of(predecessor[1]) ~= predecessor[2] then return 'WAITS', predecessor[1] end
  end
  local wrong = wrong_kind(item)
  if wrong then return 'ERROR', wrong end
  if item.kind == 'drop' then return drop_job(ctx, item) end
  if item.kind == 'complete' then
    set_timing(item)
    return 'MOVE', ''
  end
  move_cursor(item)
  if item.believed == '' then keep_memory(item.job) end
  if item.kind == 'move' then
    record_decision(ctx, item, 'moved', item.reason)
    pcall(set_timing, item)
    excuse(item)
    return 'MOVE', ''
  end
  if item.kind == 'skip' then return skip(ctx, item, item.reason) end
  if is_paused(ctx, item.job, ctx.now_ms) then return skip(ctx, item, 'suspended') end
  if redis.call('EXISTS', item.run_key) == 1 then return recognise(ctx, item) end
  local gates, reason = find_gates(ctx, item)
  if gates then return enqueue(ctx, item, gates) end
  if reason then return skip(ctx, item, reason) end
  unmove_cursor(item)
  return 'BUSY', ''
end

-- The decision's entry is taken out of the log again, and out of the count of decisions.
local function forget_entry(ctx, item)
  redis.pcall('XDEL', item.log_key, item.entry)
  if is_counted(item.recorded) then ctx.through = ctx.through - tonumber(item.count) end
end

-- Something could not be written. Before the cursor had moved that is nobody's outcome yet: what there is of the decision
-- is taken back, and the instant is still to be decided. After it, the occurrence is not queued, half a run is taken away,
-- and the log says why; if it cannot, the cursor goes back. None of it may fail in turn.
local function undo_decision(ctx, item, reason)
  local has_run = item.recorded == 'queued' or item.recorded == 'held'
  if has_run then unmake_run(item.run, item.job, item.queue) end
  if not item.has_moved then
    if item.recorded then forget_entry(ctx, item) end
    return
  end
  local is_logged = pcall(log_decision, ctx, item.job, {'decision', 'error', 'first', item.first_at, 'last', item.last_at,
    'count', item.count, 'reason', reason, 'run', item.run, 'epoch', ctx.epoch, 'by', ctx.by})
  if not is_logged and not item.recorded then
    pcall(unmove_cursor, item)
  elseif item.kind ~= 'move' and (has_run or not item.recorded) then
    pcall(count_missed, item.job, 'error', item.count)
    pcall(note_past, ctx, item, 'error')
  end
end
