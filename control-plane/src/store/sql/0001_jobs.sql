-- Agents, jobs with their leases, fences per target, events, archives. Names, numbers and codes only: no URL, no row, no secret.

create table multiboard.agents (
  id text primary key,
  public_jwk jsonb not null,
  key_thumbprint text not null unique,
  created_at timestamptz not null default now(),
  -- what the agent said of itself at its last poll
  last_seen_at timestamptz,
  version text,
  boot_id text,
  policy jsonb,
  policy_sha256 text,
  trusted_kids jsonb not null default '[]',
  databases jsonb not null default '[]'
);

create table multiboard.jobs (
  id text primary key,
  agent text not null references multiboard.agents,
  kind text not null,
  params jsonb not null,
  requested_by text not null,
  -- milliseconds, because a page's cursor carries what JavaScript can hold
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  start_before timestamptz not null,
  state text not null default 'queued' check (state in ('queued', 'leased', 'running', 'canceling', 'succeeded', 'failed', 'canceled', 'refused', 'expired', 'lost')),
  target_state text not null default 'untouched' check (target_state in ('untouched', 'changed', 'rolled_back', 'unknown')),
  -- `target:<name>` for what changes a target, `source-only:<job>` for what changes none
  exclusive_key text not null,
  epoch integer not null default 0,
  fence integer,
  lease_expires_at timestamptz,
  -- the lease's end plus its grace: after this the job reads as lost
  lost_at timestamptz,
  -- the poll that got the order, the agent's boot that sent it, and the order: while nobody has answered it, the same
  -- poll and the same boot get it again
  leased_jti text,
  leased_boot text,
  order_jws text,
  phase text,
  stalled_ms integer,
  progress jsonb,
  progress_rev integer not null default 0,
  cancel_requested_at timestamptz,
  last_pos integer not null default 0,
  last_aseq integer not null default 0,
  started_at timestamptz,
  finished_at timestamptz,
  result jsonb,
  -- free text: an agent may know codes that its control plane does not
  code text,
  message text,
  hint text,
  check (state not in ('leased', 'running', 'canceling') or lost_at is not null)
);
create unique index jobs_one_active_per_target on multiboard.jobs (exclusive_key) where state in ('leased', 'running', 'canceling');
create unique index jobs_one_per_poll on multiboard.jobs (agent, leased_jti);
create index jobs_queued on multiboard.jobs (agent, created_at, id) where state = 'queued';
-- few, whatever the history: every poll looks here for what has run out
create index jobs_unfinished on multiboard.jobs (id) where state in ('queued', 'leased', 'running', 'canceling');
create index jobs_newest_first on multiboard.jobs (created_at desc, id desc);

-- One number per target, raised with every lease. A target refuses who brings a smaller one than it has seen.
create table multiboard.target_fences (
  exclusive_key text primary key,
  fence integer not null
);

create table multiboard.events (
  job text not null references multiboard.jobs,
  -- given under the job row's lock: readers follow it without gaps
  pos integer not null,
  src text not null check (src in ('agent', 'control', 'user')),
  -- the agent's own count within an epoch: makes an upload idempotent
  epoch integer,
  aseq integer,
  type text not null,
  level text not null check (level in ('debug', 'info', 'warning', 'error')),
  at timestamptz not null,
  received_at timestamptz not null default now(),
  data jsonb not null,
  primary key (job, pos)
);
create unique index events_once on multiboard.events (job, epoch, aseq) where src = 'agent';

create table multiboard.archives (
  id text primary key,
  agent text not null references multiboard.agents,
  created_at timestamptz not null,
  summary jsonb not null,
  reported_at timestamptz not null default now()
);
create index archives_newest_first on multiboard.archives (created_at desc, id desc);

create table multiboard.idempotency_keys (
  actor text not null,
  key text not null,
  request_sha256 text not null,
  job text not null,
  created_at timestamptz not null default now(),
  primary key (actor, key)
);

-- When people last used the API: agents poll faster for a while after it.
create table multiboard.people_activity (
  one boolean primary key default true check (one),
  at timestamptz not null
);
insert into multiboard.people_activity (at) values ('-infinity');
