-- Webhooks: endpoints of teams, what is to be delivered to them, and what became of each attempt. Not breaking: the previous version reads none of it.

-- Locked by whoever hands out what is in the outbox: one process at a time, so that everybody hears of things in the order in which they were written.
create table outbox_turn (
  id bigint primary key check (id = 1)
);
insert into outbox_turn (id) values (1);

create table webhooks (
  id text primary key,
  team_id text not null references teams (id) on delete cascade,
  url text not null,
  description text,
  -- JSON list of event types, `noun.*` or `*`.
  events text not null,
  created_by text references users (id) on delete set null,
  created_at bigint not null,
  updated_at bigint not null,
  disabled_at bigint,
  disabled_reason text check (disabled_reason in ('by_hand', 'gone', 'failing')),
  -- The first of the failures since the last success, and their number; null and 0 while it answers.
  failing_since bigint,
  failures bigint not null default 0,
  -- The breaker: nothing is sent before this time.
  open_until bigint,
  -- The earliest time at which something may be due; null: nothing waits.
  next_run_at bigint,
  -- The process that delivers to it at the moment: one at a time, so that the limit of requests under way is exact.
  leased_by text,
  leased_until bigint
);
create index webhooks_team on webhooks (team_id, id);
create index webhooks_due on webhooks (next_run_at) where next_run_at is not null and disabled_at is null;

-- What an endpoint's messages are signed with; both secrets sealed. expires_at is null for the key that stays, else when the old one ends.
create table webhook_keys (
  id text primary key,
  webhook_id text not null references webhooks (id) on delete cascade,
  sealed_secret text not null,
  sealed_private_key text not null,
  public_key text not null,
  created_at bigint not null,
  expires_at bigint
);
create index webhook_keys_webhook on webhook_keys (webhook_id, id);

create table webhook_deliveries (
  id text primary key,
  webhook_id text not null references webhooks (id) on delete cascade,
  -- The same for all endpoints that hear of one event.
  event_id text not null,
  type text not null,
  payload text not null,
  state text not null check (state in ('pending', 'succeeded', 'failed', 'skipped')),
  attempts bigint not null default 0,
  -- Attempts since it was last put into the queue: a replay begins the schedule anew.
  tries bigint not null default 0,
  run_at bigint not null,
  created_at bigint not null,
  finished_at bigint,
  last_status bigint,
  last_error text
);
create index webhook_deliveries_webhook on webhook_deliveries (webhook_id, id);
create index webhook_deliveries_due on webhook_deliveries (webhook_id, run_at, id) where state = 'pending';

create table webhook_attempts (
  delivery_id text not null references webhook_deliveries (id) on delete cascade,
  number bigint not null,
  at bigint not null,
  duration_ms bigint not null,
  status bigint,
  error text,
  remote_address text,
  response text,
  primary key (delivery_id, number)
);
