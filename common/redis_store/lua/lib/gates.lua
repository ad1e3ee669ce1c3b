-- Gates: what a held run waits for, and how it goes on (spec: reliability.md section 4, Overlap and Chains).
-- requires: clock, decision_log, keys, line, run_end, run_state

-- `run` waits for the end of `other`. kind  after: only success opens.   line: any end does (overlap).
local function add_gate(run, other, kind)
  redis.call('HSET', K .. 'gates:' .. run, other, kind)
  redis.call('SADD', K .. 'gated:' .. other, run)
end

-- The last gate of a held run is open: it is queued, unless its deadline has passed meanwhile.
local function release_held(ctx, run, todo)
  local status, deadline_at, job, scheduled_at =
    unpack(redis.call('HMGET', run_key(run), 'status', 'deadline_at', 'job', 'at'))
  if status ~= 'deferred' then return end
  if deadline_at and now_ms() > tonumber(deadline_at) * 1000 then
    return end_unstarted(ctx, run, 'deadline', todo)
  end
  ctx.left = ctx.left - 1
  if not push_held(ctx, run) then return end
  log_run(ctx, 'released', job, run, scheduled_at, '')
end

-- One gate of a held run: its predecessor `other` has ended with `outcome`.
local function open_gate(ctx, run, other, outcome, todo)
  local gates = K .. 'gates:' .. run
  local kind = redis.call('HGET', gates, other)
  redis.call('HDEL', gates, other)
  if not kind then return end
  if kind == 'after' and outcome ~= 'success' then return end_unstarted(ctx, run, 'predecessor', todo) end
  if kind == 'line' then
    local ahead = before_in_line(redis.call('HGET', run_key(run), 'job') or job_of(run), run)
    if ahead then return add_gate(run, ahead, 'line') end
  end
  if redis.call('EXISTS', gates) == 0 then release_held(ctx, run, todo) end
end

-- Takes runs that wait for this one, which has ended: all of them in decision order, or some where there are more than this
-- call may release. The others wait for repair_runs, which finds that theirs has ended.
local function take_waiting(ctx, ended)
  local gated = K .. 'gated:' .. ended
  local count = redis.call('SCARD', gated)
  if count == 0 or ctx.left <= 0 then return {} end
  local waiting = redis.call('SPOP', gated, math.min(count, ctx.left))
  ctx.left = ctx.left - #waiting
  local order = {}
  for _, run in ipairs(waiting) do order[run] = tonumber(redis.call('ZSCORE', K .. 'held', run) or '0') end
  table.sort(waiting, function(a, b) return order[a] < order[b] or (order[a] == order[b] and a < b) end)
  return waiting
end

-- Every run on `todo` has ended: what waits for them goes on or ends too, transitively.
local function settle(ctx, todo)
  local i = 1
  while todo[i] do
    local ended = todo[i]
    for _, run in ipairs(take_waiting(ctx, ended.run)) do open_gate(ctx, run, ended.run, ended.outcome, todo) end
    i = i + 1
  end
end
