-- The context of a call, which each function that writes for people is given as `ctx`:
--   by           who acts: the leader, a worker, or `housekeeping`
--   now_iso      the caller's instant, as RQ writes it
--   now_seconds  the same in seconds since the epoch, as text
--   who          the operator whose command it is (user@host), or ''
--   log_limit    how many entries of each decision log stay
--   limits       how much of ended runs stays, once it has been read (lib/history.lua)
--   left         how many more runs may be ended or released: about 0.1 ms each, and Redis is not to be held for long
--   asks         how many more of a job's open runs may be asked how they stand
--   any_paused   whether any job is paused, once it has been read (lib/pauses.lua)
local function new_context(by, now_iso, now_seconds)
  return {by = by, now_iso = now_iso, now_seconds = now_seconds, who = '', log_limit = 500, left = 150,
          asks = 3000}
end
