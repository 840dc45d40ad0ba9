-- marquee: expand
-- The beginnings of words are in the index of words, and words that are like a short one are found at less cost.
--
-- The old code sees: movies as before. What it looks up in the index that goes is in the one in its place.
--
-- Builds an index under a lock that lets movies be read and not written: a million movies take half a minute.

create function movie_title_beginnings(words text) returns text[]
language sql immutable strict parallel safe
return array(
    select distinct left(w.word, n.letters)
    from unnest(string_to_array(words, ' ')) as w (word)
    cross join generate_series(1, 2) as n (letters)
);
comment on function movie_title_beginnings(text) is
    'The first letter of each word of a title, and the first two: title_words in, and out what a query whose last word has no more letters is compared with.';

create function movie_query(query text) returns tsquery
language plpgsql immutable strict parallel safe
as $$
declare
    words constant text := movie_title_words(query);
begin
    if words = '' then
        return null;
    end if;
    if words ~ ' [^ ]{1,2}$' then
        return ('''' || replace(regexp_replace(words, ' [^ ]+$', ''), ' ', ''' & ''') || '''')::tsquery;
    end if;
    return ('''' || replace(words, ' ', ''' & ''') || ''':*')::tsquery;
end
$$;
comment on function movie_query(text) is
    'What title_lexemes is asked for: each word of a query, the last one as a beginning. One of one or two letters behind others is left out: see movie_query_beginning. Null: there is no word.';

create function movie_query_beginning(query text) returns text[]
language plpgsql immutable strict parallel safe
as $$
declare
    beginning constant text := substring(movie_title_words(query) from ' ([^ ]{1,2})$');
begin
    return case when beginning is not null then array[beginning] end;
end
$$;
comment on function movie_query_beginning(text) is
    'What movie_title_beginnings is asked for: the last word of a query, where it has one or two letters and others stand before it. So many words begin so that their lists are not worth reading. Null where there is no such word.';

-- One index, so that it can leave out at once what has the words and not the beginning. Without a list of what is pending, so
-- that no search has to read one.
create index movies_words_idx on movies using gin (title_lexemes, movie_title_beginnings(title_words)) with (fastupdate = off);

-- Loads the extension's code, so that its setting is known below.
select similarity('', '');

-- What the function of this name was.
create function lexicon_like_any(word text, most integer) returns setof text
language sql stable strict parallel safe
set pg_trgm.similarity_threshold = 0.4
as $$
    select x.word
    from lexicon as x
    where x.word % lexicon_like_any.word
    order by similarity(x.word, lexicon_like_any.word) desc, x.word
    limit most
$$;
comment on function lexicon_like_any(text, integer) is
    'As lexicon_like, whatever the word is. The likeness is the function''s own setting, so that the index leaves out what is less alike: by default it would find thirty times as many.';

create function lexicon_like_counted(word text, shared integer, most integer) returns setof text
language plpgsql stable strict parallel safe
set pg_trgm.similarity_threshold = 0.1
as $$
declare
    own constant integer := cardinality(show_trgm(word));
    -- With a tenth as the threshold, `shared` trigrams are asked for of ten times as many, less a half of one.
    others constant text := left('0a1a2a3a4a5a6a7a8a9a0b1b2b3b4b5b6b7b8b9b', 10 * shared - 5 - own - 1);
    -- Those of up to three letters that share enough of its trigrams. One letter again and again has no more than they.
    short constant text[] := array(select substr(word, n, 3) from generate_series(1, own) as n)
        || array[left(word, 2), left(word, 1) || right(word, 1), left(word, 2) || right(word, 1)];
    letter constant text := left(word, 1);
begin
    return query
    select x.word
    from lexicon as x
    where (
            x.word % (lexicon_like_counted.word || ' ' || others)
            or x.word = any (short)
            or x.word >= repeat(letter, 4) and x.word <= repeat(letter, 200)
        )
        and similarity(x.word, lexicon_like_counted.word) >= 0.4::real
    order by similarity(x.word, lexicon_like_counted.word) desc, x.word
    limit most;
end
$$;
comment on function lexicon_like_counted(text, integer, integer) is
    'As lexicon_like. A word of five trigrams or more is as like only if it shares two sevenths of what both have together; the index, which does not know how many a word has, looks for two fifths of those of the word that is asked for. Where that is one less, it finds forty times as many. So it is asked for the word and others that nobody has, of all of which `shared` must be there.';

create or replace function lexicon_like(word text, most integer) returns setof text
language plpgsql stable strict parallel safe
as $$
declare
    own constant integer := cardinality(show_trgm(word));
    shared constant integer := ceil((own + 5) * 2 / 7.0);
begin
    if own between 4 and 10 and shared > ceil(own * 2 / 5.0) then
        return query select * from lexicon_like_counted(word, shared, most);
    else
        return query select * from lexicon_like_any(word, most);
    end if;
end
$$;
comment on function lexicon_like(text, integer) is
    'The words of the lexicon that are like a word, the likest first. A likeness of 0.4 forgives a letter that is missing in a word of six, or two that changed places at its end.';

-- Also of what the new index is made of: how frequent a beginning is decides how it is found.
analyze movies;

-- Last, since from here on movies are not read either.
drop index movies_title_lexemes_idx;
