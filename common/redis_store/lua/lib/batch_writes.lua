-- The writes of a batch of decisions, made once for many of them. An optimisation and nothing else: the rules
-- (lib/decide_occurrence.lua) can be read as if each write were made at once.
-- requires: keys
--
-- The cursors, `open`, what is forgotten of the past and the pushes of plain runs are gathered and written by flush_batch:
-- at the end, and before any decision that reads them. Nobody can look in between, because a script is one step to
-- everybody else, to a replica and to the append-only file. Cursor and log still come before the push. None of these
-- writes can fail by kind (asked for at the start; nothing here changes one) or for want of memory (Redis refuses that to
-- a script's first write only, which is the fence's); each can by a right that was taken away. Each decision that a
-- failed write stood for has failed, and its run is taken away again: never half of one.

-- job, cursor, ...; run, group, ...; keys; runs by their queue's key. `gathered` are the items that hang on all that.
local moved, opened, forgotten, queues, pushes, gathered = {}, {}, {}, {}, {}, {}
-- Job → where in `moved` its newest cursor stands.
local moved_at = {}

-- Every cursor that the batch asks for, in one call; move_cursor keeps them as this batch has set them meanwhile.
local cursors = {}
local function read_cursors(jobs)
  for from = 1, #jobs, 1000 do
    local part = {unpack(jobs, from, math.min(from + 999, #jobs))}
    for i, cursor in ipairs(redis.call('HMGET', K .. 'cursor', unpack(part))) do cursors[part[i]] = cursor or '' end
  end
end

local function cursor_of(job)
  if not cursors[job] then read_cursors({job}) end
  return cursors[job]
end

-- The item's cursor is the new one from here on, for this batch at once and for all others with the next flush.
local function gather_cursor(item)
  item.has_moved = true
  cursors[item.job] = item.cursor
  moved[#moved + 1] = item.job
  moved[#moved + 1] = item.cursor
  moved_at[item.job] = #moved
  gathered[#gathered + 1] = item
end

-- The job's cursor is this one, at once; '' for none.
local function write_cursor(job, cursor)
  if cursor == '' then
    redis.call('HDEL', K .. 'cursor', job)
  else
    redis.call('HSET', K .. 'cursor', job, cursor)
  end
  cursors[job] = cursor
  if moved_at[job] then moved[moved_at[job]] = cursor end
end

local function move_cursor(item)
  write_cursor(item.job, item.cursor)
  item.has_moved = true
end

-- Nothing was decided after all: the cursor is again the one that the item has found.
local function unmove_cursor(item)
  write_cursor(item.job, item.believed)
  item.has_moved = false
end

-- The job has no cursor from here on. To be called right after a flush.
local function remove_cursor(item)
  write_cursor(item.job, '')
  item.has_moved = true
end

local function forget_past(job) forgotten[#forgotten + 1] = K .. 'past:' .. job end

-- The run of a job without a policy is open, and stands in its queue.
local function push_plain(item)
  opened[#opened + 1] = item.run
  opened[#opened + 1] = ''
  local queue = pushes[item.queue_key]
  if not queue then
    queue = {}
    pushes[item.queue_key] = queue
    queues[#queues + 1] = item.queue_key
  end
  queue[#queue + 1] = item.run
  item.pushed_to = queue
end

local function write_cursors()
  if #moved > 0 then redis.call('HSET', K .. 'cursor', unpack(moved)) end
end

local function write_gathered()
  if #opened > 0 then redis.call('HSET', K .. 'open', unpack(opened)) end
  if #forgotten > 0 then redis.call('DEL', unpack(forgotten)) end
end

local function fail_gathered(fail, err, queue)
  local reason = type(err) == 'table' and err['err'] or tostring(err)
  for _, item in ipairs(gathered) do
    if not queue or item.pushed_to == queue then fail(item, reason) end
  end
end

-- All that was gathered is written. `fail` is called with each item whose write failed, and with the reason: the items
-- of one queue's push, all that were gathered otherwise. Where the cursors were refused none has moved.
local function flush_batch(fail)
  local can_move, refused = pcall(write_cursors)
  if not can_move then
    for _, item in ipairs(gathered) do
      item.has_moved = false
      cursors[item.job] = nil  -- to be read again
    end
  end
  local ok, err = can_move, refused
  if ok then ok, err = pcall(write_gathered) end
  if not ok then
    fail_gathered(fail, err)
  else
    for _, key in ipairs(queues) do
      local reply = redis.pcall('RPUSH', key, unpack(pushes[key]))
      if type(reply) == 'table' then fail_gathered(fail, reply, pushes[key]) end
    end
  end
  moved, opened, forgotten, queues, pushes, gathered, moved_at = {}, {}, {}, {}, {}, {}, {}
end

-- As many as `unpack` can put on the stack at once, with room to spare.
local function is_batch_full() return #forgotten >= 1000 or #moved >= 2000 end

-- Fields that the hashes of many runs share are sent once (scheduler/decisions/shapes.py) and copied: two thirds of the
-- fields are shared, and as arguments of each run they would cost a third of what the hash does, in here and in the
-- append-only file.
local shared, made = {}, {}
local function define_shared_fields(name, from, to) shared[name] = {from = from, to = to} end

local function shared_key(ctx, name)
  local fields = shared[name]
  if not fields.key then
    fields.key = K .. 'shape:' .. name
    made[#made + 1] = fields.key
    redis.call('DEL', fields.key)
    redis.call('HSET', fields.key, 'created_at', ctx.now_iso, 'enqueued_at', ctx.now_iso,
      unpack(ARGV, fields.from, fields.to))
  end
  return fields.key
end

-- The run's hash: a copy of the fields it shares, then those of its own.
local function write_run(ctx, item)
  redis.call('COPY', shared_key(ctx, item.shared_fields), item.run_key)
  redis.call('HSET', item.run_key, 'order', ctx.through, 'job', item.job, 'at', item.first_at,
    unpack(ARGV, item.fields_from, item.fields_to))
end

local function drop_shared_fields()
  if #made > 0 then redis.call('DEL', unpack(made)) end
end

-- Why the item's queue cannot be written, nil where it can. Asked once a batch, and made known to RQ; by a command that
-- answers with a number, because TYPE makes a table of each answer.
local known_queues = {}
local function wrong_queue(item)
  if known_queues[item.queue_key] then return nil end
  if type(redis.pcall('LLEN', item.queue_key)) == 'table' then return item.queue_key .. ' is not a list' end
  redis.call('SADD', P .. ':queues', item.queue_key)
  known_queues[item.queue_key] = true
  return nil
end
