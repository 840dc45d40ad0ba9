-- marquee: expand
-- A search reads indexes alone until it knows which movies its page has, whatever the order.
--
-- The old code sees: movies as before. What it asks for in the order of an index that goes here is in that of the one in
-- its place.
--
-- Builds indexes under a lock that lets movies be read and not written: a million movies take some ten seconds.

-- The orders, each with what a search has to know of a movie to take it or leave it: to look at the rows themselves, which
-- lie all over the table, takes twenty times as long. Title is a column here, not an expression, since PostgreSQL reads
-- no expression from an index.
create index movies_by_title_idx on movies (title collate "und-x-icu", id) include (title_lexemes, year);
create index movies_by_folded_title_idx on movies (folded_title, id) include (title_lexemes, year);
create index movies_by_year_idx on movies ((coalesce(year, 9999)), title collate "und-x-icu", id) include (title_lexemes, year);
create unique index movies_by_id_idx on movies (id) include (title_lexemes, year);
create index movies_by_words_idx on movies (title_words, id) include (title_lexemes, year);

-- How frequent a word is decides how it is found. By default PostgreSQL knows the thousand most frequent ones.
alter table movies alter column title_lexemes set statistics 300;

-- Loads the extension's code, so that its setting is known below.
select similarity('', '');

create function lexicon_like(word text, most integer) returns setof text
language sql stable strict parallel safe
set pg_trgm.similarity_threshold = 0.4
as $$
    select x.word
    from lexicon as x
    where x.word % lexicon_like.word
    order by similarity(x.word, lexicon_like.word) desc, x.word
    limit most
$$;
comment on function lexicon_like(text, integer) is
    'The words of the lexicon that are like a word, the likest first. A likeness of 0.4 forgives a letter that is missing in a word of six, or two that changed places at its end. It is the function''s own setting, so that the index leaves out what is less alike: by default it would find thirty times as many.';

analyze movies;

-- Last, since from here on movies are not read either.
alter table movies drop constraint movies_pkey, add constraint movies_pkey primary key using index movies_by_id_idx;
drop index movies_title_idx, movies_folded_title_idx, movies_year_idx, movies_title_words_idx;
