-- The request that a job came with, to follow one id from it through the server, the worker and the webhooks. Not breaking: the previous version leaves both null.
alter table jobs add column request_id text;
-- W3C Trace Context, where the client sent one.
alter table jobs add column trace_parent text;
