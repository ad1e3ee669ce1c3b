-- Repairs runs that nobody may be taking care of (spec: reliability.md section 4): a run whose hash somebody has deleted
-- ends as removed, a gate whose predecessor is over is opened. Repeated, it finds all in order.
-- requires: context, fencing, gates, keys, run_end, run_state
-- ARGV: prefix, epoch, lease, now_iso, now_seconds, then run ids.
-- Answers {'OK', how many of the ids were handled before the call had done enough, what, run, job, ...} with what = removed | opened, or stuck with the error in the place of
-- the job; or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local ctx = new_context('housekeeping', ARGV[4], ARGV[5])
local out, todo = {'OK', '0'}, {}
local function report(what, run, job)
  for _, part in ipairs({what, run, job}) do out[#out + 1] = part end
end

local function repair_gates(run)
  local gates = redis.call('HRANDFIELD', K .. 'gates:' .. run, 100)
  for _, other in ipairs(gates) do
    if not live_status(other) then
      redis.call('SREM', K .. 'gated:' .. other, run)
      open_gate(ctx, run, other, redis.call('HGET', run_key(other), 'outcome') or 'removed', todo)
      report('opened', run, job_of(run))
    end
  end
  return #gates
end

local has_removed = redis.call('HLEN', K .. 'removed') > 0

-- The job has left the files with more runs to cancel than the deciding script may end in one call.
local function is_cancelled(run)
  if not has_removed then return false end
  local job, on_remove = unpack(redis.call('HMGET', run_key(run), 'job', 'on_remove'))
  return on_remove == 'cancel' and job and redis.call('HEXISTS', K .. 'removed', job) == 1
end

local function repair(run)
  local status = live_status(run)
  if not status then
    if redis.call('HEXISTS', K .. 'open', run) == 1 then
      end_unstarted(ctx, run, 'removed', todo)
      report('removed', run, job_of(run))
    end
  elseif status ~= 'started' and is_cancelled(run) then
    end_unstarted(ctx, run, 'removed', todo)
    report('removed', run, job_of(run))
  elseif status == 'deferred' and repair_gates(run) == 0 then
    local group = redis.call('HGET', run_key(run), 'group')
    -- Who waits for room in a group is called up by serve_groups.lua.
    if not group or not redis.call('ZSCORE', K .. 'waiting:' .. group, run) then
      release_held(ctx, run, todo)
      if live_status(run) ~= 'deferred' then report('opened', run, job_of(run)) end
    end
  end
end

-- One run that cannot be put in order must not keep the others from it.
local handled = 0
for i = 6, #ARGV do
  if ctx.left <= 0 then break end
  handled = handled + 1
  local ok, why = pcall(repair, ARGV[i])
  if not ok then report('stuck', ARGV[i], type(why) == 'table' and why['err'] or tostring(why)) end
end
settle(ctx, todo)
out[2] = tostring(handled)
return out
