-- Groups: how many runs of several jobs may run at once (spec: reliability.md section 4). The places are the members of a
-- set. Who finds none waits in a line by the order of decisions, and who has waited longest gets the next one.
-- requires: clock, keys, run_state

-- A place is kept so long for a run that has been called up: its queue may be one that no worker serves, and the others
-- must not wait for that.
local PLACE_MS = 10000
-- At most so many of a line that have ended meanwhile are passed over in one call; housekeeping calls again.
local PASSED_OVER = 100

local function has_room(group)
  local limit = tonumber(redis.call('HGET', K .. 'groups', group) or '1')
  return redis.call('SCARD', K .. 'group:' .. group) < limit
end

-- The run that has waited longest has a place from now on, and stands at the head of its queue, where it has been
-- before; behind others of its group that are called up. Answers it, or nil.
local function call_up_next(ctx, group)
  local members = K .. 'group:' .. group
  for _ = 1, PASSED_OVER do
    local following = redis.call('ZPOPMIN', K .. 'waiting:' .. group)[1]
    if not following then return nil end
    if live_status(following) == 'deferred' and push_held(ctx, following, members) then
      redis.call('SADD', members, following)
      redis.call('HSET', run_key(following), 'place_at', string.format('%.0f', now_ms()))
      return following
    end
  end
  return nil
end

-- The run has stopped running, or will not run: its place is the next one's.
local function release_group_place(ctx, run, group)
  if not group or group == '' then return end
  redis.call('ZREM', K .. 'waiting:' .. group, run)
  if redis.call('SREM', K .. 'group:' .. group, run) == 1 and has_room(group) then call_up_next(ctx, group) end
end

-- The run is about to start: true where it has a place, or gets one. It gets none while others wait that were decided
-- before it; those are called up instead, as far as there is room.
local function take_group_place(ctx, run, group, order)
  local members, waiting = K .. 'group:' .. group, K .. 'waiting:' .. group
  if redis.call('SISMEMBER', members, run) == 1 then return true end
  for _ = 1, PASSED_OVER do
    if not has_room(group) then return false end
    local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
    if not first[1] or tonumber(first[2]) >= tonumber(order) or not call_up_next(ctx, group) then break end
  end
  if not has_room(group) then return false end
  redis.call('SADD', members, run)
  return true
end

-- Members that neither run nor are called up have no place: a script has failed half-way, or the run was called up too
-- long ago. At most `most` are asked.
local function drop_idle_members(group, most)
  local members = K .. 'group:' .. group
  for _, run in ipairs(redis.call('SRANDMEMBER', members, most)) do
    local status, place_at = unpack(redis.call('HMGET', run_key(run), 'status', 'place_at'))
    -- Either way: Redis' clock may have been set back since.
    local is_called_up = status == 'queued' and place_at and math.abs(now_ms() - tonumber(place_at)) < PLACE_MS
    if status ~= 'started' and not is_called_up then redis.call('SREM', members, run) end
  end
end
