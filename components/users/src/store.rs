//! Users and sessions in PostgreSQL: every statement that the component sends.
//!
//! Promises: each command is one statement, which needs no transaction around it. All times are the database's, so hosts
//! with other clocks agree. A user's row is locked before any session of theirs is changed, and a client's attempts before
//! a user's: statements that run at once wait for each other and not in a circle. Bounds are the domain's; what has had
//! its time is deleted by later statements, a few rows each.

use marquee_guest::{
    params,
    sql::{Database, Error, Row},
};
use uuid::Uuid;

use crate::domain::{
    Access, Client, Digest, Login, Name, NewUser, PasswordHash, Refresh, Role, User, deleted_event,
};

const DB: Database = Database::at("users_database_url");

/// What came of a registration.
pub(crate) enum Registered {
    /// There is a user.
    New(User),
    /// Another one has the name or the address.
    Taken,
    /// Over the limit for so many seconds.
    TooMany(u32),
}

/// What came of looking for somebody who logs in.
pub(crate) enum Found {
    /// This user, with this hash.
    User(Uuid, String),
    /// Nobody.
    Nobody,
    /// Over a limit for so many seconds.
    TooMany(u32),
}

/// What came of changing what was seen.
pub(crate) enum Changed {
    /// It is changed.
    Done,
    /// It is no longer what was seen.
    Meanwhile,
    /// There is no such user.
    Unknown,
}

/// What came of a refresh token.
pub(crate) enum Refreshed {
    /// The session goes on.
    Session(Uuid),
    /// It was used before; the session has ended.
    Reused,
    /// It is not known, or the session is over.
    Unknown,
}

/// Whom an access token speaks for.
pub(crate) struct Principal {
    pub(crate) user: Uuid,
    pub(crate) session: Uuid,
    pub(crate) role: Role,
}

/// Keep a new user, if their client may and nobody has the name or the address.
pub(crate) async fn register(
    id: Uuid,
    new: &NewUser,
    client: Option<&Client>,
) -> Result<Registered, Error> {
    let params = params![
        id,
        new.name().map(Name::as_str),
        new.name().map(|name| name.key().as_str()),
        new.email().map(|email| email.as_str()),
        new.email().map(|email| email.key().as_str()),
        new.hash().as_str(),
        client.map(Client::registration),
    ];
    let mut row = DB.one(REGISTER, params).await?;
    if !row.take::<bool>("is_allowed")? {
        return Ok(Registered::TooMany(retry_after_s(&mut row)?));
    }
    let Some(created_at_ms) = row.take("created_at_ms")? else {
        return Ok(Registered::Taken);
    };
    Ok(Registered::New(User {
        id,
        name: new.name().map(|name| name.as_str().to_owned()),
        email: new.email().map(|email| email.as_str().to_owned()),
        role: Role::User,
        created_at_ms,
    }))
}

/// Count an attempt and find whom it is on.
pub(crate) async fn credentials(login: &Login, client: Option<&Client>) -> Result<Found, Error> {
    let params = params![
        login.name().map(|key| key.as_str()),
        login.email().map(|key| key.as_str()),
        login.nobody(),
        client.map(Client::log_in),
    ];
    let mut row = DB.one(CREDENTIALS, params).await?;
    if !row.take::<bool>("is_allowed")? {
        return Ok(Found::TooMany(retry_after_s(&mut row)?));
    }
    Ok(match (row.take("id")?, row.take("password_hash")?) {
        (Some(id), Some(hash)) => Found::User(id, hash),
        _ => Found::Nobody,
    })
}

