-- What admins are told by themselves: alerts and faults. Not breaking: new tables only.

-- A condition that held at a look; while it holds there is one open row of it for each subject.
create table alerts (
  id text primary key,
  kind text not null,
  -- What it is about: the id of a worker, team or webhook; empty for the whole server.
  subject text not null,
  severity text not null check (severity in ('warning', 'critical')),
  detail text not null,
  raised_at bigint not null,
  last_at bigint not null,
  ended_at bigint,
  acknowledged_at bigint,
  acknowledged_by text references users (id) on delete set null
);
create unique index alerts_open on alerts (kind, subject) where ended_at is null;
create index alerts_ended on alerts (ended_at) where ended_at is not null;

-- Faults of the program, alike ones counted together; texts as the log has them, redacted.
create table faults (
  fingerprint text primary key,
  event text not null,
  error_name text,
  message text,
  stack text,
  count bigint not null,
  first_at bigint not null,
  last_at bigint not null,
  last_request_id text
);
-- The few kinds of acts that raise alerts: a look must not read all that was ever remembered.
create index audit_events_watched on audit_events (action, at)
  where action in ('session.refused', 'session.mfa_refused', 'session.refresh_reused', 'counters.repaired');
create index faults_last on faults (last_at);
