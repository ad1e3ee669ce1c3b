-- Pauses a job, or resumes it. Repeated, it sets the pause again, or finds the job running.
-- requires: clock, context, decision_log, keys, operator_log, operator_target
-- ARGV: prefix, who, now_iso, now_seconds, action, job (* for every job), then
--   pause    until_ms detail   0: until it is resumed.   Answers {'PAUSED'}
--   resume                     Answers {'RESUMED', 1 where every job is paused}, {'RUNNING', the same} where it was not
-- and {'UNKNOWN'} for a job that is not known.
local ctx = new_context(ARGV[2], ARGV[3], ARGV[4])
ctx.who = ARGV[2]
local action, job = ARGV[5], ARGV[6]
if action ~= 'pause' and action ~= 'resume' then
  return redis.error_reply('pause_job.lua: unknown action ' .. action)
end
demand_shared_kinds()
if job ~= '*' then
  if redis.call('HEXISTS', K .. 'cursor', job) == 0 then return {'UNKNOWN'} end
  demand_kinds({[K .. 'log:' .. job] = 'stream'})
end

-- Pauses that have ended by themselves matter to nobody any more.
local function forget_past_pauses()
  local now, found = now_ms(), redis.call('HRANDFIELD', K .. 'paused', 500, 'WITHVALUES')
  for i = 1, #found, 2 do
    local until_ms = tonumber(found[i + 1]) or 0
    if until_ms ~= 0 and until_ms <= now then redis.call('HDEL', K .. 'paused', found[i]) end
  end
end

local function log_pause(decision, detail)
  local second = string.format('%.0f', math.floor(now_ms() / 1000))
  if job ~= '*' then log_run(ctx, decision, job, '', second, detail, {'who', ctx.who}) end
end

forget_past_pauses()
if action == 'pause' then
  local until_ms, detail = ARGV[7], ARGV[8]
  log_pause('paused', detail)
  redis.call('HSET', K .. 'paused', job, until_ms)
  record_act(ctx, 'pause', job, '', detail)
  return {'PAUSED'}
end
local was_paused = redis.call('HDEL', K .. 'paused', job) == 1
local is_all_paused = job ~= '*' and redis.call('HEXISTS', K .. 'paused', '*') == 1 and '1' or ''
if not was_paused then return {'RUNNING', is_all_paused} end
log_pause('resumed', '')
record_act(ctx, 'resume', job, '', '')
return {'RESUMED', is_all_paused}
