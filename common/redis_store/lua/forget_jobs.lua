-- Forgets jobs that have left the files, once none of their runs is open: pause and counts are removed, and every key of
-- theirs that was left without an expiry gets one. Repeated, it finds nothing more of them.
-- requires: context, fencing, clock, history_limits, job_memory, keys
-- ARGV: prefix, epoch, lease, number of words, the words of counts (skip reasons and outcomes) ..., jobs ...
-- A job that has a cursor is not gone. Counts stay for AGE seconds after the last end, so that the leader has read them.
-- Answers {'OK', job, ...} with the jobs that are forgotten now, or FENCED, LOST.
local AGE = 10
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local removed, nwords, out = K .. 'removed', tonumber(ARGV[4]), {'OK'}
local ctx, now = new_context('housekeeping', '', ''), now_ms() / 1000

local function forget_counts(job)
  local fields = {}
  for i = 5, 4 + nwords do fields[#fields + 1] = job .. '|' .. ARGV[i] end
  if #fields > 0 then
    redis.call('HDEL', K .. 'missed', unpack(fields))
    redis.call('HDEL', K .. 'ended', unpack(fields))
  end
  redis.call('HDEL', K .. 'lost', job)
end

for i = 5 + nwords, #ARGV do
  local job = ARGV[i]
  local since = redis.call('HGET', removed, job)
  if redis.call('HEXISTS', K .. 'cursor', job) == 1 then
    redis.call('HDEL', removed, job)
  elseif redis.call('EXISTS', K .. 'active:' .. job) == 0 then
    if not since then
      -- Left by an older version, or by a script that failed half-way.
      note_removal(ctx, job)
    elseif now - (tonumber(since) or 0) >= AGE then
      for _, name in ipairs(REMEMBERED) do
        if redis.call('TTL', K .. name .. job) == -1 then redis.call('EXPIRE', K .. name .. job, limits_of(ctx).seconds) end
      end
      redis.call('HDEL', K .. 'paused', job)
      forget_counts(job)
      redis.call('HDEL', removed, job)
      out[#out + 1] = job
    end
  end
end
return out
