-- A run between its decision and its final end: held, pushed, ended, and what its end releases
-- (spec: reliability.md section 4, Overlap and Chains). Written so that no count can go stale: overlap, groups and
-- chains are held by the runs themselves (`active`, `group`, `gates`), and whatever ends a run comes through here.
--
-- A script that uses these sets NOW (its caller's instant, as text and in seconds) and BY (who acts) first, and WHO
-- where a person's command is what acts: user@host.
local NOW = {iso = '', seconds = '0'}
local KEEP = {log = 500}
local BY, WHO = '', ''

-- How much of ended runs stays readable: `runs` and `bytes` of each job, and all for so many `seconds` after their end.
-- The leader writes it by its settings (bounds.lua); a script reads it when it first needs to.
local BOUNDS = {runs = 100, seconds = 2592000, bytes = 4194304}
local has_bounds = false
local function bounds()
  if not has_bounds then
    has_bounds = true
    local stored = redis.pcall('HMGET', K .. 'bounds', 'runs', 'seconds', 'bytes')
    for i, name in ipairs({'runs', 'seconds', 'bytes'}) do BOUNDS[name] = tonumber(stored[i] or '') or BOUNDS[name] end
  end
  return BOUNDS
end

-- The leader's next look at this job's numbers will be soon (scheduler/maintenance/redis_observer.py). It looks at every job now and then:
-- a word that cannot be left here costs freshness, and never a decision or an end.
local function note_change(job)
  redis.pcall('SADD', K .. 'changed', job)
end

-- The job of a run id, for runs whose hash somebody has deleted: the id is <job>-<instant>[-m<8 hex>].
local function job_of(run)
  return string.match(run, '^(.*)%-%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ') or ''
end

-- Whether somebody asked for the run: it stands for no occurrence, and none is missed with it.
local function is_by_hand(run, manual)
  return manual == '1' or string.match(run, 'Z%-m%x%x%x%x%x%x%x%x$') ~= nil
end

-- Whether a status is final. The scripts take a run out of `open` as they write one, so that a run which is open
-- with a final status was ended by another tool (RQ's cancel, say).
local function is_final(status)
  return status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled'
end

-- The run's status, nil where it has none that counts: its hash was deleted, or another tool has ended it. While an
-- attempt of it lives it is started, whatever another tool has written over that.
local function live_status(run)
  local status, execution = unpack(redis.call('HMGET', run_key(run), 'status', 'execution'))
  if not status then return nil end
  if not is_final(status) then return status end
  if execution and execution ~= '' and redis.call('EXISTS', P .. ':execution:' .. run .. ':' .. execution) == 1 then
    return 'started'
  end
  return nil
end

-- The held run stands in its queue, at its head for priority=high. Where the queue's key is no list it stays held,
-- for the sweep to try again, and the answer is false: one bad key must not fail the end of another run.
local function push(run)
  local origin, front = unpack(redis.call('HMGET', run_key(run), 'origin', 'front'))
  if not is_kind(queue_key(origin), 'list') then return false end
  redis.call(front == '1' and 'LPUSH' or 'RPUSH', queue_key(origin), run)
  redis.call('SADD', P .. ':queues', queue_key(origin))
  redis.call('HSET', run_key(run), 'status', 'queued', 'enqueued_at', NOW.iso)
  redis.call('ZREM', K .. 'held', run)
  redis.call('ZREM', P .. ':deferred:' .. origin, run)
  return true
end

-- The run waits outside of every queue: `held` is ours, RQ shows it as deferred.
local function hold(run, origin, order)
  redis.call('HSET', run_key(run), 'status', 'deferred')
  redis.call('ZADD', K .. 'held', order, run)
  redis.call('ZADD', P .. ':deferred:' .. origin, NOW.seconds, run)
  redis.call('SADD', P .. ':queues', queue_key(origin))
end

-- `run` waits for the end of `other`. kind  after: only success opens.   line: any end does (overlap).
local function gate(run, other, kind)
  redis.call('HSET', K .. 'gates:' .. run, other, kind)
  redis.call('SADD', K .. 'gated:' .. other, run)
end

-- A run of the job that was decided before this one and has not ended, that of the latest instant; nil if there is none.
-- Every active run is asked for its place in line: runs by hand are not decided in the order of their instants.
local function before_in_line(job, run)
  local mine = tonumber(redis.call('HGET', run_key(run), 'order') or '0')
  for _, other in ipairs(redis.call('ZREVRANGE', K .. 'active:' .. job, 0, -1)) do
    local order = tonumber(redis.call('HGET', run_key(other), 'order') or '0')
    if order < mine and other ~= run and live_status(other) then return other end
  end
  return nil
end

-- A run of the group has stopped running: the one that has waited longest goes to its queue, where the start
-- script counts again.
local function leave_group(run, group)
  if not group or group == '' then return end
  redis.call('ZREM', K .. 'waiting:' .. group, run)
  if redis.call('SREM', K .. 'group:' .. group, run) == 0 then return end
  while true do
    local following = redis.call('ZPOPMIN', K .. 'waiting:' .. group)[1]
    if not following then return end
    if live_status(following) == 'deferred' and push(following) then return end
  end
end

-- Nothing is held by this run any more: not its job's overlap, not its group.
local function close(run, job, outcome)
  local at = redis.call('ZSCORE', K .. 'active:' .. job, run)
  redis.call('ZREM', K .. 'active:' .. job, run)
  leave_group(run, redis.call('HGET', K .. 'open', run))
  redis.call('HDEL', K .. 'open', run)
  redis.call('HINCRBY', K .. 'ended', job .. '|' .. outcome, 1)
  note_change(job)
  if at and redis.call('ZREM', K .. 'past:' .. job, at .. '|' .. run .. '|') == 1 then
    redis.call('ZADD', K .. 'past:' .. job, at, at .. '|' .. run .. '|' .. outcome)
  end
end

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

-- Ended runs stay readable within bounds per job; older ones are dropped, a few at most a call. The newest stays.
local function remember(run, job)
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
    if count <= bounds().runs and total <= bounds().bytes and status then break end
    redis.call('RPOP', history)
    forget_size(sizes, old)
    total, count = tonumber(redis.call('HGET', sizes, '')), count - 1
    -- A person may have queued an ended run again: it lives, and comes back here at its next end.
    if not status or is_final(status) then
      for _, registry in ipairs({':finished:', ':failed:', ':canceled:'}) do
        if origin then redis.call('ZREM', P .. registry .. origin, old) end
      end
      redis.call('DEL', run_key(old), P .. ':results:' .. old, P .. ':executions:' .. old)
    end
  end
end

-- The run ends without having been started, or between two attempts: replaced, removed, predecessor, deadline.
-- What waits for it is put on `todo`.
local function end_unstarted(run, reason, todo)
  local job, origin, at, attempt, manual =
    unpack(redis.call('HMGET', run_key(run), 'job', 'origin', 'at', 'attempt', 'manual'))
  local exists = origin ~= false
  job = job or job_of(run)
  at = at or redis.call('ZSCORE', K .. 'active:' .. job, run) or '0'
  for _, other in ipairs(redis.call('HKEYS', K .. 'gates:' .. run)) do
    redis.call('SREM', K .. 'gated:' .. other, run)
  end
  redis.call('DEL', K .. 'gates:' .. run)
  redis.call('ZREM', K .. 'held', run)
  if exists then
    -- A place of the wrong kind does not hold the run, and must not keep it from ending: it could be queued later.
    redis.pcall('LREM', queue_key(origin), 1, run)
    redis.pcall('ZREM', P .. ':scheduled:' .. origin, run)
    redis.pcall('ZREM', P .. ':deferred:' .. origin, run)
    redis.call('HSET', run_key(run), 'status', 'canceled', 'execution', '', 'ended_at', NOW.iso, 'outcome', reason)
    redis.call('EXPIRE', run_key(run), bounds().seconds)
    redis.call('EXPIRE', P .. ':results:' .. run, bounds().seconds)
    redis.call('ZADD', P .. ':canceled:' .. origin, NOW.seconds, run)
    remember(run, job)
  else
    -- Which queue it was of went with the hash.
    for _, queue in ipairs(redis.call('SMEMBERS', P .. ':queues')) do
      redis.call('ZREM', P .. ':deferred:' .. string.sub(queue, #queue_key('') + 1), run)
    end
    redis.call('EXPIRE', P .. ':results:' .. run, bounds().seconds)
  end
  -- The log first, for an error there leaves everything to be done again.
  local by_hand = is_by_hand(run, manual)
  local entry = {'decision', 'ended', 'first', at, 'last', at, 'count', 1, 'reason', reason,
    'run', run, 'epoch', redis.call('HGET', K .. 'fence', 'epoch') or '0', 'by', BY}
  if by_hand then
    entry[#entry + 1] = 'manual'
    entry[#entry + 1] = '1'
  end
  if WHO ~= '' then
    entry[#entry + 1] = 'who'
    entry[#entry + 1] = WHO
  end
  log_decision(job, KEEP.log, entry)
  if not attempt and not by_hand and reason ~= 'replaced' and reason ~= 'stopped' then
    redis.call('HINCRBY', K .. 'missed', job .. '|' .. reason, 1)
    note_change(job)
  end
  close(run, job, reason)
  todo[#todo + 1] = {run = run, outcome = reason}
end

-- The last gate of a held run is open: it is queued, unless its deadline has passed meanwhile.
local function release(run, todo)
  local status, deadline, job, at =
    unpack(redis.call('HMGET', run_key(run), 'status', 'deadline_at', 'job', 'at'))
  if status ~= 'deferred' then return end
  if deadline and now_ms() > tonumber(deadline) * 1000 then
    return end_unstarted(run, 'deadline', todo)
  end
  if not push(run) then return end
  log_decision(job, KEEP.log, {'decision', 'released', 'first', at, 'last', at, 'count', 1, 'reason', '',
    'run', run, 'epoch', redis.call('HGET', K .. 'fence', 'epoch') or '0', 'by', BY})
end

-- One gate of a held run: its predecessor has ended like this.
local function open_gate(run, other, outcome, todo)
  local gates = K .. 'gates:' .. run
  local kind = redis.call('HGET', gates, other)
  redis.call('HDEL', gates, other)
  if not kind then return end
  if kind == 'after' and outcome ~= 'success' then return end_unstarted(run, 'predecessor', todo) end
  if kind == 'line' then
    local ahead = before_in_line(redis.call('HGET', run_key(run), 'job') or job_of(run), run)
    if ahead then return gate(run, ahead, 'line') end
  end
  if redis.call('EXISTS', gates) == 0 then release(run, todo) end
end

-- Every run on `todo` has ended: what waits for them goes on or ends too, transitively, in decision order.
local function settle(todo)
  local i = 1
  while todo[i] do
    local one = todo[i]
    local gated = K .. 'gated:' .. one.run
    local waiting = redis.call('SMEMBERS', gated)
    if #waiting > 0 then
      redis.call('DEL', gated)
      local order = {}
      for _, run in ipairs(waiting) do order[run] = tonumber(redis.call('ZSCORE', K .. 'held', run) or '0') end
      table.sort(waiting, function(a, b) return order[a] < order[b] or (order[a] == order[b] and a < b) end)
      for _, run in ipairs(waiting) do open_gate(run, one.run, one.outcome, todo) end
    end
    i = i + 1
  end
end

-- The job's runs that are decided and not ended, oldest first. What somebody deleted or canceled holds nothing up.
local function live_runs(job)
  local live = {}
  for _, run in ipairs(redis.call('ZRANGE', K .. 'active:' .. job, 0, -1)) do
    local status = live_status(run)
    if status then live[#live + 1] = {run = run, status = status} end
  end
  return live
end

-- The run's attempt is to end as `why`. The field is durable and read with each heartbeat; RQ's own command makes it
-- quick.
local function tell_to_stop(run, why)
  redis.call('HSET', run_key(run), 'stop', why)
  local worker = redis.call('HGET', run_key(run), 'worker_name')
  if worker then
    redis.call('PUBLISH', P .. ':pubsub:' .. worker, cjson.encode({command = 'stop-job', job_id = run}))
  end
end

-- Ends or stops the job's older runs; the one that has to end before the new one may start, or nil.
local function replace(live)
  local started, todo = nil, {}
  for _, old in ipairs(live) do
    if old.status == 'started' then
      started = old.run
      tell_to_stop(old.run, 'replaced')
    else
      end_unstarted(old.run, 'replaced', todo)
    end
  end
  settle(todo)
  return started
end

-- Whether the job, or every job, is paused at `now`, in milliseconds. Mostly nothing is, so that is asked first, once.
local any_paused
local function is_paused(job, now)
  if any_paused == nil then any_paused = redis.call('HLEN', K .. 'paused') > 0 end
  if not any_paused then return false end
  for _, until_ms in ipairs(redis.call('HMGET', K .. 'paused', '*', job)) do
    if until_ms and (until_ms == '0' or tonumber(until_ms) > now) then return true end
  end
  return false
end

-- A run that could not be made whole is taken away again. None of it may fail in turn.
local function unmake(run, job, origin)
  local gates = redis.pcall('HKEYS', K .. 'gates:' .. run)
  for _, other in ipairs(gates) do redis.pcall('SREM', K .. 'gated:' .. other, run) end
  for _, command in ipairs({{'DEL', run_key(run)}, {'ZREM', K .. 'active:' .. job, run}, {'HDEL', K .. 'open', run},
                            {'ZREM', K .. 'held', run}, {'DEL', K .. 'gates:' .. run},
                            {'ZREM', P .. ':deferred:' .. origin, run}}) do
    redis.pcall(unpack(command))
  end
end

-- The run is over for good after an attempt: its outcome becomes the job's last, and what it held is released.
local function finish(run, job, outcome, ended_at, duration)
  local stats = K .. 'stats:' .. job
  redis.call('HSET', stats, 'last_run_at', ended_at, 'last_outcome', outcome)
  if duration ~= '' then redis.call('HSET', stats, 'last_duration', duration) end
  if outcome == 'success' then
    redis.call('HSET', stats, 'last_success_at', ended_at)
    redis.call('HDEL', stats, 'failing')
  elseif outcome ~= 'replaced' then
    redis.call('HSET', stats, 'failing', run)  -- until the next success, which is then a recovery
  end
  close(run, job, outcome)
  remember(run, job)
  settle({{run = run, outcome = outcome}})
end

-- What was claimed and not started goes back to the heads of its queues, in its old order; put on `returned`. A run or
-- a queue of the wrong kind keeps its claim as it is, and nobody else's.
local function give_back(claims, returned)
  while true do
    local run = redis.call('LINDEX', claims, -1)
    if not run or not is_kind(run_key(run), 'hash') then return end
    local queue = queue_of(run)
    if queue and redis.call('HGET', run_key(run), 'status') == 'queued' then
      if not is_kind(queue, 'list') then return end
      redis.call('LMOVE', claims, queue, 'RIGHT', 'LEFT')
      returned[#returned + 1] = run
    else
      redis.call('RPOP', claims)
    end
  end
end

-- A run that nobody can read or verify is written down for a person to look at; the newest thousand are kept.
local function quarantine(run, note)
  redis.call('XADD', K .. 'quarantine', 'MAXLEN', '~', 1000, '*', 'run', run, 'note', note, 'at', NOW.iso, 'by', BY)
end

-- Takes away the traces of one execution. What remains of the attempt is its entry in RQ's results.
local function forget_execution(run, execution, origin, worker)
  redis.call('ZREM', P .. ':wip:' .. origin, run .. ':' .. execution)
  redis.call('DEL', P .. ':execution:' .. run .. ':' .. execution)
  redis.call('ZREM', P .. ':executions:' .. run, execution)
  redis.call('SREM', P .. ':worker:' .. worker .. ':executions', run .. ':' .. execution)
  leave_group(run, redis.call('HGET', K .. 'open', run))
end

-- The place in line of a run by hand: after every decision so far, and after the runs by hand since the last of them.
-- Decisions are counted without it, for the count says whether Redis has lost any.
local function order_by_hand()
  local through, at, count = unpack(redis.call('HMGET', K .. 'fence', 'through', 'hand_at', 'hand_count'))
  through = through or '0'
  count = at == through and tonumber(count) + 1 or 1
  redis.call('HSET', K .. 'fence', 'hand_at', through, 'hand_count', count)
  return string.format('%s.%06d', through, count)
end

-- What somebody has done by hand is counted, and written down with who did it, whatever job it was about.
local function note_act(action, job, run, detail)
  redis.call('HINCRBY', K .. 'acted', action, 1)
  redis.call('XADD', K .. 'acts', 'MAXLEN', '~', 1000, '*', 'action', action, 'job', job, 'run', run, 'detail', detail,
    'who', WHO, 'at', NOW.iso)
end

-- The same in the job's own log.
local function log_act(decision, job, run, at, reason, by)
  log_decision(job, KEEP.log, {'decision', decision, 'first', at, 'last', at, 'count', 1, 'reason', reason, 'run', run,
    'epoch', redis.call('HGET', K .. 'fence', 'epoch') or '0', 'by', by, 'who', WHO})
end
