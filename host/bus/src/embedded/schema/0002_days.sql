-- A day's table is made beside the log and then attached to it. `partition of` keeps everybody out of the log, and waits for
-- each transaction that reads it first; where that is a dump, the bus stood still behind it until its end.
-- Hosts of the version before call this too, and nothing else changes for them.
create or replace function marquee_bus.prepare_days() returns void
language plpgsql set lock_timeout = '500ms' as $$
declare
    wanted date;
    name text;
begin
    perform pg_advisory_xact_lock(7305803100243);
    for wanted in
        select ((now() at time zone 'UTC')::date + ahead)::date from generate_series(-1, 3) as ahead
    loop
        name := 'records_' || to_char(wanted, 'YYYYMMDD');
        if to_regclass('marquee_bus.' || name) is null then
            execute format('create table marquee_bus.%I (like marquee_bus.records including all)', name);
            execute format(
                'alter table marquee_bus.records attach partition marquee_bus.%I for values from (%L) to (%L)',
                name, wanted, wanted + 1
            );
        end if;
    end loop;
end
$$;
comment on function marquee_bus.prepare_days is
    'Create the tables of yesterday to three days ahead. Fails where another session keeps the log locked.';
