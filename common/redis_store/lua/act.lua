-- What a person does to a run or a job by hand and no leader has to decide: one act a call, which may be repeated.
-- ARGV: prefix, action, who, now_iso, now_seconds, then
--   stop     run             a run that waits ends as stopped; one that runs is told to, durably.
--                            {'STOPPED', status before}, {'STOPPING', worker, 1 where it had been told before}
--   retry    run again force a run that has ended is queued anew with all its budgets, or waits in line where its job allows
--                            no overlap. again: a success too. force: in no line. {'QUEUED'}, {'HELD'}, {'OVERLAP', run},
--                            {'SUCCEEDED'}, {'LIVE', status}
--   pause    job until_ms detail    job or *; 0: until it is resumed.   {'PAUSED'}
--   resume   job             {'RESUMED', 1 where every job is paused}, {'RUNNING', the same} where it was not paused
--   release  run             the run leaves the quarantine and is queued anew.   As retry, and {'ASIDE'}: it is no run
--   drop     run             its records leave the quarantine, and what was put aside for it.   {'DROPPED'}
-- and {'UNKNOWN'} for a run or job that is not known, {'FOREIGN'} for a run of RQ's that no job of ours has,
-- {'OVER', status, outcome} for one that has ended.
local action, target = ARGV[2], ARGV[6]
WHO = ARGV[3]
NOW, BY = {iso = ARGV[4], seconds = ARGV[5]}, WHO
local key = run_key(target)

local function demand(name, kind)
  if not is_kind(name, kind) then error('WRONGKIND ' .. name .. ' is not a ' .. kind, 0) end
end
for name, kind in pairs({open = 'hash', held = 'zset', paused = 'hash', acted = 'hash', acts = 'stream'}) do
  demand(K .. name, kind)
end

-- Why nothing can be done with this run, or nil.
local function unfit()
  if not is_kind(key, 'hash') or redis.call('HEXISTS', key, 'status') == 0 then return {'UNKNOWN'} end
  if redis.call('HEXISTS', key, 'job') == 0 then return {'FOREIGN'} end
  local job, origin = unpack(redis.call('HMGET', key, 'job', 'origin'))
  demand(K .. 'log:' .. job, 'stream')
  demand(K .. 'active:' .. job, 'zset')
  demand(K .. 'history:' .. job, 'list')
  demand(queue_key(origin or 'default'), 'list')
  return nil
end

local function stop()
  local why = unfit()
  if why then return why end
  local status, stored = live_status(target), redis.call('HMGET', key, 'status', 'outcome', 'stop', 'job', 'at', 'worker_name')
  if not status then return {'OVER', stored[1], stored[2] or ''} end
  if status == 'started' then
    if stored[3] and stored[3] ~= '' then return {'STOPPING', stored[6] or '', '1'} end
    redis.call('HSET', key, 'stopped_by', WHO)
    log_act('stopping', stored[4], target, stored[5] or '0', '', WHO)
    note_act('stop', stored[4], target, '')
    tell_to_stop(target, 'stopped')
    return {'STOPPING', stored[6] or '', ''}
  end
  local todo = {}
  redis.call('HSET', key, 'stopped_by', WHO)
  end_unstarted(target, 'stopped', todo)
  settle(todo)
  note_act('stop', stored[4], target, '')
  return {'STOPPED', status}
end

