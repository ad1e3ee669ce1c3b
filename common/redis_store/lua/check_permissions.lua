-- Checks that this connection's user may do what the scripts do, before anything depends on it: a script that meets a
-- command or a key that it may not touch fails half-way, and what it has written stays (spec: reliability.md section 4).
-- Writes to keys named kuber-cron-probe and removes them; atomic, so nobody sees. Repeated, it checks again.
-- requires: keys
-- A test holds that each command of each script is tried here.
-- ARGV: prefix.   Answers a sentence for each refusal.
local out = {}
local name = 'kuber-cron-probe'
local function try(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply['err'] then out[#out + 1] = command .. ' ' .. key .. ': ' .. reply['err'] end
end

local hash, list, set = K .. name, queue_key(name), K .. name .. ':set'
try('HSET', hash, 'a', '1')
try('HGET', hash, 'a')
try('HMGET', hash, 'a', 'b')
try('HGETALL', hash)
try('HKEYS', hash)
try('HLEN', hash)
try('HSTRLEN', hash, 'a')
try('HEXISTS', hash, 'a')
try('HRANDFIELD', hash, 1)
try('HINCRBY', hash, 'a', 1)
try('HSETNX', hash, 'b', '1')
try('HDEL', hash, 'b')
try('RPUSH', list, name)
try('LPUSH', list, name)
try('LLEN', list)
try('LINDEX', list, 0)
try('LINSERT', list, 'AFTER', name, name)
try('LRANGE', list, 0, -1)
try('LREM', list, 1, name)
try('LPOP', list)
try('LMOVE', list, K .. 'claims:' .. name, 'LEFT', 'RIGHT')
try('RPOP', K .. 'claims:' .. name)
try('SADD', set, 'a')
try('SMEMBERS', set)
try('SCARD', set)
try('SISMEMBER', set, 'a')
try('SRANDMEMBER', set, 1)
try('SPOP', set, 1)
try('SREM', set, 'a')
try('SET', K .. 'alive:' .. name, '1', 'PX', 1000)
try('GET', K .. 'alive:' .. name)
try('XADD', K .. 'log:' .. name, 'MAXLEN', '~', 1, '*', 'a', '1')
try('XLEN', K .. 'log:' .. name)
try('XREVRANGE', K .. 'log:' .. name, '+', '-', 'COUNT', 1)
try('XRANGE', K .. 'log:' .. name, '-', '+')
try('XDEL', K .. 'log:' .. name, '0-1')
try('TYPE', hash)
try('EXISTS', hash)
try('EXPIRE', hash, 10)
try('PEXPIRE', hash, 10000)
try('PERSIST', hash)
try('TTL', hash)
try('PUBLISH', P .. ':pubsub:' .. name, '')
try('SADD', P .. ':queues', name)
try('SREM', P .. ':queues', name)
try('HSET', run_key(name), 'a', '1')
try('COPY', hash, run_key(name))
for _, registry in ipairs({':wip:', ':scheduled:', ':deferred:', ':finished:', ':failed:', ':canceled:', ':executions:'}) do
  try('ZADD', P .. registry .. name, 1, name)
  try('ZRANGEBYSCORE', P .. registry .. name, '-inf', '+inf')
  try('ZREM', P .. registry .. name, name)
end
local sorted = K .. 'active:' .. name
try('ZADD', sorted, 1, name)
try('ZCARD', sorted)
try('ZRANGE', sorted, 0, -1)
try('ZREVRANGEBYSCORE', sorted, '+inf', '-inf')
try('ZREVRANGE', sorted, 0, -1)
try('ZSCORE', sorted, name)
try('ZREMRANGEBYRANK', sorted, 0, 0)
try('ZPOPMIN', sorted)
try('XADD', P .. ':results:' .. name, '*', 'a', '1')
try('HSET', P .. ':execution:' .. name, 'a', '1')
try('SADD', P .. ':worker:' .. name .. ':executions', 'a')
try('RENAME', hash, K .. 'aside:' .. name)
try('DEL', K .. 'aside:' .. name, list, set, run_key(name), sorted, K .. 'claims:' .. name, K .. 'alive:' .. name,
    K .. 'log:' .. name, P .. ':results:' .. name, P .. ':execution:' .. name, P .. ':worker:' .. name .. ':executions')
return out
