-- One heartbeat for a worker and all its executions (spec: reliability.md section 6, Heartbeats). Repeated, it extends
-- them again.
-- requires: keys, signs_of_life
-- ARGV: prefix, worker, ttl_ms, now_iso, now_seconds, then run, execution pairs.
-- Raises the worker's counter (lib/signs_of_life.lua). Extends what this worker still owns. The claim list is returned for a day after the last heartbeat.
-- Answers the counter, then for each pair 'OK', 'GONE' (the run is another's), 'ABSENT' (nobody has it: there is no such
-- hash) or 'STOP'.
local worker, ttl, now_iso, now_seconds = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local count = count_sign(worker, ttl)
-- For a leader of the version before, which judges by this key's expiry.
redis.call('SET', K .. 'alive:' .. worker, now_iso, 'PX', ttl)
-- Each time: the leader may have removed the worker, or Redis may have lost it, while it was cut off.
redis.call('SADD', K .. 'claims', worker)
local out = {count}
for i = 6, #ARGV, 2 do
  local run, execution = ARGV[i], ARGV[i + 1]
  local key = run_key(run)
  local owner, stop = unpack(redis.call('HMGET', key, 'execution', 'stop'))
  if owner ~= execution then
    out[#out + 1] = redis.call('EXISTS', key) == 1 and 'GONE' or 'ABSENT'
  else
    local execution_key = P .. ':execution:' .. run .. ':' .. execution
    redis.call('HSET', execution_key, 'id', execution, 'job_id', run, 'last_heartbeat', now_seconds, 'worker_name', worker)
    redis.call('HSETNX', execution_key, 'created_at', now_seconds)
    redis.call('PEXPIRE', execution_key, ttl)
    redis.call('HSET', key, 'last_heartbeat', now_iso)
    out[#out + 1] = stop and stop ~= '' and 'STOP' or 'OK'
  end
end
return out
