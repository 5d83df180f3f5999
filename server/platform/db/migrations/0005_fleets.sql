-- Fleets of workers that come and go. Not breaking: every new column has a default or is null. The previous version may still enrol one worker with a token
-- made for several while both run; to that version it is used up then.

-- How many workers may enrol with it, and how many have.
alter table worker_enrolments add column max_uses bigint not null default 1;
alter table worker_enrolments add column uses bigint not null default 0;
update worker_enrolments set uses = 1 where used_at is not null;
-- The pool its workers are bound to; null: they may join any.
alter table worker_enrolments add column pool text;
-- 1: its workers sign off when they end, and are retired when they fall silent.
alter table worker_enrolments add column ephemeral bigint not null default 0;
alter table worker_enrolments add column revoked_at bigint;

alter table workers add column enrolment_id text references worker_enrolments (id) on delete set null;
alter table workers add column bound_pool text;
alter table workers add column ephemeral bigint not null default 0;
create index workers_enrolment on workers (enrolment_id) where enrolment_id is not null;
-- Those that may work, beside any number of those that came and went.
create index workers_live on workers (id) where revoked_at is null;
create index workers_live_pool on workers (pool) where revoked_at is null;
create index workers_ephemeral on workers (id) where ephemeral = 1 and revoked_at is null;
