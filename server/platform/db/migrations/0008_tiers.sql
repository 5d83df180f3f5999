-- What the plans allow, as rows that an admin edits (requirement I4). Not breaking: the previous version has the same figures in its code.

create table tiers (
  name text primary key,
  -- How many times the usual rate limits.
  rate_multiplier bigint not null check (rate_multiplier between 1 and 1000),
  waiting_jobs bigint not null check (waiting_jobs >= 1),
  running_jobs bigint not null check (running_jobs >= 1),
  -- The share of busy workers beside others.
  weight bigint not null check (weight >= 1),
  bundle_bytes bigint not null check (bundle_bytes >= 0),
  stored_bytes bigint not null check (stored_bytes >= 0),
  preview_minutes bigint not null check (preview_minutes >= 1),
  ai_tokens_per_month bigint not null check (ai_tokens_per_month >= 0),
  webhook_endpoints bigint not null check (webhook_endpoints >= 0),
  -- What one request may bring, and one page of a list show.
  body_bytes bigint not null,
  header_bytes bigint not null,
  string_length bigint not null,
  array_items bigint not null,
  page_items bigint not null,
  updated_at bigint
);

insert into tiers (name, rate_multiplier, waiting_jobs, running_jobs, weight, bundle_bytes, stored_bytes, preview_minutes, ai_tokens_per_month,
  webhook_endpoints, body_bytes, header_bytes, string_length, array_items, page_items)
values
  ('free', 1, 10, 2, 1, 50000000, 1000000000, 15, 100000, 5, 1048576, 16384, 1048576, 1000, 200),
  ('pro', 5, 100, 10, 4, 500000000, 50000000000, 60, 5000000, 50, 1048576, 16384, 1048576, 10000, 200),
  ('enterprise', 20, 1000, 50, 16, 2000000000, 500000000000, 1440, 50000000, 500, 1048576, 16384, 1048576, 10000, 200);
