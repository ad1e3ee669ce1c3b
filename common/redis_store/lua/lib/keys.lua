-- The names of keys, as common/redis_store/keys.py documents them, and their kinds. ARGV[1] is RQ's key prefix. KEYS[1]
-- is the fence, declared so that a proxy or an ACL sees where a script writes; every key that a script finds by itself
-- stays under the prefix (spec: reliability.md section 4).
local P = ARGV[1]
local K = P .. ':kuber-cron:'

local function run_key(run) return P .. ':job:' .. run end
local function queue_key(name) return P .. ':queue:' .. name end

-- True where `key` is absent or of `kind`. Asked before anything is written, because a script that fails half-way is not
-- undone.
local function is_kind(key, kind)
  local found = redis.call('TYPE', key)['ok']
  return found == 'none' or found == kind
end

-- Why one of these keys (key → kind) cannot be written: the text of an error; nil where each can.
local function wrong_key(kinds)
  for key, kind in pairs(kinds) do
    if not is_kind(key, kind) then return 'WRONGKIND ' .. key .. ' is not a ' .. kind end
  end
  return nil
end
