-- Stops a run: one that waits ends as stopped; the attempt of one that runs is signalled to end, durably. Repeated, it
-- answers that it has been signalled, or is over.
-- requires: context, decision_log, gates, keys, operator_log, operator_target, run_end, run_state, stop_signal
-- ARGV: prefix, who, now_iso, now_seconds, run.
-- Answers {'STOPPED', status before}, {'STOPPING', worker, 1 where it had been signalled before}, {'UNKNOWN'},
-- {'FOREIGN'} for a run of RQ's that no job of ours has, {'OVER', status, outcome} for one that has ended.
local ctx = new_context(ARGV[2], ARGV[3], ARGV[4])
ctx.who = ARGV[2]
local run = ARGV[5]
local key = run_key(run)
demand_shared_kinds()
local unfit = unfit_run(run)
if unfit then return unfit end

local live = live_status(run)
local status, outcome, stop, job, scheduled_at, worker =
  unpack(redis.call('HMGET', key, 'status', 'outcome', 'stop', 'job', 'at', 'worker_name'))
if not live then return {'OVER', status, outcome or ''} end
if live == 'started' then
  if stop and stop ~= '' then return {'STOPPING', worker or '', '1'} end
  redis.call('HSET', key, 'stopped_by', ctx.who)
  log_run(ctx, 'stopping', job, run, scheduled_at or '0', '', {'who', ctx.who})
  record_act(ctx, 'stop', job, run, '')
  signal_stop(run, 'stopped')
  return {'STOPPING', worker or '', ''}
end
local todo = {}
redis.call('HSET', key, 'stopped_by', ctx.who)
end_unstarted(ctx, run, 'stopped', todo)
settle(ctx, todo)
record_act(ctx, 'stop', job, run, '')
return {'STOPPED', live}