/// Begin a session, if the hash that was seen is still the user's. False if not.
pub(crate) async fn create(
    session: Uuid,
    user: Uuid,
    seen: &PasswordHash,
    access: &Access,
    refresh: &Refresh,
) -> Result<bool, Error> {
    let params = params![
        session,
        user,
        seen.as_str(),
        bytes(&access.digest),
        bytes(&refresh.family_digest),
        bytes(&refresh.digest),
    ];
    match DB.optional(CREATE, params).await {
        Ok(row) => Ok(row.is_some()),
        // The user was erased meanwhile.
        Err(error) if error.constraint() == Some("sessions_user_id_fkey") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whom an access token speaks for.
pub(crate) async fn verify(access: &Access) -> Result<Option<Principal>, Error> {
    let Some(mut row) = DB.optional(VERIFY, params![bytes(&access.digest)]).await? else {
        return Ok(None);
    };
    Ok(Some(Principal {
        session: row.take("session_id")?,
        user: row.take("user_id")?,
        role: role(&mut row)?,
    }))
}

/// Give a session its next tokens, or end it.
pub(crate) async fn refresh(
    shown: &Refresh,
    access: &Access,
    next: &Refresh,
) -> Result<Refreshed, Error> {
    let params = params![
        bytes(&shown.family_digest),
        bytes(&shown.digest),
        bytes(&access.digest),
        bytes(&next.digest),
    ];
    let Some(mut row) = DB.optional(REFRESH, params).await? else {
        return Ok(Refreshed::Unknown);
    };
    let id = row.take("id")?;
    Ok(match (row.take("is_current")?, row.take("is_live")?) {
        (true, true) => Refreshed::Session(id),
        (true, false) => Refreshed::Unknown,
        (false, _) => Refreshed::Reused,
    })
}

/// End the session of an access token.
pub(crate) async fn end(access: &Access) -> Result<(), Error> {
    DB.execute(END, params![bytes(&access.digest)]).await?;
    Ok(())
}

/// Set another password, and end all sessions but one.
pub(crate) async fn change_password(
    user: Uuid,
    seen: &PasswordHash,
    new: &PasswordHash,
    keep: Option<Uuid>,
) -> Result<Changed, Error> {
    let params = params![user, seen.as_str(), new.as_str(), keep];
    changed(DB.one(CHANGE_PASSWORD, params).await?)
}

/// Keep another hash of the same password.
pub(crate) async fn rehash(
    user: Uuid,
    seen: &PasswordHash,
    new: &PasswordHash,
) -> Result<Changed, Error> {
    changed(
        DB.one(REHASH, params![user, seen.as_str(), new.as_str()])
            .await?,
    )
}

/// Give a user another name. None: there is no such user.
pub(crate) async fn rename(id: Uuid, name: &Name) -> Result<Option<User>, Error> {
    let params = params![id, name.as_str(), name.key().as_str()];
    DB.optional(RENAME, params).await?.map(user).transpose()
}

/// Give a user another role. None: there is no such user.
pub(crate) async fn set_role(id: Uuid, role: Role) -> Result<Option<User>, Error> {
    let params = params![id, role.as_str()];
    DB.optional(SET_ROLE, params).await?.map(user).transpose()
}

/// Erase a user and say so on the bus. False: there is no such user.
pub(crate) async fn delete(id: Uuid) -> Result<bool, Error> {
    let row = DB.optional(DELETE, params![id, deleted_event(id)]).await?;
    Ok(row.is_some())
}

/// The user with this id.
pub(crate) async fn by_id(id: Uuid) -> Result<Option<User>, Error> {
    DB.optional(BY_ID, params![id]).await?.map(user).transpose()
}

fn user(mut row: Row) -> Result<User, Error> {
    Ok(User {
        id: row.take("id")?,
        name: row.take("name")?,
        email: row.take("email")?,
        role: role(&mut row)?,
        created_at_ms: row.take("created_at_ms")?,
    })
}

fn role(row: &mut Row) -> Result<Role, Error> {
    let word: String = row.take("role")?;
    Role::from_kept(&word)
        .ok_or_else(|| Error::Broken(format!("role {word} is not known to this version")))
}

fn changed(mut row: Row) -> Result<Changed, Error> {
    Ok(match (row.take("is_done")?, row.take("is_known")?) {
        (true, _) => Changed::Done,
        (false, true) => Changed::Meanwhile,
        (false, false) => Changed::Unknown,
    })
}

/// None where the subject was new when the statement began: then others are trying just now.
fn retry_after_s(row: &mut Row) -> Result<u32, Error> {
    Ok(row.take::<Option<u32>>("retry_after_s")?.unwrap_or(1))
}

fn bytes(digest: &Digest) -> &[u8] {
    digest
}

/// One more attempt of a subject, if it may: as many at once as `until` has of `every` and one more, then one in `every`. One
/// row where it may, and only then it counts.
macro_rules! attempt {
    ($subject:literal, every $every:literal, until $full:literal, if $condition:literal) => {
        concat!(
            "
    insert into attempts as a (subject, busy_until)
    select ",
            $subject,
            ", now() + interval '",
            $every,
            "'
    where ",
            $condition,
            "
    on conflict on constraint attempts_pkey do update
    set busy_until = greatest(a.busy_until, now()) + interval '",
            $every,
            "'
    where a.busy_until <= now() + interval '",
            $full,
            "'
    returning a.subject"
        )
    };
}

/// A few subjects whose attempts are all forgotten by now go, but none that this statement counts.
macro_rules! swept {
    ($counted:literal) => {
        concat!(
            "
    delete from attempts as a
    where a.subject in (
        select o.subject
        from attempts as o
        where o.busy_until < now()
        order by o.busy_until
        limit 10
        for update skip locked
    ) and a.subject not in (",
            $counted,
            ")"
        )
    };
}

/// `$1` id, `$2` name, `$3` its key, `$4` address, `$5` its key, `$6` hash, `$7` the client's subject or null. One row:
/// whether the client may; when the user was created, null where the name or the address is taken; after how many seconds
/// it is worth trying again. 10 at once, then one in 6 minutes. The attempt counts, whatever comes of it.
pub const REGISTER: &str = concat!(
    "
with allowed as (",
    attempt!("$7::text", every "6 minutes", until "54 minutes", if "$7::text is not null"),
    "
),
inserted as (
    insert into users (id, name, name_key, email, email_key, password_hash)
    select $1::uuid, $2, $3, $4, $5, $6
    where $7::text is null or exists (select from allowed)
    on conflict do nothing
    returning created_at
),
swept as (",
    swept!("select l.subject from allowed as l"),
    "
)
select $7::text is null or exists (select from allowed) as is_allowed,
    (select (extract(epoch from i.created_at) * 1000)::bigint from inserted as i) as created_at_ms,
    (
        select greatest(ceil(extract(epoch from a.busy_until - now()) - 3240), 1)::integer
        from attempts as a
        where a.subject = $7
    ) as retry_after_s"
);

/// `$1` name's key or null, `$2` address's key or null, `$3` the subject where nobody is found, `$4` the client's subject
/// or null. One row: whether the attempt is allowed; id and hash, null where nobody is found; after how many seconds it is
/// worth trying again. Of a client 30 at once, then one in 30 seconds; of a user 10 at once, then one in 90 seconds. What a
/// client tries in vain does not count against the user.
pub const CREDENTIALS: &str = concat!(
    "
with found as materialized (
    select u.id, u.password_hash
    from users as u
    where u.name_key = $1 or u.email_key = $2
),
target as materialized (
    select coalesce((select 'user:' || f.id from found as f), $3) as subject
),
client as (",
    attempt!("$4::text", every "30 seconds", until "870 seconds", if "$4::text is not null"),
    "
),
allowed as (",
    attempt!("(select t.subject from target as t)", every "90 seconds", until "810 seconds", if "$4::text is null or exists (select from client)"),
    "
),
swept as (",
    swept!("select c.subject from client as c union all select l.subject from allowed as l"),
    "
)
select exists (select from allowed) as is_allowed,
    (select f.id from found as f) as id,
    (select f.password_hash from found as f) as password_hash,
    greatest(
        (
            select ceil(extract(epoch from a.busy_until - now()) - 870)
            from attempts as a
            where a.subject = $4
        ),
        (
            select ceil(extract(epoch from a.busy_until - now()) - 810)
            from attempts as a
            where a.subject = (select t.subject from target as t)
        ),
        1
    )::integer as retry_after_s"
);

/// `$1` session, `$2` user, `$3` the hash that was seen, `$4` digest of the access token, `$5` and `$6` of the refresh
/// token's halves. One row, or none where the hash is another one: the user's row is locked, so one that is being changed
/// is waited for. Log-ins at once do not see each other's sessions; the next one deletes what is too many.
pub const CREATE: &str = "
with holder as materialized (
    select u.id, u.generation
    from users as u
    where u.id = $2::uuid and u.password_hash = $3
    for no key update of u
),
forgiven as (
    delete from attempts as a
    using holder as h
    where a.subject = 'user:' || h.id
),
surplus as (
    delete from sessions as s
    where s.id in (
        select o.id
        from sessions as o
        where o.user_id = (select h.id from holder as h)
        order by o.id desc
        offset 19
    )
),
expired as (
    delete from sessions as s
    where s.id in (
        select o.id
        from sessions as o
        where o.refresh_expires_at < now()
        order by o.refresh_expires_at
        limit 10
        for update skip locked
    )
)
insert into sessions (
    id, user_id, generation, access_digest, access_expires_at, family_digest, refresh_digest, refresh_expires_at
)
select $1::uuid, h.id, h.generation, $4, now() + interval '15 minutes', $5, $6, now() + interval '30 days'
from holder as h
returning id";

/// `$1` digest of an access token. A row where it speaks for somebody.
pub const VERIFY: &str = "
select s.id as session_id, u.id as user_id, u.role
from sessions as s
join users as u on u.id = s.user_id and u.generation = s.generation
where s.access_digest = $1 and s.access_expires_at > now()";

/// `$1` and `$2` digests of the halves of a refresh token, `$3` of the next access token, `$4` of the next second half. A
/// row where the session is known: whether the token is the current one, and whether the session is still good. If not
/// both, it is gone. `found` is the row as it is under its lock, after waiting where it had to: of two callers with the
/// same token the second finds another one there.
pub const REFRESH: &str = "
with found as materialized (
    select s.id, s.refresh_digest = $2 as is_current,
        s.refresh_expires_at > now()
            and s.generation = (select u.generation from users as u where u.id = s.user_id) as is_live
    from sessions as s
    where s.family_digest = $1
    for update of s
),
renewed as (
    update sessions as s
    set access_digest = $3,
        access_expires_at = now() + interval '15 minutes',
        refresh_digest = $4,
        refresh_expires_at = now() + interval '30 days'
    from found as f
    where s.id = f.id and f.is_current and f.is_live
),
ended as (
    delete from sessions as s
    using found as f
    where s.id = f.id and not (f.is_current and f.is_live)
)
select f.id, f.is_current, f.is_live from found as f";

/// `$1` digest of an access token.
pub const END: &str = "delete from sessions where access_digest = $1";

/// `$1` user, `$2` the hash that was seen, `$3` the new one, `$4` the session that goes on or null. One row: whether it is
/// done, and whether there is such a user. A session that began meanwhile is not deleted here, but it is of an earlier
/// generation and no good.
pub const CHANGE_PASSWORD: &str = "
with changed as (
    update users as u
    set password_hash = $3, generation = u.generation + 1
    where u.id = $1::uuid and u.password_hash = $2
    returning u.id, u.generation
),
forgiven as (
    delete from attempts as a
    using changed as c
    where a.subject = 'user:' || c.id
),
kept as (
    update sessions as s
    set generation = c.generation
    from changed as c
    where s.user_id = c.id and s.id = $4::uuid and s.generation = c.generation - 1
),
ended as (
    delete from sessions as s
    using changed as c
    where s.user_id = c.id and s.id is distinct from $4::uuid
)
select exists (select from changed) as is_done,
    exists (select from users as u where u.id = $1::uuid) as is_known";

/// `$1` user, `$2` the hash that was seen, `$3` the new one. One row: whether it is done, and whether there is such a user.
pub const REHASH: &str = "
with changed as (
    update users as u
    set password_hash = $3
    where u.id = $1::uuid and u.password_hash = $2
    returning u.id
)
select exists (select from changed) as is_done,
    exists (select from users as u where u.id = $1::uuid) as is_known";

/// `$1` user, `$2` name, `$3` its key.
pub const RENAME: &str = "
update users
set name = $2, name_key = $3
where id = $1::uuid
returning id, name, email, role, (extract(epoch from created_at) * 1000)::bigint as created_at_ms";

/// `$1` user, `$2` role.
pub const SET_ROLE: &str = "
update users
set role = $2
where id = $1::uuid
returning id, name, email, role, (extract(epoch from created_at) * 1000)::bigint as created_at_ms";

/// `$1` user, `$2` the event. One row, or none where there is no such user. The event hangs on the deleted row; sessions go
/// with it.
pub const DELETE: &str = "
with deleted as (
    delete from users
    where id = $1::uuid
    returning id
),
forgotten as (
    delete from attempts as a
    using deleted as d
    where a.subject = 'user:' || d.id
)
select marquee.publish('users', d.id::text, '{}', $2) from deleted as d";

/// `$1` user.
pub const BY_ID: &str = "
select id, name, email, role, (extract(epoch from created_at) * 1000)::bigint as created_at_ms
from users
where id = $1::uuid";
