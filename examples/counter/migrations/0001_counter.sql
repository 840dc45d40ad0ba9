-- What was published, and what came of it. Nothing here forgives a message that is applied twice.

create table published (
    key text not null,
    number bigint not null,
    tag text not null,
    value bigint not null,
    constraint published_pkey primary key (key, number)
);
comment on table published is 'One row a message, written in the transaction that published it. number is the outbox''s: the order of its key.';

create table seen (
    id bigint generated always as identity,
    key text not null,
    tag text not null
);
comment on table seen is 'One row each time that a message was applied, in that order. Without a unique index, on purpose.';

create table counters (
    key text not null,
    total bigint not null,
    sum bigint not null,
    constraint counters_pkey primary key (key)
);
comment on table counters is 'How many messages a key had and what their values add up to, by addition alone.';