-- `act` is what it is counted as: retry, or release where it leaves the quarantine.
local function retry(act, again, force)
  local why = unfit()
  if why then return why end
  local job, origin, at, group, concurrency, outcome, status =
    unpack(redis.call('HMGET', key, 'job', 'origin', 'at', 'group', 'concurrency', 'outcome', 'status'))
  origin, at, outcome = origin or 'default', at or '0', outcome or ''
  if not is_final(status) or live_status(target) or redis.call('HEXISTS', K .. 'open', target) == 1 then
    return {'LIVE', status}
  end
  if outcome == 'success' and not again then return {'SUCCEEDED'} end
  local live = {}
  if concurrency and concurrency ~= 'allow' and not force then live = live_runs(job) end
  if #live > 0 and concurrency == 'forbid' then return {'OVERLAP', live[#live].run} end
  local registries = {':finished:', ':failed:', ':canceled:'}
  for _, registry in ipairs(registries) do demand(P .. registry .. origin, 'zset') end

  -- One that was stopped while a worker had claimed it stands in that worker's list yet.
  for _, worker in ipairs(redis.call('SMEMBERS', K .. 'claims')) do
    redis.pcall('LREM', K .. 'claims:' .. worker, 0, target)
  end
  log_act('retried', job, target, at, #live > 0 and 'held' or '', WHO)
  for _, registry in ipairs(registries) do redis.call('ZREM', P .. registry .. origin, target) end
  redis.call('LREM', K .. 'history:' .. job, 0, target)
  forget_size(K .. 'sizes:' .. job, target)
  local order = order_by_hand()
  redis.call('HSET', key, 'status', 'queued', 'enqueued_at', NOW.iso, 'ended_at', '', 'outcome', '', 'stop', '',
    'recovering', '', 'retried', 0, 'lost', 0, 'interrupted', 0, 'manual', '1', 'who', WHO, 'order', order)
  -- Somebody wants it now, whenever it was due.
  redis.call('HDEL', key, 'deadline_at')
  redis.call('PERSIST', key)
  redis.call('PERSIST', P .. ':results:' .. target)
  redis.call('ZADD', K .. 'active:' .. job, at, target)
  redis.call('HSET', K .. 'open', target, group or '')
  -- What comes after the job is decided by how it goes now.
  local past = K .. 'past:' .. job
  if is_kind(past, 'zset') and redis.call('ZREM', past, at .. '|' .. target .. '|' .. outcome) == 1 then
    redis.call('ZADD', past, at, at .. '|' .. target .. '|')
  end
  note_act(act, job, target, '')
  if #live > 0 then
    hold(target, origin, order)
    for _, one in ipairs(live) do gate(target, one.run, 'line') end
    return {'HELD'}
  end
  push(target)
  return {'QUEUED'}
end

local function is_known(job)
  return job == '*' or redis.call('HEXISTS', K .. 'cursor', job) == 1
end

-- Pauses that have ended by themselves are no business of anybody's any more.
local function forget_pauses()
  local now, found = now_ms(), redis.call('HGETALL', K .. 'paused')
  for i = 1, #found, 2 do
    local until_ms = tonumber(found[i + 1]) or 0
    if until_ms ~= 0 and until_ms <= now then redis.call('HDEL', K .. 'paused', found[i]) end
  end
end

local function log_pause(word, job, detail)
  local second = string.format('%.0f', math.floor(now_ms() / 1000))
  if job ~= '*' then log_act(word, job, '', second, detail, WHO) end
end

local function pause(until_ms, detail)
  if not is_known(target) then return {'UNKNOWN'} end
  if target ~= '*' then demand(K .. 'log:' .. target, 'stream') end
  forget_pauses()
  log_pause('paused', target, detail)
  redis.call('HSET', K .. 'paused', target, until_ms)
  note_act('pause', target, '', detail)
  return {'PAUSED'}
end

local function resume()
  if not is_known(target) then return {'UNKNOWN'} end
  if target ~= '*' then demand(K .. 'log:' .. target, 'stream') end
  forget_pauses()
  local was_paused = redis.call('HDEL', K .. 'paused', target) == 1
  local all = target ~= '*' and redis.call('HEXISTS', K .. 'paused', '*') == 1 and '1' or ''
  if not was_paused then return {'RUNNING', all} end
  log_pause('resumed', target, '')
  note_act('resume', target, '', '')
  return {'RESUMED', all}
end

local function records()
  local found = {}
  for _, entry in ipairs(redis.call('XRANGE', K .. 'quarantine', '-', '+')) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'run' and entry[2][i + 1] == target then found[#found + 1] = entry[1] end
    end
  end
  return found
end

local function forget_records(found)
  for _, entry in ipairs(found) do redis.call('XDEL', K .. 'quarantine', entry) end
end

local function release()
  local found = records()
  if #found == 0 then return {'UNKNOWN'} end
  if redis.call('EXISTS', K .. 'aside:' .. target) == 1 then return {'ASIDE'} end
  local word = retry('release', true, false)
  if word[1] == 'QUEUED' or word[1] == 'HELD' then forget_records(found) end
  return word
end

local function drop()
  local found = records()
  if #found == 0 then return {'UNKNOWN'} end
  forget_records(found)
  redis.call('DEL', K .. 'aside:' .. target)
  local job = is_kind(key, 'hash') and redis.call('HGET', key, 'job') or job_of(target)
  note_act('drop', job or '', target, '')
  return {'DROPPED'}
end

if action == 'stop' then return stop() end
if action == 'retry' then return retry('retry', ARGV[7] == '1', ARGV[8] == '1') end
if action == 'pause' then return pause(ARGV[7], ARGV[8]) end
if action == 'resume' then return resume() end
if action == 'release' then return release() end
if action == 'drop' then return drop() end
return redis.error_reply('act.lua: unknown action ' .. action)
