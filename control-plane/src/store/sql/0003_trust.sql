-- Who may speak to the control plane, and what was asked of it. Hashes and public keys only: a dump of this database
-- lets nobody in.

alter table multiboard.agents
  add column state text not null default 'active' check (state in ('active', 'revoked')),
  add column revoked_at timestamptz,
  add column revoked_by text,
  -- the key before the last rotation, good until then: requests under way and a lost answer are no outage
  add column previous_jwk jsonb,
  add column previous_thumbprint text unique,
  add column previous_until timestamptz,
  -- its clock less ours at its last poll
  add column clock_skew_ms integer;

create table multiboard.enrollments (
  code_sha256 bytea primary key,
  agent text not null,
  created_by text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);

create table multiboard.api_tokens (
  id text primary key,
  secret_sha256 bytea not null,
  label text not null,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  created_by text not null,
  created_at timestamptz not null default date_trunc('milliseconds', now()),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz,
  revoked_by text
);
create index api_tokens_newest_first on multiboard.api_tokens (created_at desc, id desc);

create table multiboard.sessions (
  id_sha256 bytea primary key,
  subject text not null,
  role text not null check (role in ('viewer', 'operator', 'admin')),
  -- the token it was begun with, whose end is its end too
  token text references multiboard.api_tokens,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index sessions_expiry on multiboard.sessions (expires_at);

-- Append-only, each entry bound to the one before by its hash: what is changed or taken away later is found.
create table multiboard.audit (
  n bigint primary key,
  at timestamptz not null,
  actor text not null,
  action text not null,
  object text not null,
  detail jsonb not null,
  prev_hash bytea not null,
  hash bytea not null
);
create index audit_objects on multiboard.audit (object);

-- Against slips and injected statements. Whoever owns the table can take this away: that is what the hashes are for.
create function multiboard.refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit is append-only';
end $$;
create trigger audit_is_append_only before update or delete or truncate on multiboard.audit
  for each statement execute function multiboard.refuse_audit_change();

-- How often somebody has called within the current window. Lost with a crash, which harms nobody.
create unlogged table multiboard.rate_limits (
  key text primary key,
  window_start timestamptz not null,
  calls integer not null
);

-- Of whatever people ask for, not of jobs alone: what the first request was answered, as JSON; null where the answer
-- held what is shown once, and of requests before this version.
alter table multiboard.idempotency_keys
  drop column job,
  add column answer text;
create index idempotency_keys_age on multiboard.idempotency_keys (created_at);

-- Which event streams people have open. Lost with a crash, and so are the streams.
create unlogged table multiboard.streams (
  person text not null,
  slot integer not null,
  stream uuid not null,
  expires_at timestamptz not null,
  primary key (person, slot)
);
