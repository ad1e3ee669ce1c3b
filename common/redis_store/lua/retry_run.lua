-- Queues an ended run anew. Repeated, it answers LIVE.
-- requires: context, operator_target, retry
-- ARGV: prefix, who, now_iso, now_seconds, run, again, force.
-- again  1: a success too.   force  1: in no line, even if its job allows no overlap.
-- Answers {'QUEUED'}, {'HELD'}, {'OVERLAP', run}, {'SUCCEEDED'}, {'LIVE', status}, {'UNKNOWN'}, or {'FOREIGN'} for a run of
-- RQ's that no job of ours has.
local ctx = new_context(ARGV[2], ARGV[3], ARGV[4])
ctx.who = ARGV[2]
demand_shared_kinds()
return retry_ended(ctx, 'retry', ARGV[5], ARGV[6] == '1', ARGV[7] == '1')
