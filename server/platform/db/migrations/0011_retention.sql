-- What is forgotten after its time (requirements, "Kept"). Not breaking: indexes only.
create index jobs_finished on jobs (finished_at) where finished_at is not null;
create index jobs_logged on jobs (finished_at) where finished_at is not null and log_bytes > 0;
create index sessions_expires on sessions (expires_at);
