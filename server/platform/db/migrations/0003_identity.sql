-- Factors, devices, one-time tokens, mail, invitations, external identities. Not breaking: every new column has a default or may be null.

-- A password shorter than 15 characters counts only beside a second factor (requirement A2); who has none may not keep it.
alter table users add column password_short_at bigint;
-- Consecutive wrong passwords from devices we do not know; at 100 the password alone is disabled (NIST SP 800-63B-4 §3.2.2).
alter table users add column password_failures bigint not null default 0;
alter table users add column password_disabled_at bigint;
alter table users add column erased_at bigint;

-- amr: the methods that proved the person (RFC 8176), a JSON list. device_key: the thumbprint (RFC 7638) of the key that refreshes must prove.
alter table sessions add column amr text not null default '["pwd"]';
alter table sessions add column device_id text;
alter table sessions add column device_key text;
-- The counter of the first refresh token that was given out under that key; used again, one from before shows that two parties held the session's tokens.
alter table sessions add column device_key_from bigint;

-- When a key began to sign; null for one that never did, or did before this column: then it counts from created_at.
alter table signing_keys add column activated_at bigint;
create unique index signing_keys_next on signing_keys (purpose) where state = 'next';

alter table api_keys add column rate_limit_per_hour bigint;
-- The key that took this one's place; this one lives on until its expiry (rotation with overlap).
alter table api_keys add column replaced_by text references api_keys (id) on delete set null;
-- The first of the keys that rotation made of one another: they share one limit.
alter table api_keys add column root_id text;
-- When the owner was told that it expires soon.
alter table api_keys add column expiry_told_at bigint;
create index api_keys_expiry on api_keys (expires_at);
create index api_keys_replaced on api_keys (replaced_by) where replaced_by is not null;

-- The jobs that have not ended, by what they stand on: a revocation finds them without reading the history.
create index jobs_submitter on jobs (submitted_by_user) where finished_at is null;
create index jobs_key on jobs (submitted_by_key) where submitted_by_key is not null and finished_at is null;

-- The kinds of work that stored password hashes ask for (`m=19456,t=2,p=1`, `2b$12`): every verification does all of them, so that none tells an account's kind.
create table password_works (
  name text primary key
);

-- Devices a person has signed in from: they pass by the throttles of strangers, with a small budget of failures of their own.
create table known_devices (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  token_hash text not null,
  name text,
  failures bigint not null default 0,
  created_at bigint not null,
  last_used_at bigint not null
);
create unique index known_devices_token on known_devices (token_hash);
create index known_devices_user on known_devices (user_id, last_used_at);

-- Whatever is handed out once and comes back once: mail links, pending logins, challenges, step-ups. Stored as SHA-256.
create table one_time_tokens (
  token_hash text primary key,
  purpose text not null,
  user_id text references users (id) on delete cascade,
  session_id text references sessions (id) on delete cascade,
  data text not null,
  attempts_left bigint not null,
  created_at bigint not null,
  expires_at bigint not null
);
create index one_time_tokens_user on one_time_tokens (user_id, purpose);
create index one_time_tokens_expiry on one_time_tokens (expires_at);

-- Second factors and passkeys of every kind, also of those to come. A factor counts from its confirmation on.
create table factors (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  kind text not null,
  name text not null,
  -- What the device calls itself: a passkey's credential id.
  external_id text,
  -- Sealed: a TOTP secret. Null where the server holds nothing secret.
  sealed_secret text,
  data text not null default '{}',
  -- The last TOTP time step that was used: no code counts twice.
  last_step bigint,
  -- Consecutive wrong codes of strangers; at 100 they may try no more (NIST SP 800-63B-4 §3.2.2).
  failures bigint not null default 0,
  created_at bigint not null,
  confirmed_at bigint,
  last_used_at bigint
);
create index factors_user on factors (user_id, kind);
create unique index factors_external on factors (kind, external_id) where external_id is not null;
create unique index factors_totp on factors (user_id) where kind = 'totp' and confirmed_at is not null;

create table recovery_codes (
  code_hash text primary key,
  user_id text not null references users (id) on delete cascade,
  created_at bigint not null,
  used_at bigint
);
create index recovery_codes_user on recovery_codes (user_id);

-- Failed logins per (account, source) and per source; the key is a MAC, so the table names nobody.
create table login_throttles (
  key text primary key,
  failures bigint not null,
  last_at bigint not null,
  blocked_until bigint not null
);
create index login_throttles_last on login_throttles (last_at);

-- Mail on its way out, sealed: it holds addresses and links that work.
create table mail_queue (
  id text primary key,
  sealed text not null,
  attempts bigint not null default 0,
  run_at bigint not null,
  created_at bigint not null
);
create index mail_queue_run on mail_queue (run_at);

create table external_identities (
  id text primary key,
  user_id text not null references users (id) on delete cascade,
  issuer text not null,
  subject text not null,
  created_at bigint not null,
  last_used_at bigint
);
create unique index external_identities_subject on external_identities (issuer, subject);
create index external_identities_user on external_identities (user_id);

-- team_id is null for an invitation to the server alone.
create table invitations (
  id text primary key,
  team_id text references teams (id) on delete cascade,
  email text not null,
  email_key text not null,
  role text,
  token_hash text not null,
  invited_by text references users (id) on delete set null,
  created_at bigint not null,
  expires_at bigint not null,
  accepted_at bigint,
  accepted_by text references users (id) on delete set null,
  revoked_at bigint
);
create unique index invitations_token on invitations (token_hash);
create index invitations_team on invitations (team_id, id);

-- Logins of devices without a browser (RFC 8628), decided in one.
create table device_authorizations (
  id text primary key,
  device_code_hash text not null,
  user_code_hash text not null,
  device_name text,
  device_key text,
  ip text,
  user_id text references users (id) on delete cascade,
  -- The session that decided: what it approved falls with it.
  session_id text references sessions (id) on delete cascade,
  amr text,
  decided_at bigint,
  approved_at bigint,
  last_polled_at bigint,
  created_at bigint not null,
  expires_at bigint not null
);
create unique index device_authorizations_device on device_authorizations (device_code_hash);
create unique index device_authorizations_user on device_authorizations (user_code_hash);

-- Device proofs that were used, while they could still be replayed (RFC 9449 §11.1).
create table proof_nonces (
  nonce text primary key,
  expires_at bigint not null
);
create index proof_nonces_expiry on proof_nonces (expires_at);

-- Grows with every change that takes rights away, in its transaction: how processes hear of each other's.
create table identity_epoch (
  id bigint primary key check (id = 1),
  epoch bigint not null
);
insert into identity_epoch (id, epoch) values (1, 0);
