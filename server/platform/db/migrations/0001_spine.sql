-- People, projects, jobs, workers and the records of their acts. Not breaking: the first migration.
-- Ids are UUIDv7 text, times are epoch milliseconds, flags are nullable times, JSON is text.

create table users (
  id text primary key,
  email text not null,
  email_key text not null,
  username text not null,
  username_key text not null,
  password_hash text,
  admin_since bigint,
  deactivated_at bigint,
  email_verified_at bigint,
  created_at bigint not null,
  last_login_at bigint,
  token_version bigint not null default 0
);
create unique index users_email_key on users (email_key);
create unique index users_username_key on users (username_key);

-- One row; holds the hash of the one-time token until the first admin exists.
create table setup (
  id bigint primary key check (id = 1),
  token_hash text,
  completed_at bigint
);

create table signing_keys (
  id text primary key,
  purpose text not null,
  state text not null check (state in ('next', 'current', 'previous')),
  public_key text not null,
  sealed_private_key text not null,
  created_at bigint not null,
  retires_at bigint
);
create unique index signing_keys_current on signing_keys (purpose) where state = 'current';

create table sessions (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  device_name text,
  user_agent text,
  ip text,
  created_at bigint not null,
  last_seen_at bigint not null,
  expires_at bigint not null,
  idle_expires_at bigint not null,
  revoked_at bigint,
  revoked_reason text,
  refresh_counter bigint not null,
  refresh_hash text not null,
  previous_refresh_hash text,
  rotated_at bigint not null
);
create index sessions_user on sessions (user_id, id);
create unique index sessions_refresh on sessions (refresh_hash);

create table teams (
  id text primary key,
  name text not null,
  personal_user_id text references users (id) on delete cascade,
  tier text not null default 'free',
  created_at bigint not null
);
create unique index teams_personal on teams (personal_user_id) where personal_user_id is not null;

create table team_members (
  team_id text not null references teams (id) on delete cascade,
  user_id text not null references users (id) on delete cascade,
  role text not null check (role in ('member', 'admin', 'owner')),
  created_at bigint not null,
  primary key (team_id, user_id)
);
create index team_members_user on team_members (user_id, team_id);

create table projects (
  id text primary key,
  team_id text not null references teams (id),
  name text not null,
  created_by text references users (id) on delete set null,
  created_at bigint not null,
  archived_at bigint
);
create index projects_team on projects (team_id, id);

create table project_members (
  project_id text not null references projects (id) on delete cascade,
  user_id text not null references users (id) on delete cascade,
  role text not null check (role in ('viewer', 'editor', 'owner')),
  created_at bigint not null,
  primary key (project_id, user_id)
);
create index project_members_user on project_members (user_id, project_id);

-- user_id is null for a key that belongs to the operator and is bound to one project (PHAROS_ADMIN_TOKEN).
create table api_keys (
  id text primary key,
  user_id text references users (id) on delete cascade,
  project_id text references projects (id) on delete cascade,
  name text not null,
  prefix text not null,
  secret_hash text not null,
  scopes text not null,
  created_at bigint not null,
  expires_at bigint,
  last_used_at bigint,
  revoked_at bigint,
  check (user_id is not null or project_id is not null)
);
create unique index api_keys_secret on api_keys (secret_hash);
create index api_keys_user on api_keys (user_id, id);

create table audit_events (
  id text primary key,
  at bigint not null,
  actor_kind text not null,
  actor_id text,
  team_id text,
  project_id text,
  action text not null,
  target_kind text,
  target_id text,
  outcome text not null check (outcome in ('succeeded', 'refused')),
  request_id text,
  ip text,
  details text not null
);
create index audit_events_team on audit_events (team_id, id);

create table outbox (
  seq {{serial}},
  at bigint not null,
  topic text not null,
  team_id text,
  payload text not null
);

create table jobs (
  id text primary key,
  project_id text not null references projects (id),
  team_id text not null references teams (id),
  kind text not null,
  state text not null check (state in ('queued', 'leased', 'running', 'succeeded', 'failed', 'canceled', 'skipped')),
  phase text,
  progress bigint,
  message text,
  priority bigint not null,
  labels text not null,
  input text not null,
  submitted_by_user text references users (id) on delete set null,
  submitted_by_key text references api_keys (id) on delete set null,
  submitted_at bigint not null,
  ttl_seconds bigint not null,
  expires_at bigint not null,
  attempt bigint not null default 0,
  max_attempts bigint not null,
  infrastructure_failures bigint not null default 0,
  uncounted_attempts bigint not null default 0,
  started_at bigint,
  finished_at bigint,
  result text,
  error text,
  skip_reason text,
  cancel_requested_at bigint,
  completed_token bigint,
  completion_hash text,
  log_seq bigint not null default 0,
  log_bytes bigint not null default 0,
  idempotency_key text,
  request_hash text
);
create index jobs_project on jobs (project_id, id);
create unique index jobs_idempotency on jobs (project_id, idempotency_key) where idempotency_key is not null;

