-- Releases: what should be live of each application, for all of its hosts. A step is one revision of the application,
-- written by compare-and-set; hosts look at the number, read what changed since theirs, and do it.
create schema marquee_releases;

create table marquee_releases.applications (
    name text not null,
    revision bigint not null default 0,
    constraint applications_pkey primary key (name)
);
comment on table marquee_releases.applications is 'One row an application: how many steps were taken.';

create table marquee_releases.components (
    application text not null,
    component text not null,
    revision bigint not null,
    state jsonb not null,
    forced boolean not null,
    constraint components_pkey primary key (application, component),
    constraint components_application_fkey foreign key (application) references marquee_releases.applications (name)
);
comment on column marquee_releases.components.revision is 'The step that brought the state.';
comment on column marquee_releases.components.state is 'What is to be live, as live.json of a host''s folder has it.';
comment on column marquee_releases.components.forced is 'Versions of the state are not asked whether they are healthy.';

create table marquee_releases.versions (
    application text not null,
    component text not null,
    digest bytea not null,
    bytes bytea not null,
    stored_by text not null,
    signature bytea,
    stored_at timestamptz not null default now(),
    constraint versions_pkey primary key (application, component, digest),
    constraint versions_application_fkey foreign key (application) references marquee_releases.applications (name),
    constraint versions_digest_check check (length(digest) = 32)
);
-- Components are compressed badly and read whole.
alter table marquee_releases.versions alter column bytes set storage external;
comment on column marquee_releases.versions.signature is 'Ed25519 over the bytes, where somebody vouches for them.';
comment on table marquee_releases.versions is 'The bytes of versions that were live, named by their SHA-256.';

create table marquee_releases.events (
    application text not null,
    id bigint generated always as identity,
    component text not null,
    event jsonb not null,
    constraint events_pkey primary key (application, id)
);
create index events_component_idx on marquee_releases.events (application, component, id);
comment on table marquee_releases.events is 'Who asked for what on which host, when, and what came of it. Never changed.';

create table marquee_releases.hosts (
    application text not null,
    id text not null,
    name text not null,
    seen_at timestamptz not null default now(),
    revision bigint not null,
    failing jsonb not null,
    constraint hosts_pkey primary key (application, id)
);
comment on table marquee_releases.hosts is 'Hosts that run, each in its own words; a row goes when its host stops or was silent for an hour.';
comment on column marquee_releases.hosts.revision is 'The host has done all that it can of the steps up to this one.';
comment on column marquee_releases.hosts.failing is 'Components whose state it cannot make live, and why.';
