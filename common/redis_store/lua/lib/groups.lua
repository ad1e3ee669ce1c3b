-- Groups: how many runs of several jobs may run at once (spec: reliability.md section 4).
-- requires: keys, run_state

-- The run has stopped running: of its group the run that has waited longest goes to its queue, where start_attempt
-- counts again.
local function release_group_place(ctx, run, group)
  if not group or group == '' then return end
  redis.call('ZREM', K .. 'waiting:' .. group, run)
  if redis.call('SREM', K .. 'group:' .. group, run) == 0 then return end
  while true do
    local following = redis.call('ZPOPMIN', K .. 'waiting:' .. group)[1]
    if not following then return end
    if live_status(following) == 'deferred' and push_held(ctx, following) then return end
  end
end
