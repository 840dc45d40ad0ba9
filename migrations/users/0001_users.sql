-- marquee: expand
-- What users keeps: users, their sessions, and what has been tried lately.
-- The old code sees: nothing; this is the first version.

create table users (
    id uuid not null,
    name text,
    name_key text collate "C",
    email text,
    email_key text collate "C",
    password_hash text not null,
    generation bigint not null default 1,
    role text not null default 'user',
    created_at timestamptz not null default now(),
    constraint users_pkey primary key (id),
    constraint users_name_key_key unique (name_key),
    constraint users_email_key_key unique (email_key),
    constraint users_login_check check (name is not null or email is not null),
    constraint users_name_check check (char_length(name) between 1 and 64),
    constraint users_name_key_check check ((name_key is null) = (name is null) and octet_length(name_key) between 1 and 768),
    constraint users_email_check check (octet_length(email) between 3 and 254),
    constraint users_email_key_check check ((email_key is null) = (email is null) and octet_length(email_key) between 3 and 1016),
    constraint users_password_hash_check check (octet_length(password_hash) between 1 and 255),
    constraint users_role_check check (role in ('user', 'moderator', 'importer', 'admin'))
);
comment on table users is
    'Users. Erasure deletes the row and publishes the id on topic users by the same statement; nothing else of a user is kept.';
comment on column users.id is 'A UUIDv7.';
comment on column users.name_key is
    'The name as names are compared: as movies'' titles are, by their canonical composition (NFC), then lower case character by character. The component computes it, so neither the collation of the database nor a new version of its Unicode tables changes which names are equal.';
comment on column users.email_key is 'The e-mail address as addresses are compared, in the same way.';
comment on column users.password_hash is 'A PHC string of argon2id, with its parameters and its salt.';
comment on column users.generation is
    'Grows by one with every other password. A session of an earlier generation is no good, even one that was begun with the old password while the new one was being set.';

create table sessions (
    id uuid not null,
    user_id uuid not null,
    generation bigint not null,
    access_digest bytea not null,
    access_expires_at timestamptz not null,
    family_digest bytea not null,
    refresh_digest bytea not null,
    refresh_expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    constraint sessions_pkey primary key (id),
    constraint sessions_user_id_fkey foreign key (user_id) references users (id) on delete cascade,
    constraint sessions_access_digest_key unique (access_digest),
    constraint sessions_family_digest_key unique (family_digest),
    constraint sessions_access_digest_check check (octet_length(access_digest) = 32),
    constraint sessions_family_digest_check check (octet_length(family_digest) = 32),
    constraint sessions_refresh_digest_check check (octet_length(refresh_digest) = 32)
);
comment on table sessions is
    'Sessions: one row from a log-in on, whatever is refreshed. Tokens are kept as their SHA-256 only; they are random, so a salt would add nothing. A row whose refresh token has expired is deleted by later log-ins, a few at a time.';
comment on column sessions.id is 'A UUIDv7.';
comment on column sessions.generation is 'The user''s, when the session began or when it was the one to go on with another password.';
comment on column sessions.family_digest is
    'Of the half of a refresh token that stays the same through the session. Whoever shows it has, or had, a token of this session.';
comment on column sessions.refresh_digest is
    'Of the half of a refresh token that each refresh replaces. The first half with another second one is a token that was used before: the session ends.';

-- A user's sessions, oldest first: to end them, and to keep them few.
create index sessions_user_id_idx on sessions (user_id, id);
-- Which sessions have expired.
create index sessions_refresh_expires_at_idx on sessions (refresh_expires_at);

create table attempts (
    subject text collate "C" not null,
    busy_until timestamptz not null,
    constraint attempts_pkey primary key (subject),
    constraint attempts_subject_check check (octet_length(subject) between 1 and 128)
) with (fillfactor = 70);
comment on table attempts is
    'What has been tried lately, by whom and on whom: the generic cell rate algorithm with the state of each subject in one column. A row in the past says nothing and is deleted by later attempts, a few at a time.';
comment on column attempts.subject is
    'user:ID, or a kind and the hexadecimal SHA-256 of a client or of what somebody typed who is nobody here. Such a text may be a password in the wrong field, and a client''s address is a person''s: neither is kept.';
comment on column attempts.busy_until is
    'When this subject will be as if it had never tried. Each attempt moves it on by the time in which one attempt grows back; it is refused if that leads too far ahead of now.';

-- Which rows say nothing any more.
create index attempts_busy_until_idx on attempts (busy_until);
