-- What a job is about, in a few words: a list shows it, and must not read inputs of up to 1 MiB each for that. Not breaking: it has a default.
alter table jobs add column subject text not null default '';

-- sqlite:begin
update jobs set subject = substr(coalesce(
  json_extract(input, '$.repository') || coalesce(' ' || json_extract(input, '$.ref'), ''),
  (select group_concat(value, ' ') from json_each(input, '$.command')), ''), 1, 120);
-- sqlite:end
-- postgres:begin
-- Escapes such as \u0000, which a file's text may hold, are valid JSON that PostgreSQL cannot turn into text: they become spaces first.
update jobs set subject = left(coalesce(
  (job.input ->> 'repository') || coalesce(' ' || (job.input ->> 'ref'), ''),
  (select string_agg(word, ' ') from json_array_elements_text(job.input -> 'command') as words (word)), ''), 120)
from (select id, regexp_replace(input, '(?<!\\)((?:\\\\)*)\\u[0-9a-f]{4}', '\1 ', 'g')::json as input from jobs) as job
where job.id = jobs.id;
-- postgres:end
