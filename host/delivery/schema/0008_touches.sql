-- What was touched, for hosts that keep answers: whoever writes says so in the same transaction.
-- The old code sees: nothing; it neither touches nor keeps anything.

create table marquee.touches (
    xid xid8 not null default pg_current_xact_id(),
    tag text not null,
    touched_at timestamptz not null default now()
) with (
    -- Every row is deleted some minutes after it was written.
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 10000
);
create index touches_xid_idx on marquee.touches (xid);
comment on table marquee.touches is
    'What answers of the component are about, and was changed. A host that keeps answers asks for the rows that its last snapshot did not see, so it misses none, in whatever order transactions commit. Rows are removed after ten minutes, which is longer than an answer is kept.';
comment on column marquee.touches.xid is 'The transaction that touched it. It stands once that has committed.';

create function marquee.touch(tag text) returns text
language plpgsql volatile
as $$
begin
    if tag is null or tag = '' or octet_length(tag) > 256 then
        raise exception 'a tag has 1 to 256 bytes' using errcode = 'invalid_parameter_value';
    end if;
    insert into marquee.touches (tag) values (touch.tag);
    return touch.tag;
end
$$;
comment on function marquee.touch(text) is
    'When this transaction commits, no host has an answer any more that is about this tag (cache in the manifest) and began before. Returns the tag. 1 to 256 bytes. It takes no lock, so transactions that touch the same do not wait for each other.';
