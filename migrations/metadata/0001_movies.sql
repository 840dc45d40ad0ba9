-- marquee: expand
-- What metadata keeps: movies.
-- The old code sees: nothing; this is the first version.

create table movies (
    id uuid not null,
    title text not null,
    title_key text collate "C" not null,
    description text not null,
    director text not null,
    created_at timestamptz not null default now(),
    constraint movies_pkey primary key (id),
    constraint movies_title_key_key unique (title_key),
    constraint movies_title_check check (char_length(title) between 1 and 200),
    constraint movies_title_key_check check (octet_length(title_key) between 1 and 1200),
    constraint movies_description_check check (char_length(description) <= 4000),
    constraint movies_director_check check (char_length(director) between 1 and 200)
);
comment on table movies is 'Movies as they were submitted. Every row was published on topic metadata by the statement that inserted it.';
comment on column movies.id is 'A UUIDv7.';
comment on column movies.title_key is
    'The title as titles are compared: canonical composition (NFC), then lower case character by character. The component computes it, so neither the collation of the database nor a new version of its Unicode tables changes which titles are equal. Collation C makes its unique index serve the order of pages and the search by prefix, which is a range.';
comment on column movies.created_at is 'When the row was inserted, for operators. The id has the component''s time.';
