-- What an operator requests of the leader, from the request to the answer. A request lives as long as its hash, whose ttl
-- the operator's command chose; it is decided by the leader meanwhile (create_manual_runs.lua), once, or withdrawn.
-- Everything may be repeated.
-- requires: clock, fencing, keys
-- ARGV: prefix, action, then
--   put       id body signature ttl_ms   by the operator.   Answers {'PUT', ms since a leader was seen, or ''}, {'FULL'}
--   read      id                         by the operator.   Answers {'WAITING'}, {'DECIDING'}, {'GONE'},
--                                        {'ANSWERED', item...} or {'REFUSED', code, message, hint, item...}: the items
--                                        are of runs that had been made before it had to be refused
--   withdraw  id                         by the operator: as read, and {'WITHDRAWN'} where nobody has begun to decide it
--   next      epoch lease max_bytes      by the leader.  Answers {'OK', id, state, body, signature}, {'OK', ''} where there
--                                        is none, {'MORE'} where it has only removed what is no request
--   refuse    epoch lease id code message hint           by the leader.  Answers {'OK'}
-- The leader's two are refused with FENCED, LOST.
local action, list = ARGV[2], K .. 'requests'
local ANSWER_MS = 600000  -- an answer can be read for so long
local MOST = 1000         -- requests that wait at once

local function key_of(id) return K .. 'request:' .. id end

local function answer_of(id)
  local key, list = key_of(id), K .. 'answer:' .. id
  local items = is_kind(list, 'list') and redis.call('LRANGE', list, 0, -1) or {}
  local state = redis.call('HGET', key, 'state')
  if state == 'answered' then return {'ANSWERED', unpack(items)} end
  if state == 'refused' then
    local out = {'REFUSED', unpack(redis.call('HMGET', key, 'code', 'message', 'hint'))}
    for _, item in ipairs(items) do out[#out + 1] = item end
    return out
  end
  if state == 'deciding' then return {'DECIDING'} end
  return {redis.call('EXISTS', key) == 1 and 'WAITING' or 'GONE'}
end

local function refuse(id, code, message, hint)
  redis.call('LREM', list, 0, id)
  local state = redis.call('HGET', key_of(id), 'state')
  if redis.call('EXISTS', key_of(id)) == 0 or state == 'answered' or state == 'refused' then return end
  redis.call('HSET', key_of(id), 'state', 'refused', 'code', code, 'message', message, 'hint', hint)
  redis.call('PEXPIRE', key_of(id), ANSWER_MS)
end

if action == 'put' then
  local id = ARGV[3]
  if redis.call('LLEN', list) >= MOST then return {'FULL'} end
  local seen = redis.call('HGET', K .. 'fence', 'seen')
  if redis.call('EXISTS', key_of(id)) == 0 then
    redis.call('HSET', key_of(id), 'body', ARGV[4], 'signature', ARGV[5])
    redis.call('PEXPIRE', key_of(id), ARGV[6])
    redis.call('RPUSH', list, id)
    redis.call('PEXPIRE', list, ANSWER_MS)
    redis.call('PUBLISH', K .. 'asked', id)
  end
  return {'PUT', seen and string.format('%.0f', now_ms() - tonumber(seen)) or ''}
end

if action == 'read' then return answer_of(ARGV[3]) end

if action == 'withdraw' then
  local now = answer_of(ARGV[3])
  if now[1] ~= 'WAITING' and now[1] ~= 'GONE' then return now end
  redis.call('LREM', list, 0, ARGV[3])
  redis.call('DEL', key_of(ARGV[3]))
  return {'WITHDRAWN'}
end

local refusal = refusal_of(tonumber(ARGV[3]), ARGV[4])
if refusal then return refusal end

if action == 'next' then
  for _ = 1, 100 do
    local id = redis.call('LINDEX', list, 0)
    if not id then return {'OK', ''} end
    local key = key_of(id)
    local is_one = #id == 32 and string.find(id, '^%x+$') and is_kind(key, 'hash') and redis.call('EXISTS', key) == 1
    local state = is_one and redis.call('HGET', key, 'state')
    if not is_one or (state and state ~= 'deciding') then
      redis.call('LPOP', list)  -- no request, or one that has expired or was answered
    elseif redis.call('HSTRLEN', key, 'body') > tonumber(ARGV[5]) or redis.call('HSTRLEN', key, 'signature') > 128 then
      -- Whoever can write to Redis could put anything there: what is too large is never sent to the leader.
      refuse(id, 'request-too-large', 'the request is larger than ' .. ARGV[5] .. ' bytes', '')
    else
      return {'OK', id, state or '', unpack(redis.call('HMGET', key, 'body', 'signature'))}
    end
  end
  return {'MORE'}
end

if action == 'refuse' then
  refuse(ARGV[5], ARGV[6], ARGV[7], ARGV[8])
  return {'OK'}
end

return redis.error_reply('manual_request.lua: unknown action ' .. action)
