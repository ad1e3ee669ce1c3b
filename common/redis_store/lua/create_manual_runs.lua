-- Creates manual runs: a trigger's, or a part of a backfill's, oldest instant first. Repeated, it changes nothing: a trigger
-- is answered in one call, and of a backfill the request says how far it came.
-- requires: clock, context, decision_log, fencing, gates, keys, line, live_runs, manual_order, operator_log, overlap, pauses
-- requires: run_state, unmake
-- ARGV: prefix, epoch, lease, holder, now_iso, log_limit, request, action, who, force, dry, last, detail, count, start,
--   then for each run   job scheduled_at run queue policy nfields field value ...
-- force    1: neither overlap nor a pause holds it up, and what has succeeded is run again.
-- dry      1: what would be done is answered, and nothing is.
-- last     1 where no further part follows: the request is answered then.
-- start    the place of the first of these runs among the request's.
-- policy   a JSON object: concurrency, max_running, group, limit, front, suspended, after = [runs of the same request],
--          and of a backfill `instant`, the run id of the occurrence at that instant: runs stand in one line then, unless
--          the job allows overlap.
-- Answers {'OK', runs created so far}, {'MORE'} where the same has to be sent again (a run replaces more than one call may
-- end; what was created is known), {'GONE'} (withdrawn, expired or answered), {'FENCED' | 'LOST', what, stored}. Each
-- run's verdict is an item of the request's answer: queued, held, refused, succeeded, live (it has a run that has not
-- ended), planned, known or error.
local holder, now_iso, log_limit, id, action, who = unpack(ARGV, 4, 9)
local force, dry, is_last, detail = ARGV[10] == '1', ARGV[11] == '1', ARGV[12] == '1', ARGV[13]
local count, start = tonumber(ARGV[14]), tonumber(ARGV[15])
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local request, answer = K .. 'request:' .. id, K .. 'answer:' .. id
local KEPT_MS = 3600000  -- a request that is being decided, or was, cannot be decided anew for so long
local wrong = wrong_key({[K .. 'open'] = 'hash', [K .. 'held'] = 'zset', [K .. 'groups'] = 'hash', [K .. 'paused'] = 'hash',
                         [K .. 'acted'] = 'hash', [K .. 'acts'] = 'stream', [request] = 'hash', [answer] = 'list',
                         [P .. ':queues'] = 'set'})
if wrong then return redis.error_reply(wrong) end
local state, through, made = unpack(redis.call('HMGET', request, 'state', 'through', 'made'))
if redis.call('EXISTS', request) == 0 or (state and state ~= 'deciding') then
  redis.call('LREM', K .. 'requests', 0, id)
  return {'GONE'}
end
through, made = tonumber(through or '-inf') or -math.huge, tonumber(made or '0')

local now = now_ms()
local ctx = new_context(holder, now_iso, string.format('%.3f', now / 1000))
ctx.log_limit, ctx.who = tonumber(log_limit), who

-- Which instants of a job have succeeded, by the ids of their occurrences, as far as its runs are remembered.
local successes = {}
local function successes_of(job)
  if successes[job] then return successes[job] end
  local found = {}
  for _, run in ipairs(redis.call('LRANGE', K .. 'history:' .. job, 0, 1999)) do
    if redis.call('HGET', run_key(run), 'outcome') == 'success' then found[string.gsub(run, '%-m%x+$', '')] = true end
  end
  successes[job] = found
  return found
end

-- How the item's instant went: a run that has not ended counts most, then a success.
local function past_of(item)
  local instant = item.policy.instant
  local open = redis.call('ZRANGEBYSCORE', K .. 'active:' .. item.job, item.scheduled_at, item.scheduled_at, 'LIMIT', 0, 100)
  for _, run in ipairs(open) do
    if string.gsub(run, '%-m%x+$', '') == instant and live_status(run) then return 'live' end
  end
  return successes_of(item.job)[instant] and 'succeeded' or nil
end

-- Why the run's keys cannot be written; nil when they can.
local function wrong_item_key(item)
  for key, kind in pairs({[K .. 'log:' .. item.job] = 'stream', [K .. 'active:' .. item.job] = 'zset',
                          [queue_key(item.queue)] = 'list', [item.key] = 'hash'}) do
    if not is_kind(key, kind) then return key .. ' is not a ' .. kind end
  end
  return nil
end

local verdicts = {}  -- of this call's runs: what comes after one that is refused is refused

