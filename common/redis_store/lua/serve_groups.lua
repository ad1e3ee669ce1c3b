-- Serves groups in which runs wait: whoever has waited longest is called up while there is room. Repeated, it finds none.
-- requires: context, fencing, groups, run_state
-- ARGV: prefix, epoch, lease, now_iso, now_seconds, most: at most so many members are asked and so many runs called up in
-- each group, then groups.
-- Answers {'OK', 'served', run, job, ...}, or FENCED, LOST.
local refusal = refusal_of(tonumber(ARGV[2]), ARGV[3])
if refusal then return refusal end
local ctx, most, out = new_context('housekeeping', ARGV[4], ARGV[5]), tonumber(ARGV[6]), {'OK'}
for i = 7, #ARGV do
  local group = ARGV[i]
  drop_idle_members(group, most)
  for _ = 1, most do
    local run = has_room(group) and call_up_next(ctx, group)
    if not run then break end
    for _, part in ipairs({'served', run, job_of(run)}) do out[#out + 1] = part end
  end
end
return out
