-- Gives back what dead workers had claimed and not started, in its old order and without spending a retry.
-- ARGV: prefix, epoch, lease, claims worker names...   Answers {'OK', run, ...}, or FENCED, LOST.
local refused = fenced(tonumber(ARGV[2]), ARGV[3])
if refused then return refused end
local out = {'OK'}
for i = 4, #ARGV do
  local worker = ARGV[i]
  local claims = K .. 'claims:' .. worker
  if redis.call('EXISTS', K .. 'alive:' .. worker) == 0 then
    while true do
      local run = redis.call('LINDEX', claims, -1)
      if not run then break end
      -- A run or a queue of the wrong kind keeps its claim as it is, and nobody else's.
      if not is_kind(run_key(run), 'hash') then break end
      local queue = queue_of(run)
      if queue and redis.call('HGET', run_key(run), 'status') == 'queued' then
        if not is_kind(queue, 'list') then break end
        redis.call('LMOVE', claims, queue, 'RIGHT', 'LEFT')
        out[#out + 1] = run
      else
        redis.call('RPOP', claims)
      end
    end
    -- A claim that was sent before the worker died may still arrive: its list is looked at for a day more.
    if redis.call('EXISTS', K .. 'seen:' .. worker, claims) == 0 then redis.call('SREM', K .. 'claims', worker) end
  end
end
return out
