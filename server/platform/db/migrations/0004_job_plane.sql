-- Queues, workers and artifacts at production strength. Not breaking: every new column has a default or is null, and the previous version never reads them.

-- The order in which a team's waiting jobs run: its time of submission minus five minutes for each level of priority. A higher priority is a head start, never a
-- barrier: who waits long enough is next, whatever others submit (aging). rank 0, as the previous version writes it, runs at once.
alter table job_queue add column rank bigint not null default 0;
alter table job_queue add column pool text not null default 'default';
update job_queue set rank = (select submitted_at - priority * 300000 from jobs where jobs.id = job_queue.job_id);
drop index job_queue_order;
create index job_queue_order on job_queue (team_id, pool, rank, job_id);
create index job_queue_place on job_queue (project_id, kind, pool, rank, job_id);

alter table jobs add column pool text not null default 'default';
-- JSON {strategy, seconds, maxSeconds}; null: the default of policy.ts.
alter table jobs add column backoff text;
alter table jobs add column schedule_id text;
-- Not before this time, as scheduled or asked; null: at once.
alter table jobs add column scheduled_for bigint;
create unique index jobs_schedule on jobs (schedule_id, scheduled_for) where schedule_id is not null;
create index jobs_state on jobs (project_id, state, id);
-- Whether a schedule's earlier jobs have ended, however many there were.
create index jobs_schedule_open on jobs (schedule_id) where schedule_id is not null and finished_at is null;

alter table job_leases add column pool text not null default 'default';

-- Values that a job may read from files below /run/secrets, sealed; the job's input names them only. Gone with the job.
create table job_secrets (
  job_id text primary key references jobs (id) on delete cascade,
  sealed text not null
);

-- Limits and pauses of one project's queue.
alter table queue_counters add column max_running bigint;
alter table queue_counters add column paused_at bigint;
-- Usually empty: asked by every claim whether anything of a team is held back.
create index queue_counters_limited on queue_counters (project_id) where paused_at is not null or max_running is not null;

-- Pauses by an admin, of a kind in all projects.
create table queue_pauses (
  kind text primary key,
  paused_at bigint not null,
  paused_by text references users (id) on delete set null,
  reason text
);

create table schedules (
  id text primary key,
  project_id text not null references projects (id) on delete cascade,
  team_id text not null references teams (id),
  name text not null,
  cron text not null,
  time_zone text not null,
  kind text not null,
  -- What a run submits, as JSON: kind, input, priority, ttlSeconds, maxAttempts, backoff, labels, pool.
  submission text not null,
  -- Values of its secrets, sealed.
  sealed_secrets text,
  -- What becomes of runs that were missed while nobody was there to start them.
  missed_runs text not null check (missed_runs in ('skip', 'run_once')),
  -- What becomes of a run that is due while the last one has not ended.
  overlap text not null check (overlap in ('skip', 'allow')),
  submitted_by_user text references users (id) on delete set null,
  submitted_by_key text references api_keys (id) on delete set null,
  created_at bigint not null,
  paused_at bigint,
  next_run_at bigint,
  last_run_at bigint,
  last_job_id text,
  -- Why the last due run submitted no job; null when it did.
  last_refusal text
);
create index schedules_project on schedules (project_id, id);
create index schedules_user on schedules (submitted_by_user) where submitted_by_user is not null;
create index schedules_key on schedules (submitted_by_key) where submitted_by_key is not null;
create index schedules_team on schedules (team_id);
create index schedules_due on schedules (next_run_at) where paused_at is null and next_run_at is not null;

alter table workers add column pool text not null default 'default';
-- What the machine has, as JSON: see WorkerCapabilities.
alter table workers add column capabilities text;
-- How far the worker's clock is ahead of ours, in milliseconds, as it measured it.
alter table workers add column clock_skew_ms bigint;
-- Why it takes no jobs at the moment, in its own words; null when it does.
alter table workers add column refusing text;
alter table workers add column key_expires_at bigint;
alter table workers add column previous_public_key text;
alter table workers add column previous_key_until bigint;

-- Bytes in the artifact store by team, held against its plan in one statement with the row that needs them.
create table team_storage (
  team_id text primary key references teams (id) on delete cascade,
  bytes bigint not null default 0,
  check (bytes >= 0)
);

-- Source bundles that people upload for their jobs.
create table bundles (
  id text primary key,
  project_id text not null references projects (id) on delete cascade,
  team_id text not null references teams (id),
  object_key text not null,
  bytes bigint not null,
  unpacked_bytes bigint not null,
  entries bigint not null,
  sha256 text not null,
  created_by_user text references users (id) on delete set null,
  created_at bigint not null,
  expires_at bigint not null
);
create index bundles_project on bundles (project_id, id);
create index bundles_expiry on bundles (expires_at);

-- What jobs leave behind. pending: uploaded under a lease that has not completed; committed with the completion that was accepted.
create table artifacts (
  id text primary key,
  project_id text not null references projects (id),
  team_id text not null references teams (id),
  job_id text not null references jobs (id),
  token bigint not null,
  state text not null check (state in ('pending', 'committed')),
  path text not null,
  -- Null until its bytes have arrived.
  object_key text,
  bytes bigint not null,
  sha256 text not null,
  created_at bigint not null,
  expires_at bigint not null
);
create unique index artifacts_place on artifacts (token, path);
create index artifacts_job on artifacts (job_id, id);
create index artifacts_expiry on artifacts (expires_at);
create unique index artifacts_object on artifacts (object_key);

-- Hosts that a project's jobs may reach while their dependencies are installed (requirement D5).
create table project_egress (
  project_id text not null references projects (id) on delete cascade,
  host text not null,
  added_by text references users (id) on delete set null,
  added_at bigint not null,
  primary key (project_id, host)
);

-- Which bytes of what the attempt printed to the stream a chunk stands for; null in old rows and for remarks.
alter table job_logs add column start_byte bigint;
alter table job_logs add column end_byte bigint;
-- What a row is instead of text: output that was dropped, or the place where the log was cut off.
alter table job_logs add column mark text check (mark in ('gap', 'truncated'));
-- How far the log of the attempt has got in each stream, in bytes printed.
alter table job_attempts add column printed_stdout bigint not null default 0;
alter table job_attempts add column printed_stderr bigint not null default 0;

-- Whether the receipt is signed by the worker that ran the attempt, and about this attempt.
alter table job_attempts add column receipt_verified bigint not null default 0;
