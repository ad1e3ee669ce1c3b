-- The fence as an elector meets it where a Kubernetes Lease says who leads (spec: reliability.md section 3).
-- requires: fence
-- ARGV: prefix, action, holder, epoch, cluster, window_ms.
-- check  reads. Where this very term stands in the fence, the others see by it that it is alive.
-- claim  makes this the term that may write: a larger epoch than any before, or the same by the same holder, so
--        that a claim whose answer was lost may be repeated. Every older term is fenced from then on.
-- Another cluster's fence, seen within window_ms, is neither taken nor read further: OTHER_CLUSTER.
-- Answers {verdict, epoch, holder or cluster, now_ms, decisions so far}.
local action, holder, epoch, cluster, window = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local fence = read_fence()
if is_other_clusters(fence, cluster, window) then
  return fence_reply(fence, 'OTHER_CLUSTER', fence.epoch, fence.cluster)
end
local is_ours = fence.epoch == epoch and fence.holder == holder

if action == 'check' then
  if is_ours then mark_leader_seen(fence) end
  return fence_reply(fence, 'CHECKED', fence.epoch, fence.holder)
end

if action == 'claim' then
  if epoch > fence.epoch or is_ours then
    take_fence(fence, epoch, holder, cluster)
    return fence_reply(fence, 'CLAIMED', epoch, holder)
  end
  return fence_reply(fence, 'STALE', fence.epoch, fence.holder)
end

return redis.error_reply('claim_fence.lua: unknown action ' .. action)
