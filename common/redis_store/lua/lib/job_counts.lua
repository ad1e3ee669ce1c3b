-- The counts of a job that the leader exports. They outlive it, so they are kept here.
-- requires: keys

-- The leader reads this job's numbers again soon (scheduler/maintenance/redis_observer.py). It reads every job's now and
-- then: a mark that cannot be set costs freshness, and never a decision or an end.
local function note_change(job)
  redis.pcall('SADD', K .. 'changed', job)
end

local function count_missed(job, reason, count)
  redis.call('HINCRBY', K .. 'missed', job .. '|' .. reason, count)
  note_change(job)
end

local function count_ended(job, outcome)
  redis.call('HINCRBY', K .. 'ended', job .. '|' .. outcome, 1)
  note_change(job)
end
