-- How a running attempt learns that it has to end.
-- requires: keys

-- The run's attempt is to end as `reason`. The field is durable and read with each heartbeat; RQ's own command makes it
-- quick.
local function signal_stop(run, reason)
  redis.call('HSET', run_key(run), 'stop', reason)
  local worker = redis.call('HGET', run_key(run), 'worker_name')
  if worker then
    redis.call('PUBLISH', P .. ':pubsub:' .. worker, cjson.encode({command = 'stop-job', job_id = run}))
  end
end
