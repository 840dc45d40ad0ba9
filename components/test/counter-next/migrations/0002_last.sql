-- marquee: expand
-- The version before neither reads nor writes it.
alter table counters add column if not exists last text;
comment on column counters.last is 'The tag that was counted last.';
