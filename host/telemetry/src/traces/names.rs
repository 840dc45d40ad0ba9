//! Names of attributes, by OpenTelemetry's semantic conventions; the host's own begin with `marquee.`.

/// Why it failed: an error's code or kind.
pub const ERROR_TYPE: &str = "error.type";

/// `GET`, ...; `_OTHER` for one that nobody knows.
pub const HTTP_METHOD: &str = "http.request.method";
/// The route, as the manifest has it.
pub const HTTP_ROUTE: &str = "http.route";
/// The status of the response.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// The path that was asked for, without its query.
pub const URL_PATH: &str = "url.path";
/// `http` or `https`.
pub const URL_SCHEME: &str = "url.scheme";
/// What a request was sent to, without its query.
pub const URL_FULL: &str = "url.full";
/// Who was asked.
pub const SERVER_ADDRESS: &str = "server.address";
/// On which port.
pub const SERVER_PORT: &str = "server.port";
/// Who asked.
pub const CLIENT_ADDRESS: &str = "client.address";

/// `postgresql`.
pub const DB_SYSTEM: &str = "db.system.name";
/// The database, by its name in the manifest.
pub const DB_NAMESPACE: &str = "db.namespace";
/// The first word of the statement: `SELECT`, ...
pub const DB_OPERATION: &str = "db.operation.name";
/// The statement, without the values of its parameters.
pub const DB_QUERY: &str = "db.query.text";
/// How many rows came back.
pub const DB_ROWS: &str = "db.response.returned_rows";
/// How many rows were changed.
pub const DB_ROWS_CHANGED: &str = "marquee.db.changed_rows";
/// The SQLSTATE of a statement that failed.
pub const DB_STATUS: &str = "db.response.status_code";

/// `kafka`, or `marquee` for the log in PostgreSQL.
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// The topic.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// The partition.
pub const MESSAGING_PARTITION: &str = "messaging.destination.partition.id";
/// `send` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// The same, by its kind.
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
/// How many messages it was.
pub const MESSAGING_BATCH: &str = "messaging.batch.message_count";
/// The event's id.
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// Who consumes.
pub const MESSAGING_GROUP: &str = "messaging.consumer.group.name";

/// A component, as the manifest calls it.
pub const COMPONENT: &str = "marquee.component";
/// Its version: the first 12 digits of the digest.
pub const VERSION: &str = "marquee.version";
/// A label of that version, where it has one.
pub const LABEL: &str = "marquee.label";
/// `stable` or `canary`.
pub const ROLE: &str = "marquee.role";
/// The request's id, which log lines and answers have.
pub const REQUEST_ID: &str = "marquee.request_id";
/// Which try it is, from 1.
pub const ATTEMPT: &str = "marquee.attempt";
/// A schedule, as the manifest calls it.
pub const SCHEDULE: &str = "marquee.schedule";
