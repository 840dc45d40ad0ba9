//! A database with the host's schema and the component's, and the component's statements by what they are for.

use std::path::Path;

use marquee_database::{Config, Connection, Database, Migrations, Secret};
use users::{
    domain::{Access, Client, Issued, Login, NewUser, Refresh, deleted_event},
    store,
};
use uuid::Uuid;

pub(crate) const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$b25l$b25l";
pub(crate) const OTHER_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$dHdv$dHdv";

pub(crate) struct Fixture {
    database: Database,
    // Dropped last: the connections must be gone before the database is.
    _server: marquee_testkit::TestDatabase,
}

/// A session as its client holds it.
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) access: Issued<Access>,
    pub(crate) refresh: Issued<Refresh>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let server = marquee_testkit::database().await;
        let config = Config::new("users", Secret::new(server.url()));
        let database = Database::new(&config).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/users");
        let own = Migrations::from_folder("users", &folder, None).unwrap();
        for migrations in [marquee_delivery::migrations().unwrap(), own] {
            migrations.apply(&database).await.unwrap();
        }
        Self {
            database,
            _server: server,
        }
    }

    pub(crate) async fn connection(&self) -> Connection {
        self.database.connection().await.unwrap()
    }

    /// `new`, `taken`, or `after` and the seconds.
    pub(crate) async fn register(
        &self,
        id: Uuid,
        name: Option<&str>,
        email: Option<&str>,
        client: Option<&str>,
    ) -> String {
        let new = NewUser::parse(name, email, HASH).unwrap();
        let client = client.map(|client| Client::parse(client).unwrap().registration());
        let name = new
            .name()
            .map(|name| (name.as_str(), name.key().as_str()))
            .unzip();
        let email = new
            .email()
            .map(|email| (email.as_str(), email.key().as_str()))
            .unzip();
        let mut connection = self.connection().await;
        let rows = connection
            .query(
                store::REGISTER,
                &[&id, &name.0, &name.1, &email.0, &email.1, &HASH, &client],
            )
            .await
            .unwrap();
        let row = &rows[0];
        match (
            row.get::<_, bool>("is_allowed"),
            row.get::<_, Option<i64>>("created_at_ms"),
        ) {
            (true, Some(at)) => {
                assert!(at > 1_700_000_000_000, "{at}");
                "new".to_owned()
            }
            (true, None) => "taken".to_owned(),
            (false, none) => {
                assert_eq!(none, None);
                format!("after {}", row.get::<_, i32>("retry_after_s"))
            }
        }
    }

    /// A user by this name.
    pub(crate) async fn user(&self, name: &str) -> Uuid {
        let id = Uuid::now_v7();
        assert_eq!(self.register(id, Some(name), None, None).await, "new");
        id
    }

    /// The user's id and hash, `nobody`, or `after` and the seconds.
    pub(crate) async fn credentials(&self, login: &str, client: Option<&str>) -> String {
        let login = Login::parse(login);
        let client = client.map(|client| Client::parse(client).unwrap().log_in());
        let name = login.name().map(|key| key.as_str());
        let email = login.email().map(|key| key.as_str());
        let mut connection = self.connection().await;
        let rows = connection
            .query(
                store::CREDENTIALS,
                &[&name, &email, &login.nobody(), &client],
            )
            .await
            .unwrap();
        let row = &rows[0];
        if !row.get::<_, bool>("is_allowed") {
            return format!("after {}", row.get::<_, i32>("retry_after_s"));
        }
        match (
            row.get::<_, Option<Uuid>>("id"),
            row.get::<_, Option<String>>("password_hash"),
        ) {
            (Some(id), Some(hash)) => format!("{id} {hash}"),
            _ => "nobody".to_owned(),
        }
    }

    /// A session after `seen` was verified; none where it is another hash.
    pub(crate) async fn create(&self, user: Uuid, seen: &str) -> Option<Session> {
        let id = Uuid::now_v7();
        let access = Access::issue(&random());
        let refresh = Refresh::issue(&random(), &random());
        let rows = self
            .connection()
            .await
            .query(
                store::CREATE,
                &[
                    &id,
                    &user,
                    &seen,
                    &access.kept.digest.as_slice(),
                    &refresh.kept.family_digest.as_slice(),
                    &refresh.kept.digest.as_slice(),
                ],
            )
            .await
            .unwrap();
        (!rows.is_empty()).then_some(Session {
            id,
            access,
            refresh,
        })
    }

    pub(crate) async fn log_in(&self, user: Uuid) -> Session {
        self.create(user, HASH).await.unwrap()
    }

    /// Session and role, if the token speaks for somebody.
    pub(crate) async fn verify(&self, access: &Issued<Access>) -> Option<(Uuid, String)> {
        let rows = self
            .connection()
            .await
            .query(store::VERIFY, &[&access.kept.digest.as_slice()])
            .await
            .unwrap();
        rows.first()
            .map(|row| (row.get("session_id"), row.get("role")))
    }

    pub(crate) async fn is_good(&self, session: &Session) -> bool {
        let found = self.verify(&session.access).await;
        assert!(found.iter().all(|(id, _)| *id == session.id));
        found.is_some()
    }

    /// The session with its next tokens, or `reused` or `unknown`.
    pub(crate) async fn refresh(&self, session: &Session) -> Result<Session, &'static str> {
        let shown = Refresh::parse(&session.refresh.text).unwrap();
        let (access, next) = (Access::issue(&random()), shown.next(&random()));
        let rows = self
            .connection()
            .await
            .query(
                store::REFRESH,
                &[
                    &shown.family_digest.as_slice(),
                    &shown.digest.as_slice(),
                    &access.kept.digest.as_slice(),
                    &next.kept.digest.as_slice(),
                ],
            )
            .await
            .unwrap();
        let found = rows
            .first()
            .map(|row| (row.get("is_current"), row.get("is_live")));
        match found {
            Some((true, true)) => Ok(Session {
                id: rows[0].get("id"),
                access,
                refresh: next,
            }),
            Some((false, _)) => Err("reused"),
            Some((true, false)) | None => Err("unknown"),
        }
    }

    pub(crate) async fn end(&self, session: &Session) {
        let digest = session.access.kept.digest;
        self.connection()
            .await
            .query(store::END, &[&digest.as_slice()])
            .await
            .unwrap();
    }

    /// Whether it is done, and whether there is such a user.
    pub(crate) async fn change_password(
        &self,
        user: Uuid,
        seen: &str,
        new: &str,
        keep: Option<Uuid>,
    ) -> (bool, bool) {
        let mut connection = self.connection().await;
        let rows = connection
            .query(store::CHANGE_PASSWORD, &[&user, &seen, &new, &keep])
            .await
            .unwrap();
        (rows[0].get("is_done"), rows[0].get("is_known"))
    }

    /// The same.
    pub(crate) async fn rehash(&self, user: Uuid, seen: &str, new: &str) -> (bool, bool) {
        let mut connection = self.connection().await;
        let rows = connection
            .query(store::REHASH, &[&user, &seen, &new])
            .await
            .unwrap();
        (rows[0].get("is_done"), rows[0].get("is_known"))
    }

    pub(crate) async fn delete(&self, user: Uuid) -> bool {
        let event = deleted_event(user);
        let rows = self
            .connection()
            .await
            .query(store::DELETE, &[&user, &event])
            .await
            .unwrap();
        !rows.is_empty()
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.connection().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// As if so much time had gone by.
    pub(crate) async fn pass(&self, time: &str) {
        let sql = format!(
            "update attempts set busy_until = busy_until - interval '{time}';
            update sessions set access_expires_at = access_expires_at - interval '{time}',
                refresh_expires_at = refresh_expires_at - interval '{time}'"
        );
        self.connection().await.batch(&sql).await.unwrap();
    }

    /// Wait until another statement waits for a lock.
    pub(crate) async fn until_one_waits(&self) {
        let waiting = async || {
            let sql = "select pid::text from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
            self.texts(sql).await.len() == 1
        };
        marquee_testkit::eventually(std::time::Duration::from_secs(4), "one waits", waiting).await;
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}
