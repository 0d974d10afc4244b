-- When a job last succeeded on each way: GET /metrics steps from way to way by this index, however long the past is.
create index jobs_successes on multiboard.jobs
  (kind, (coalesce(params ->> 'source', '')), (coalesce(params ->> 'target', '')), finished_at desc)
  where state = 'succeeded' and params ->> 'dry_run' is null;
