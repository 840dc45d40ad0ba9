-- marquee: expand
-- Says how names are compared. The old code sees: nothing of it; no row and no rule changes.

comment on column users.name_key is
    'The name as names are compared: by its canonical composition (NFC), then lower case character by character. It is no full case folding, as titles of movies have it: Weiß and Weiss are two users. The component computes it, so neither the collation of the database nor a new version of its Unicode tables changes which names are equal.';
