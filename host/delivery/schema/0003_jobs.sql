-- Jobs that the clock starts: when each is due, and who runs it.
-- The old code sees: nothing new; it has no jobs.

create table marquee.jobs (
    component text not null,
    name text not null,
    schedule text not null,
    due_at timestamptz not null,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null,
    claim uuid,
    error text,
    done_at timestamptz,
    constraint jobs_pkey primary key (component, name),
    constraint jobs_attempts_check check (attempts >= 0)
) with (fillfactor = 50);
comment on table marquee.jobs is
    'One row a scheduled job. Moving due_at on is the last statement of the transaction in which the job ran, so that a run takes effect once.';
comment on column marquee.jobs.schedule is 'The schedule that due_at follows. Another one in the manifest replaces both.';
comment on column marquee.jobs.attempts is 'Tries of the run that is due, counted before the call.';
comment on column marquee.jobs.next_attempt_at is 'When it is tried next. While claim is set: when another host may claim it.';
comment on column marquee.jobs.claim is 'The try under way, if any.';
comment on column marquee.jobs.error is 'Why the last try failed. Null once a run succeeded.';
