-- What is remembered of a job besides its runs, and how it goes once the job has left the files. `removed` names the jobs
-- that are gone and not yet forgotten: nobody has to scan for them, and whoever leads next goes on.
-- requires: clock, history_limits, keys

-- The keys of a job that have no expiry while it is in the files.
local REMEMBERED = {'log:', 'stats:', 'history:', 'sizes:', 'past:'}

-- The job is gone: what is remembered of it outlives it as long as its failed runs do, and its counts until
-- housekeeping has seen that none of its runs is open (forget_jobs.lua). A job that comes later under its name is another,
-- and nobody has paused that.
local function note_removal(ctx, job)
  for _, name in ipairs(REMEMBERED) do redis.call('EXPIRE', K .. name .. job, limits_of(ctx).seconds) end
  redis.call('HDEL', K .. 'paused', job)
  redis.call('HSET', K .. 'removed', job, string.format('%.0f', now_ms() / 1000))
end

-- A run of the job has ended. Its end may be what makes these keys anew, long after the job is gone.
local function note_end_of(ctx, job)
  if redis.call('HEXISTS', K .. 'cursor', job) == 0 then note_removal(ctx, job) end
end

-- The job has got a cursor, for the first time or again.
local function keep_memory(job)
  for _, name in ipairs(REMEMBERED) do redis.call('PERSIST', K .. name .. job) end
  redis.call('HDEL', K .. 'removed', job)
end
