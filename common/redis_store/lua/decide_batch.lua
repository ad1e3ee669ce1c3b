-- Decides a batch of occurrences, each exactly once (spec: reliability.md section 4). Repeated, it finds every cursor
-- moved and says so.
-- requires: batch_writes, clock, context, decide_occurrence, fencing, keys
-- ARGV: prefix, epoch, lease, holder, through, now_iso, log_limit, count, shared count,
--   then for each table of fields that many runs' hashes share   name nfields field value ...
--   then for each decision the arguments named below, and as many fields and values of the run's own as the last says.
-- through      the number of decisions that the leader knows of; Redis having fewer has lost writes.
-- Answers {'OK', through, verdict, detail, verdict, detail, ...}, {'FENCED' | 'LOST', what, stored}.
--
-- The arguments of a decision, as scheduler/decisions/dispatcher.py sends them (a test reads both):
-- kind         queue: one occurrence becomes a run.   skip: first_at..last_at become entries "not queued", with a reason.
--              move: the cursor is set and logged, nothing is decided (first sight, edited job).
--              complete: the cursor gets the timing that it lacks, and stays where it is; not logged.
--              drop: the cursor is removed (the job is gone); its runs are cancelled where they say so.
-- believed     the cursor as the leader knows it, '' for none: compared and set, never "at least".
-- first_at, last_at, count  instants in seconds since the epoch, and how many they are.
-- fields       of move and complete, the cursor's timing (common/runs/timing.py).
-- policy       '' or a JSON object: concurrency, max_running, group, limit, watched (others come after this job),
--              after = [[job, its cursor as the leader believes it], ...], deadline (seconds since the epoch), front.
-- Plain locals, not a table: the loop below reads them for each decision.
local KIND, JOB, BELIEVED, CURSOR, FIRST_AT, LAST_AT, COUNT, REASON, RUN, QUEUE, POLICY, SHARED_FIELDS, NFIELDS =
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
local WIDTH = 13

local floor, ndecisions, nshared = tonumber(ARGV[5]), tonumber(ARGV[8]), tonumber(ARGV[9])
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local before = tonumber(redis.call('HGET', K .. 'fence', 'through') or '0')
if before < floor then return {'LOST', 'through', tostring(before)} end
local wrong = wrong_key({[K .. 'cursor'] = 'hash', [K .. 'missed'] = 'hash', [K .. 'open'] = 'hash', [K .. 'held'] = 'zset',
                         [K .. 'groups'] = 'hash', [K .. 'paused'] = 'hash', [K .. 'timing'] = 'hash',
                         [P .. ':queues'] = 'set'})
if wrong then return redis.error_reply(wrong) end

local now = now_ms()
local ctx = new_context(ARGV[4], ARGV[6], string.format('%.3f', now / 1000))
ctx.epoch, ctx.log_limit, ctx.through, ctx.now_ms = ARGV[2], tonumber(ARGV[7]), before, now

local out = {'OK', ''}
function ctx.fail(item, reason)
  undo_decision(ctx, item, reason)
  out[item.place], out[item.place + 1] = 'ERROR', reason
end

local at = 10
for _ = 1, nshared do
  local nfields = tonumber(ARGV[at + 1])
  define_shared_fields(ARGV[at], at + 2, at + 1 + nfields)
  at = at + 2 + nfields
end

local start, jobs = at, {}
for i = 1, ndecisions do
  jobs[i] = ARGV[at + JOB]
  at = at + WIDTH + tonumber(ARGV[at + NFIELDS])
end
read_cursors(jobs)

local NO_POLICY = {}
at = start
for i = 1, ndecisions do
  local nfields = tonumber(ARGV[at + NFIELDS])
  local job, run, policy, queue = ARGV[at + JOB], ARGV[at + RUN], ARGV[at + POLICY], ARGV[at + QUEUE]
  local item = {kind = ARGV[at + KIND], job = job, believed = ARGV[at + BELIEVED], cursor = ARGV[at + CURSOR],
                first_at = ARGV[at + FIRST_AT], last_at = ARGV[at + LAST_AT], count = ARGV[at + COUNT],
                reason = ARGV[at + REASON], run = run, queue = queue, has_policy = policy ~= '', policy = NO_POLICY,
                shared_fields = ARGV[at + SHARED_FIELDS], fields_from = at + WIDTH, fields_to = at + WIDTH - 1 + nfields,
                log_key = K .. 'log:' .. job, active_key = K .. 'active:' .. job,
                queue_key = queue_key(queue), run_key = run_key(run),
                place = 2 * i + 1, has_moved = false, recorded = false, pushed_to = false}
  at = at + WIDTH + nfields
  if item.has_policy then item.policy = cjson.decode(policy) end
  local ok, verdict, detail = pcall(decide_occurrence, ctx, item)
  if not ok then
    detail = type(verdict) == 'table' and verdict['err'] or tostring(verdict)
    verdict = 'ERROR'
    if not item.has_moved then detail = wrong_kind(item) or detail end
    undo_decision(ctx, item, detail)
  end
  out[item.place] = verdict
  out[item.place + 1] = detail
  if is_batch_full() then flush_batch(ctx.fail) end
end
flush_batch(ctx.fail)
drop_shared_fields()
if ctx.through > before then redis.call('HINCRBY', K .. 'fence', 'through', ctx.through - before) end
out[2] = tostring(ctx.through)
return out
