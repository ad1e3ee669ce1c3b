-- The open runs of a job, by which its overlap is judged.
-- requires: keys, run_state

-- The job's runs that are decided and not ended, oldest first. What somebody deleted or canceled holds nothing up.
local function live_runs(job)
  local live = {}
  for _, run in ipairs(redis.call('ZRANGE', K .. 'active:' .. job, 0, -1)) do
    local status = live_status(run)
    if status then live[#live + 1] = {run = run, status = status} end
  end
  return live
end
