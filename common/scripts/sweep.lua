-- The leader's look at runs that nobody may be taking care of (spec: reliability.md section 4): a run whose hash
-- somebody has deleted ends as removed, a gate whose predecessor is over is opened, a group with room is served.
-- ARGV: prefix, epoch, lease, now_iso, now_seconds, history_limit, failure_ttl, then run ids to look at.
-- Answers {'OK', what, run, job, ...} with what = removed | opened | served, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
NOW = {iso = ARGV[4], seconds = ARGV[5]}
KEEP.history, KEEP.ttl, BY = tonumber(ARGV[6]), tonumber(ARGV[7]), 'housekeeping'
local out, todo = {'OK'}, {}
local function tell(what, run, job)
  out[#out + 1] = what
  out[#out + 1] = run
  out[#out + 1] = job or ''
end

local function look_at_gates(run)
  local gates = redis.call('HKEYS', K .. 'gates:' .. run)
  for _, other in ipairs(gates) do
    local status, outcome = unpack(redis.call('HMGET', run_key(other), 'status', 'outcome'))
    local is_over = not status or status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled'
    if is_over then
      redis.call('SREM', K .. 'gated:' .. other, run)
      open_gate(run, other, status and outcome or 'removed', todo)
      tell('opened', run, job_of(run))
    end
  end
  return #gates
end

local groups = {}
for i = 8, #ARGV do
  local run = ARGV[i]
  local status, group = unpack(redis.call('HMGET', run_key(run), 'status', 'group'))
  if not status then
    if redis.call('HEXISTS', K .. 'open', run) == 1 then
      end_unstarted(run, 'removed', todo)
      tell('removed', run, job_of(run))
    end
  elseif status == 'deferred' and look_at_gates(run) == 0 then
    if not group or group == '' then
      release(run, todo)
      tell('opened', run, job_of(run))
    else
      groups[group] = true
    end
  end
end
settle(todo)

for group in pairs(groups) do
  local members, waiting = K .. 'group:' .. group, K .. 'waiting:' .. group
  for _, run in ipairs(redis.call('SMEMBERS', members)) do
    if redis.call('HGET', run_key(run), 'status') ~= 'started' then redis.call('SREM', members, run) end
  end
  local room = tonumber(redis.call('HGET', K .. 'groups', group) or '1') - redis.call('SCARD', members)
  for _ = 1, room do
    local run = redis.call('ZPOPMIN', waiting)[1]
    if not run then break end
    if redis.call('HGET', run_key(run), 'status') == 'deferred' then
      push(run)
      tell('served', run, job_of(run))
    end
  end
end
return out
