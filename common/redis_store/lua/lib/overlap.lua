-- concurrency=replace: the newer run takes the place of the older ones.
-- requires: gates, run_end, stop_signal

-- Ends or stops the job's older runs. Answers the one that has to end before the new one may start, or nil.
local function replace_runs(ctx, live)
  local started, todo = nil, {}
  for _, old in ipairs(live) do
    if old.status == 'started' then
      started = old.run
      signal_stop(old.run, 'replaced')
    else
      end_unstarted(ctx, old.run, 'replaced', todo)
    end
  end
  settle(ctx, todo)
  return started
end
