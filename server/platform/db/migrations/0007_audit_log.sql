-- The audit log as a Merkle tree (RFC 6962). The tables audit_events, audit_leaves, audit_nodes, audit_checkpoints and audit_keys only ever get rows: the role that
-- a server runs as needs no right to change or delete one (hivesync admin database-role). What is changed and deleted is audit_pending, audit_subjects and audit_shipping.

create index audit_events_actor on audit_events (actor_id, id);

-- What the sequencer has not yet put into the tree. Until then the network part of a person's address waits here in clear.
create table audit_pending (
  event_id text primary key,
  subject text,
  ip text
);

-- What was recorded before: those addresses are covered as they stand.
insert into audit_pending (event_id) select id from audit_events;

-- One leaf per event, numbered without a gap. `sealed` holds what is personal in the event, under the key of `subject`; the hash covers the sealed text,
-- so that deleting the key erases it and every proof stays valid. Hashes in this file are base64.
-- sqlite:begin
create table audit_leaves (
  seq integer primary key,
  event_id text not null unique,
  subject text,
  sealed text,
  hash text not null
);
-- sqlite:end
-- postgres:begin
create table audit_leaves (
  seq bigint primary key,
  event_id text not null unique,
  subject text,
  sealed text,
  hash text not null
);
-- postgres:end

-- Roots of complete subtrees of 256^level leaves (C2SP tlog-tiles); they stay when the leaves below are pruned.
create table audit_nodes (
  level bigint not null,
  position bigint not null,
  hash text not null,
  primary key (level, position)
);

-- Signed tree heads, as C2SP tlog-checkpoint writes them.
create table audit_checkpoints (
  size bigint primary key,
  root text not null,
  at bigint not null,
  note text not null
);

-- Every public key that has signed checkpoints; the private half lies in signing_keys, or outside the database. `first_size`: the tree before its first checkpoint.
create table audit_keys (
  id text primary key,
  origin text not null,
  public_key text not null,
  first_size bigint not null,
  created_at bigint not null
);

-- A key per person, deleted when the person is erased.
create table audit_subjects (
  user_id text primary key,
  sealed_key text not null,
  created_at bigint not null
);

-- How far a sink has got, and who delivers to it now.
create table audit_shipping (
  sink text primary key,
  next_seq bigint not null,
  next_checkpoint bigint not null,
  owner text,
  lease_until bigint not null
);

-- What is inserted here becomes an event and its row in audit_pending: neither can be forgotten.
create view audit_entries as
  select id, at, actor_kind, actor_id, team_id, project_id, action, target_kind, target_id, outcome, request_id, ip, details, ip as subject
  from audit_events;

-- sqlite:begin
create trigger audit_entries_insert instead of insert on audit_entries begin
  insert into audit_events (id, at, actor_kind, actor_id, team_id, project_id, action, target_kind, target_id, outcome, request_id, ip, details)
  values (new.id, new.at, new.actor_kind, new.actor_id, new.team_id, new.project_id, new.action, new.target_kind, new.target_id, new.outcome, new.request_id,
    case when new.subject is null then new.ip end, new.details);
  insert into audit_pending (event_id, subject, ip)
  values (new.id, new.subject, case when new.subject is not null then new.ip end);
end;
create trigger audit_events_unchanged before update on audit_events begin
  select raise(abort, 'audit events are never changed');
end;
create trigger audit_leaves_unchanged before update on audit_leaves begin
  select raise(abort, 'audit leaves are never changed');
end;
-- sqlite:end

-- postgres:begin
create function insert_audit_entry() returns trigger language plpgsql as $$
begin
  insert into audit_events (id, at, actor_kind, actor_id, team_id, project_id, action, target_kind, target_id, outcome, request_id, ip, details)
  values (new.id, new.at, new.actor_kind, new.actor_id, new.team_id, new.project_id, new.action, new.target_kind, new.target_id, new.outcome, new.request_id,
    case when new.subject is null then new.ip end, new.details);
  insert into audit_pending (event_id, subject, ip)
  values (new.id, new.subject, case when new.subject is not null then new.ip end);
  return new;
end $$;
create trigger audit_entries_insert instead of insert on audit_entries for each row execute function insert_audit_entry();
create function refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log is never changed';
end $$;
create trigger audit_events_unchanged before update on audit_events for each row execute function refuse_audit_change();
create trigger audit_leaves_unchanged before update on audit_leaves for each row execute function refuse_audit_change();
-- postgres:end
