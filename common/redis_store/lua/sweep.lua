-- The leader's look at runs that nobody may be taking care of (spec: reliability.md section 4): a run whose hash
-- somebody has deleted ends as removed, a gate whose predecessor is over is opened, a group with room is served.
-- ARGV: prefix, epoch, lease, now_iso, now_seconds, then run ids to look at.
-- Answers {'OK', what, run, job, ...} with what = removed | opened | served, or stuck with the error in the place of
-- the job; or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
NOW = {iso = ARGV[4], seconds = ARGV[5]}
BY = 'housekeeping'
local out, todo = {'OK'}, {}
local function tell(what, run, job)
  out[#out + 1] = what
  out[#out + 1] = run
  out[#out + 1] = job or ''
end

local function look_at_gates(run)
  local gates = redis.call('HKEYS', K .. 'gates:' .. run)
  for _, other in ipairs(gates) do
    if not live_status(other) then
      redis.call('SREM', K .. 'gated:' .. other, run)
      open_gate(run, other, redis.call('HGET', run_key(other), 'outcome') or 'removed', todo)
      tell('opened', run, job_of(run))
    end
  end
  return #gates
end

local groups = {}
local function look_at(run)
  local status = live_status(run)
  if not status then
    if redis.call('HEXISTS', K .. 'open', run) == 1 then
      end_unstarted(run, 'removed', todo)
      tell('removed', run, job_of(run))
    end
  elseif status == 'deferred' and look_at_gates(run) == 0 then
    local group = redis.call('HGET', run_key(run), 'group')
    if group and redis.call('ZSCORE', K .. 'waiting:' .. group, run) then
      groups[group] = true
    else
      release(run, todo)
      if live_status(run) ~= 'deferred' then tell('opened', run, job_of(run)) end
    end
  end
end

-- One run that cannot be put in order must not keep the others from it.
for i = 6, #ARGV do
  local ok, why = pcall(look_at, ARGV[i])
  if not ok then tell('stuck', ARGV[i], type(why) == 'table' and why['err'] or tostring(why)) end
end
settle(todo)

for group in pairs(groups) do
  local members, waiting = K .. 'group:' .. group, K .. 'waiting:' .. group
  for _, run in ipairs(redis.call('SMEMBERS', members)) do
    if redis.call('HGET', run_key(run), 'status') ~= 'started' then redis.call('SREM', members, run) end
  end
  local room = tonumber(redis.call('HGET', K .. 'groups', group) or '1') - redis.call('SCARD', members)
  for _ = 1, room do
    local run = redis.call('ZRANGE', waiting, 0, 0)[1]
    if not run then break end
    redis.call('ZREM', waiting, run)
    if live_status(run) == 'deferred' and push(run) then tell('served', run, job_of(run)) end
  end
end
return out
