-- Takes a run out of the quarantine, with its records. Repeated, it answers UNKNOWN.
-- requires: context, keys, operator_log, operator_target, retry, run_state
-- ARGV: prefix, who, now_iso, now_seconds, action, run.
--   release  the run is queued anew.   Answers as retry_run, and {'ASIDE'}: it is no run
--   drop     what was put aside for it is removed too.   Answers {'DROPPED'}
-- and {'UNKNOWN'} for a run that has no record.
local ctx = new_context(ARGV[2], ARGV[3], ARGV[4])
ctx.who = ARGV[2]
local action, run = ARGV[5], ARGV[6]
if action ~= 'release' and action ~= 'drop' then
  return redis.error_reply('quarantine_action.lua: unknown action ' .. action)
end
demand_shared_kinds()

local records = {}
for _, entry in ipairs(redis.call('XRANGE', K .. 'quarantine', '-', '+')) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'run' and entry[2][i + 1] == run then records[#records + 1] = entry[1] end
  end
end
local function forget_records()
  for _, record in ipairs(records) do redis.call('XDEL', K .. 'quarantine', record) end
end
if #records == 0 then return {'UNKNOWN'} end

if action == 'release' then
  if redis.call('EXISTS', K .. 'aside:' .. run) == 1 then return {'ASIDE'} end
  local reply = retry_ended(ctx, 'release', run, true, false)
  if reply[1] == 'QUEUED' or reply[1] == 'HELD' then forget_records() end
  return reply
end
forget_records()
redis.call('DEL', K .. 'aside:' .. run)
local job = is_kind(run_key(run), 'hash') and redis.call('HGET', run_key(run), 'job') or job_of(run)
record_act(ctx, 'drop', job or '', run, '')
return {'DROPPED'}
