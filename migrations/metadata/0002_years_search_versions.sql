-- marquee: expand
-- Movies have years and versions, are found by their words, and can be created once by a key.
--
-- The old code sees: movies as before. Its insert names the constraint movies_title_key_key, which stays; a movie with a
-- year has a key that no title has, so the old code takes it for another title and may add the same one without a year.
-- Its pages begin at a title: where one ends among movies of one title and several years, the next one shows some of
-- them again. Rows that it inserts are found and listed by the new code like all others, since what that looks for is
-- generated. The extensions are trusted ones of PostgreSQL: who may create in the database may create them.
--
-- Rewrites the table under an exclusive lock: a million movies take half a minute.

create extension if not exists unaccent with schema public;
create extension if not exists pg_trgm with schema public;

create function movie_title_fold(title text) returns text
language sql immutable strict parallel safe
return normalize(upper(lower(normalize(title, nfc) collate "und-x-icu")), nfc);
comment on function movie_title_fold(text) is
    'A title as titles are compared: the one rule. Lower case first (of ẞ, of ς), then upper case, which is full (ß is SS) and looks at no neighbour, so the fold of a beginning is the beginning of the fold.';

create function movie_title_words(title text) returns text
language sql immutable strict parallel safe
return btrim(regexp_replace(
    upper(
        public.unaccent(
            'public.unaccent'::regdictionary,
            regexp_replace(normalize(movie_title_fold(title), nfkd), '[\u0300-\u036f]+', '', 'g')
        ) collate "und-x-icu"
    ),
    '[[:space:][:punct:]]+', ' ', 'g'
));
comment on function movie_title_words(text) is
    'The words of a title as they are looked for: folded, without accents, one blank between them. Immutable as long as nobody edits the rules of unaccent.';

create function movie_title_key(title text, year smallint) returns text
language sql immutable parallel safe
return normalize(replace(lower(normalize(title, nfc) collate "und-x-icu"), 'ς', 'σ'), nfc)
    || coalesce(chr(1) || year || ' ', '');
comment on function movie_title_key(text, smallint) is
    'title_key as version 0.1 of the component computes it, and behind it the year. No title''s key ends with a blank. Goes when title_key goes.';

alter table movies
    add column year smallint,
    add column version bigint not null default 1,
    add column is_folded boolean not null default false,
    add column folded_title text collate "C" not null generated always as (movie_title_fold(title)) stored,
    add column title_words text collate "C" not null generated always as (movie_title_words(title)) stored,
    add column title_lexemes tsvector not null
        generated always as (array_to_tsvector(string_to_array(movie_title_words(title), ' '))) stored,
    add constraint movies_year_check check (year between 1870 and 2200),
    add constraint movies_version_check check (version > 0);
comment on column movies.title_key is
    'For version 0.1 of the component, which finds and orders titles by it. Later versions write it and read it nowhere.';
comment on column movies.version is '1 at the creation, one more with every change.';
comment on column movies.is_folded is
    'Whether folded_title and year are unique together. Rows of version 0.1 may have folds that others have: its rule told more titles apart.';
comment on column movies.folded_title is 'The title as titles are compared. It orders what has a prefix, which is a range.';
comment on column movies.title_words is 'The words of the title. It orders what a query finds.';
comment on column movies.title_lexemes is 'The words of the title, each found by its beginning.';

create unique index movies_folded_title_year_key on movies (folded_title, year) nulls not distinct where is_folded;
create index movies_folded_title_idx on movies (folded_title, id);
create index movies_title_idx on movies ((title collate "und-x-icu"), id);
-- 9999 is no year of a movie: it stands last.
create index movies_year_idx on movies ((coalesce(year, 9999)), (title collate "und-x-icu"), id);
create index movies_title_words_idx on movies (title_words, id);
-- Without a list of what is pending, so that no search has to read one.
create index movies_title_lexemes_idx on movies using gin (title_lexemes) with (fastupdate = off);

create table lexicon (
    word text collate "C" not null,
    constraint lexicon_pkey primary key (word)
);
comment on table lexicon is
    'Every word that a title has or had: where the words of a query that finds too little are compared for likeness. It is smaller than movies by far, which is what makes this fast. Words stay when the last movie goes.';
create index lexicon_word_idx on lexicon using gin (word gin_trgm_ops);

create function learn_title_words() returns trigger
language plpgsql
as $$
begin
    -- In order, so that two statements with the same new words do not wait for each other in a circle.
    insert into lexicon (word)
    select distinct w.word
    from changed as c
    cross join unnest(string_to_array(c.title_words, ' ')) as w (word)
    order by w.word
    on conflict on constraint lexicon_pkey do nothing;
    return null;
end
$$;
comment on function learn_title_words() is 'Puts the words of new titles into the lexicon, whichever version of the component writes them.';
create trigger movies_inserted after insert on movies
    referencing new table as changed for each statement execute function learn_title_words();
create trigger movies_updated after update on movies
    referencing new table as changed for each statement execute function learn_title_words();

insert into lexicon (word)
select distinct w.word
from movies as m
cross join unnest(string_to_array(m.title_words, ' ')) as w (word);

create table creations (
    key text collate "C" not null,
    request_digest bytea not null,
    movie_id uuid not null,
    created_at timestamptz not null,
    constraint creations_pkey primary key (key),
    constraint creations_key_check check (octet_length(key) between 1 and 256),
    constraint creations_request_digest_check check (octet_length(request_digest) = 32)
);
comment on table creations is
    'Which movie was created by an idempotency key. The movie may have changed or gone since. Deleted after 24 hours, a few by each later creation with a key.';
comment on column creations.request_digest is 'SHA-256 of what was to be created.';
create index creations_created_at_idx on creations (created_at);

analyze movies, lexicon;