-- Waiting jobs only: a row is deleted by the claim that takes it.
create table job_queue (
  job_id text primary key references jobs (id),
  project_id text not null,
  team_id text not null,
  kind text not null,
  priority bigint not null,
  labels text not null,
  run_at bigint not null,
  expires_at bigint not null
);
create index job_queue_order on job_queue (team_id, priority desc, job_id);
create index job_queue_expiry on job_queue (expires_at);
create index job_queue_labels on job_queue (labels) where labels <> '[]';

create table workers (
  id text primary key,
  name text not null,
  team_id text references teams (id) on delete cascade,
  public_key text not null,
  labels text not null default '[]',
  kinds text not null default '[]',
  slots bigint not null default 0,
  version text,
  isolation text,
  enrolled_at bigint not null,
  enrolled_by text references users (id) on delete set null,
  expires_at bigint,
  last_seen_at bigint,
  draining_at bigint,
  revoked_at bigint
);
create unique index workers_public_key on workers (public_key);

create table worker_enrolments (
  id text primary key,
  token_hash text not null,
  name text,
  team_id text references teams (id) on delete cascade,
  created_by text references users (id) on delete set null,
  created_at bigint not null,
  expires_at bigint not null,
  used_at bigint,
  worker_id text references workers (id)
);
create unique index worker_enrolments_token on worker_enrolments (token_hash);

-- Seen signatures, while they could still be replayed. Used on PostgreSQL, where replicas must share them.
create table worker_nonces (
  worker_id text not null,
  nonce text not null,
  expires_at bigint not null,
  primary key (worker_id, nonce)
);
create index worker_nonces_expiry on worker_nonces (expires_at);

-- One row per claim, kept as history. The token is the fencing token: it only grows.
create table job_attempts (
  token {{serial}},
  job_id text not null references jobs (id),
  number bigint not null,
  worker_id text not null references workers (id),
  claimed_at bigint not null,
  started_at bigint,
  ended_at bigint,
  outcome text,
  error text,
  phases text not null default '[]',
  receipt text
);
create index job_attempts_job on job_attempts (job_id, token);

-- Running jobs only.
create table job_leases (
  token bigint primary key,
  job_id text not null references jobs (id),
  project_id text not null,
  team_id text not null,
  kind text not null,
  worker_id text not null references workers (id),
  phase text not null check (phase in ('dispatched', 'started')),
  expires_at bigint not null
);
create unique index job_leases_job on job_leases (job_id);
create index job_leases_expiry on job_leases (expires_at);
create index job_leases_worker on job_leases (worker_id);

-- The cap of a project's queue (requirement C2): checked and taken in one statement with the insert.
create table queue_counters (
  project_id text not null references projects (id) on delete cascade,
  kind text not null,
  waiting bigint not null default 0,
  running bigint not null default 0,
  max_waiting bigint not null,
  primary key (project_id, kind),
  check (waiting >= 0 and running >= 0)
);

-- A team's share of the workers (requirement C5): the ready team with the smallest pass is next.
create table team_shares (
  team_id text primary key references teams (id) on delete cascade,
  waiting bigint not null default 0,
  running bigint not null default 0,
  max_running bigint not null,
  weight bigint not null default 1,
  pass bigint not null default 0,
  check (waiting >= 0 and running >= 0)
);
create index team_shares_ready on team_shares (pass) where waiting > 0;
create index team_shares_pass on team_shares (pass);

create table job_events (
  seq {{serial}},
  job_id text not null references jobs (id),
  at bigint not null,
  kind text not null,
  data text not null
);
create index job_events_job on job_events (job_id, seq);

create table job_logs (
  job_id text not null references jobs (id),
  seq bigint not null,
  token bigint not null,
  chunk_seq bigint not null,
  stream text not null,
  at bigint not null,
  text text not null,
  primary key (job_id, seq)
);
create unique index job_logs_chunk on job_logs (token, chunk_seq);

-- What a project's search serves: the index that the attempt with this token built.
create table mirrors (
  project_id text primary key references projects (id) on delete cascade,
  repository text not null,
  commit_id text not null,
  branch text,
  index_token bigint not null,
  files bigint not null,
  bytes bigint not null,
  synced_at bigint not null
);

-- postgres:begin
create extension if not exists pg_trgm;
create extension if not exists btree_gin;
-- folded is the text without case differences, by our own rule: lower() differs from one database's locale to another's.
create table search_files (
  project_id text not null,
  token bigint not null,
  id bigint not null,
  path text collate "C" not null,
  language text,
  text text not null,
  folded text not null,
  primary key (project_id, token, id)
);
-- left(): a path may be longer than an index entry.
create index search_files_path on search_files (project_id, token, left(path, 250));
-- With the project in it, a search reads no other project's entries; as an expression, so that no other index can take its place.
create index search_files_folded on search_files using gin ((project_id || '/' || token::text), folded gin_trgm_ops);
-- postgres:end
