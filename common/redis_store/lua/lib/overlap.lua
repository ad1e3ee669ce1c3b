-- concurrency=replace: the newer run takes the place of the older ones.
-- requires: gates, keys, live_runs, run_end, run_state, stop_signal

-- Ends or stops the job's older runs, oldest first, as many as this call may. Answers true where those are all, and the one
-- that has to end before the new one may start, or nil. Else the same has to be asked for again: each call gets further.
local function replace_runs(ctx, job)
  local active = K .. 'active:' .. job
  local count, runs = redis.call('ZCARD', active), redis.call('ZRANGE', active, 0, most_asked(ctx) - 1)
  local is_all, started, ended, todo = #runs == count, nil, 0, {}
  for _, old in ipairs(runs) do
    ctx.asks = ctx.asks - 1
    local status = live_status(old)
    if status == 'started' then
      started = old
      if redis.call('HGET', run_key(old), 'stop') ~= 'replaced' then signal_stop(old, 'replaced') end
    elseif status then
      -- Two in any case, or one job with many could keep the others of its batch waiting.
      if ended >= 2 and ctx.left <= 0 then
        is_all = false
        break
      end
      ended = ended + 1
      end_unstarted(ctx, old, 'replaced', todo)
    end
  end
  settle(ctx, todo)
  return is_all, started
end
