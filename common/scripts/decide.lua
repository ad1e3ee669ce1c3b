-- Decides a batch of occurrences, each exactly once (spec: reliability.md section 4).
-- ARGV: prefix, epoch, lease, log_limit, count, then for each item
--   kind job believed cursor first last n reason run queue front concurrency nfields field value ...
-- kind     queue: one occurrence becomes a run.   skip: first..last become entries "not queued", with a reason.
--          move: the cursor is set and logged, nothing is decided (first sight, edited schedule).
--          drop: the cursor is removed (the job is gone).
-- believed the cursor as the leader knows it, '' for none: compared and set, never "at least".
-- first, last, n  instants in seconds since the epoch, and how many they are.
-- Answers {'OK', verdict, detail, verdict, detail, ...} or {'FENCED'|'LOST', stored epoch}.
local epoch, lease, limit, count = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local refused = fenced(epoch, lease)
if refused then return refused end
for key, kind in pairs({[K .. 'cursor'] = 'hash', [K .. 'missed'] = 'hash', [P .. ':queues'] = 'set'}) do
  if not is_kind(key, kind) then return redis.error_reply('WRONGKIND ' .. key .. ' is not a ' .. kind) end
end

local now = now_ms()
local paused_all = redis.call('HGET', K .. 'paused', '*')

local function is_paused(job)
  for _, until_ms in pairs({paused_all, redis.call('HGET', K .. 'paused', job)}) do
    if until_ms and (until_ms == '0' or tonumber(until_ms) > now) then return true end
  end
  return false
end

local function record(item, decision, reason)
  log_decision(item.job, limit, {
    'decision', decision, 'first', item.first, 'last', item.last, 'count', item.n, 'reason', reason,
    'run', decision == 'queued' and item.run or '', 'epoch', ARGV[2], 'by', lease})
  if decision == 'skipped' then
    redis.call('HINCRBY', K .. 'missed', item.job .. '|' .. reason, item.n)
  end
  redis.call('HINCRBY', K .. 'fence', 'through', item.n)
end

local function decide(item)
  local stored = redis.call('HGET', K .. 'cursor', item.job) or ''
  if stored ~= item.believed then return 'MOVED', stored end
  if item.kind == 'drop' then
    redis.call('HDEL', K .. 'cursor', item.job)
    record(item, 'dropped', item.reason)
    return 'DROPPED', ''
  end
  if tonumber(item.last) * 1000 > now + 1000 and item.kind ~= 'move' then return 'EARLY', '' end
  for key, kind in pairs({[K .. 'log:' .. item.job] = 'stream', [K .. 'active:' .. item.job] = 'zset',
                          [item.kind == 'queue' and queue_key(item.queue) or K .. 'cursor'] =
                            item.kind == 'queue' and 'list' or 'hash'}) do
    if not is_kind(key, kind) then return 'ERROR', key .. ' is not a ' .. kind end
  end
  redis.call('HSET', K .. 'cursor', item.job, item.cursor)
  if item.kind == 'move' then
    record(item, 'moved', item.reason)
    return 'MOVE', ''
  end
  if item.kind == 'skip' then
    record(item, 'skipped', item.reason)
    return 'SKIPPED', item.reason
  end
  if is_paused(item.job) then
    record(item, 'skipped', 'suspended')
    return 'SKIPPED', 'suspended'
  end
  if redis.call('EXISTS', run_key(item.run)) == 1 then
    record(item, 'known', 'the run exists')
    return 'KNOWN', item.run
  end
  if item.concurrency == 'forbid' and redis.call('ZCARD', K .. 'active:' .. item.job) > 0 then
    record(item, 'skipped', 'overlap')
    return 'SKIPPED', 'overlap'
  end
  record(item, 'queued', '')
  redis.call('HSET', run_key(item.run), unpack(item.fields))
  redis.call('ZADD', K .. 'active:' .. item.job, item.first, item.run)
  redis.call('SADD', P .. ':queues', queue_key(item.queue))
  redis.call(item.front == '1' and 'LPUSH' or 'RPUSH', queue_key(item.queue), item.run)
  return 'QUEUED', item.run
end

local out, at = {'OK'}, 6
for _ = 1, count do
  local item = {kind = ARGV[at], job = ARGV[at + 1], believed = ARGV[at + 2], cursor = ARGV[at + 3],
                first = ARGV[at + 4], last = ARGV[at + 5], n = ARGV[at + 6], reason = ARGV[at + 7],
                run = ARGV[at + 8], queue = ARGV[at + 9], front = ARGV[at + 10], concurrency = ARGV[at + 11]}
  local nfields = tonumber(ARGV[at + 12])
  item.fields = {}
  for i = 1, nfields do item.fields[i] = ARGV[at + 12 + i] end
  at = at + 13 + nfields
  local ok, verdict, detail = pcall(decide, item)
  if not ok then
    detail = type(verdict) == 'table' and verdict['err'] or tostring(verdict)
    verdict = 'ERROR'
  end
  out[#out + 1] = verdict
  out[#out + 1] = detail
end
return out
