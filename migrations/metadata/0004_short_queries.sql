-- marquee: expand
-- The beginning of a word that few words have finds movies by itself, however short it is.
--
-- The old code sees: nothing of it.

create function movie_short_query(words text) returns tsquery
language plpgsql immutable strict parallel safe
as $$
declare
    last constant text collate "C" := regexp_replace(words, '^.* ', '');
    beginning bigint;
begin
    select count(*) into beginning
    from (select from lexicon as x where x.word >= last and x.word < last || chr(1114111) limit 500) as few;
    if beginning < 500 then
        return ('''' || replace(words, ' ', ''' & ''') || ''':*')::tsquery;
    end if;
    return ('''' || replace(regexp_replace(words, ' [^ ]+$', ''), ' ', ''' & ''') || '''')::tsquery;
end
$$;
comment on function movie_short_query(text) is
    'What the index of words is asked for where the last word of a query is short: all of it where few words begin so, else what stands before. Whoever asks compares the last word as well, so what is found does not hang on what the lexicon has at the moment; that is why it may call itself immutable, which lets PostgreSQL plan with its value.';