-- What the run has to wait for: true and the gates, or false and why it may not be created.
local function gates_of(item, before)
  local policy, gates = item.policy, {}
  for _, other in ipairs(policy.after or {}) do
    local verdict = verdicts[other]
    if verdict == nil and live_status(other) then verdict = 'queued' end  -- created by an earlier call
    local has_succeeded = verdict == nil and redis.call('HGET', run_key(other), 'outcome') == 'success'
    if not has_succeeded then
      if verdict ~= 'queued' and verdict ~= 'held' then return false, 'predecessor' end
      gates[#gates + 1] = {other, 'after'}
    end
  end
  local concurrency = policy.concurrency or 'allow'
  if concurrency == 'allow' then return true, gates end
  if policy.instant and before and live_status(before) then
    gates[#gates + 1] = {before, 'line'}
    return true, gates
  end
  local ahead = newest_live(ctx, item.job)
  if not policy.instant then
    if force or not ahead then return true, gates end
    if concurrency == 'forbid' then return false, 'overlap' end
    if concurrency == 'queue' and has_more_live(ctx, item.job, policy.max_running) then return false, 'overlap' end
    if concurrency == 'replace' then
      local is_all
      is_all, ahead = replace_runs(ctx, item.job)
      if not is_all then error('MORE', 0) end
    end
  end
  if ahead then gates[#gates + 1] = {ahead, 'line'} end
  return true, gates
end

local function create(item, before)
  local policy = item.policy
  if policy.instant and not force then
    local past = past_of(item)
    if past then return past, '' end
  end
  if not force and (policy.suspended or is_paused(ctx, item.job, now)) then return 'refused', 'suspended' end
  if dry then return 'planned', '' end
  if redis.call('EXISTS', item.key) == 1 then return 'known', '' end
  local wrong = wrong_item_key(item)
  if wrong then return 'error', wrong end
  local may, gates = gates_of(item, before)
  if not may then return 'refused', gates end
  if policy.group then redis.call('HSET', K .. 'groups', policy.group, policy.limit) end
  log_run(ctx, 'triggered', item.job, item.run, item.scheduled_at, #gates > 0 and 'held' or '', {'who', ctx.who})
  item.is_logged = true
  local order = next_manual_order()
  redis.call('HSET', item.key, 'enqueued_at', ctx.now_iso, 'order', order, 'manual', '1', 'who', ctx.who, 'request', id,
    unpack(ARGV, item.fields_from, item.fields_to))
  if policy.front then redis.call('HSET', item.key, 'front', '1') end
  redis.call('ZADD', K .. 'active:' .. item.job, item.scheduled_at, item.run)
  if policy.concurrency then join_line(item.job, item.run, order) end
  redis.call('HSET', K .. 'open', item.run, policy.group or '')
  redis.call('SADD', P .. ':queues', queue_key(item.queue))
  if #gates > 0 then
    hold(ctx, item.run, item.queue, order)
    for _, gate in ipairs(gates) do add_gate(item.run, gate[1], gate[2]) end
    return 'held', ''
  end
  redis.call(policy.front and 'LPUSH' or 'RPUSH', queue_key(item.queue), item.run)
  return 'queued', ''
end

redis.call('HSET', request, 'state', 'deciding')
redis.call('PEXPIRE', request, KEPT_MS)
local at, before, job = 16, redis.call('HGET', request, 'before'), ''
if before == '' then before = nil end
local answered = redis.call('LLEN', answer)
for i = 1, count do
  local nfields = tonumber(ARGV[at + 5])
  local item = {job = ARGV[at], scheduled_at = ARGV[at + 1], run = ARGV[at + 2], queue = ARGV[at + 3],
                policy = cjson.decode(ARGV[at + 4]), fields_from = at + 6, fields_to = at + 5 + nfields,
                key = run_key(ARGV[at + 2])}
  at = at + 6 + nfields
  if job == '' then job = item.job end
  local is_new
  if action == 'backfill' then is_new = tonumber(item.scheduled_at) > through else is_new = start + i > answered end
  if is_new then
    local ok, verdict, reason = pcall(create, item, before)
    if not ok and verdict == 'MORE' then
      redis.call('PEXPIRE', answer, KEPT_MS)
      return {'MORE'}
    end
    if not ok then
      reason = type(verdict) == 'table' and verdict['err'] or tostring(verdict)
      verdict = 'error'
      if item.is_logged then unmake_run(item.run, item.job, item.queue) end
    end
    verdicts[item.run] = verdict
    if verdict == 'queued' or verdict == 'held' then
      before, made = item.run, made + 1
    end
    redis.call('RPUSH', answer, cjson.encode({job = item.job, at = tonumber(item.scheduled_at), run = item.run,
                                              verdict = verdict, reason = reason}))
    redis.call('HSET', request, 'through', item.scheduled_at, 'made', made, 'before', before or '')
  end
end
redis.call('PEXPIRE', answer, KEPT_MS)
if is_last then
  redis.call('HSET', request, 'state', 'answered')
  redis.call('LREM', K .. 'requests', 0, id)
  if made > 0 then record_act(ctx, action, job, before or '', detail) end
end
return {'OK', tostring(made)}
