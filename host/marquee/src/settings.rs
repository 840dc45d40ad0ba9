//! Every setting of the host, where it came from, and what it comes to.
//!
//! Flag, then environment, then the runtime config file, then the default; decided here and nowhere else, before
//! anything is opened. What the manifest says about components stays in the manifest.

mod access;
mod kafka;
mod traces;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use marquee_bus::embedded;
use marquee_database::Secret;
use marquee_triggers::{
    Proxies,
    access::Which,
    server::{Address, Files, Networks},
};
use serde::Deserialize;

pub(crate) use self::access::shown as shown_access_log;
use self::kafka::Property;
use crate::alarms::Thresholds;

/// What can be said on the command line of every verb that reads the manifest, before and behind the verb's own verbs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// The manifest, or the folder that it is in [default: spin.toml]
    #[arg(short = 'f', long, value_name = "PATH", global = true)]
    pub(crate) manifest: Option<PathBuf>,
    /// A file with database URLs, brokers and variables, for what should not stand in the environment
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) runtime_config: Option<PathBuf>,
    /// Where the host keeps its data [default: .marquee beside the manifest]
    #[arg(long, value_name = "FOLDER", global = true)]
    pub(crate) data: Option<PathBuf>,
    /// What is logged, in the form of RUST_LOG [default: info]
    #[arg(long, value_name = "FILTER", global = true)]
    pub(crate) log: Option<String>,
}

/// What can be said beside them when the host is started.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UpFlags {
    /// Where to serve; a path as unix:/run/marquee.sock [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<Address>,
    /// Where to answer /healthz and /readyz and, if there is a token (MARQUEE_ADMIN_TOKEN), the admin API
    /// [default: 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<Address>,
    /// How many proxies stand before it, each of which adds to X-Forwarded-For; then it must be reached through them
    /// only [default: 0, at the most 16]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) trusted_proxies: Option<Proxies>,
    /// Networks of proxies before it that speak the PROXY protocol (versions 1 and 2), e.g. 10.0.0.0/8; they have to
    /// [default: none]
    #[arg(long, value_name = "NETWORKS")]
    pub(crate) proxy_protocol: Option<Networks>,
    /// How long it goes on serving after a signal, while it says that it is not ready, so that a load balancer sends nothing
    /// more before the listener closes, e.g. 15s [default: 200ms]
    #[arg(long, value_name = "DURATION")]
    pub(crate) drain_delay: Option<String>,
    /// How long work in flight may take to end after a signal, e.g. 10s [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) grace: Option<String>,
    /// Serve on a database that may lose what it acknowledged (fsync off and the like); for tests
    #[arg(long)]
    pub(crate) allow_unsafe_database: bool,
    /// Start with the versions that the manifest names, whatever was live before
    #[arg(long)]
    pub(crate) manifest_versions: bool,
    /// How many of the newest versions stay on disk, beside those that are live, labelled or next in a rollback [default: 50]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) keep_versions: Option<usize>,
    /// Which requests have a line in the log: off, all, or sampled (some, and all that fail or are slow) [default: off]
    #[arg(long, value_name = "LINES")]
    pub(crate) access_log: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Environment(String),
    File(PathBuf),
    Default,
}

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// All settings, decided.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) manifest: Set<PathBuf>,
    pub(crate) data: Set<PathBuf>,
    pub(crate) log: Set<String>,
    /// Which requests have a line. None: none has.
    pub(crate) access_log: Set<Option<Which>>,
    pub(crate) listen: Set<Address>,
    pub(crate) admin_listen: Set<Address>,
    /// What opens the admin API over TCP. None: it is on its socket only.
    pub(crate) admin_token: Option<Set<Secret>>,
    pub(crate) trusted_proxies: Set<Proxies>,
    pub(crate) proxy_protocol: Set<Networks>,
    /// Of the public listener. None: it has none.
    pub(crate) tls: Option<Files>,
    /// Of the admin listener.
    pub(crate) admin_tls: Option<Files>,
    pub(crate) drain_delay: Set<Duration>,
    pub(crate) grace: Set<Duration>,
    pub(crate) allow_unsafe_database: Set<bool>,
    pub(crate) manifest_versions: Set<bool>,
    pub(crate) keep_versions: Set<usize>,
    /// Files with the public keys of those who may vouch for versions.
    pub(crate) release_keys: Set<Vec<PathBuf>>,
    /// Whether a version that nobody vouches for is refused.
    pub(crate) require_signature: Set<bool>,
    /// None: the embedded bus.
    pub(crate) kafka_brokers: Option<Set<String>>,
    /// Of the Kafka client; each may be a secret.
    pub(crate) kafka_properties: BTreeMap<String, Property>,
    /// Where the embedded bus lives. None: in the embedded PostgreSQL, or else in the first database.
    pub(crate) bus_database: Option<Set<Secret>>,
    /// How long the embedded bus keeps what somebody has not read. None: Kafka keeps what its topics say.
    pub(crate) bus_retention: Option<Set<Duration>>,
    /// When the host is not ready although it could work. None: however far behind it is.
    pub(crate) health_lag: Option<Set<i64>>,
    pub(crate) health_outbox: Option<Set<Duration>>,
    pub(crate) health_stuck: Option<Set<Duration>>,
    /// Whether the traces of the last minutes are kept in memory, for the console.
    pub(crate) keep_traces: Set<bool>,
    environment: BTreeMap<String, String>,
    file: Option<(PathBuf, RuntimeConfig)>,
}

/// The runtime config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuntimeConfig {
    #[serde(default)]
    access_log: access::AccessLog,
    #[serde(default)]
    databases: BTreeMap<String, String>,
    #[serde(default)]
    kafka: Kafka,
    #[serde(default)]
    bus: EmbeddedBus,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    tls: TlsFiles,
    #[serde(default)]
    admin: Admin,
    #[serde(default)]
    health: Health,
    #[serde(default)]
    releases: Releases,
    #[serde(default)]
    traces: Traces,
}

/// What is kept of traces.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Traces {
    keep: Option<bool>,
}

/// Who may vouch for versions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Releases {
    /// Paths, relative to the file's folder.
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    require_signature: bool,
}

/// When the host is not ready although it could work; durations such as 30s, 5m.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    lag: Option<String>,
    outbox: Option<String>,
    stuck: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Admin {
    token: Option<String>,
    #[serde(default)]
    tls: TlsFiles,
}

/// Paths, relative to the file's folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFiles {
    certificate: Option<String>,
    key: Option<String>,
    clients: Option<String>,
}

/// A duration such as 30days.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbeddedBus {
    retention: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Kafka {
    brokers: Option<String>,
    /// By librdkafka's names, which have dots in them.
    #[serde(flatten)]
    properties: toml::Table,
}

impl Settings {
    /// Decide. Reads the runtime config file, the token's, and nothing else.
    pub(crate) fn decide(
        flags: &Flags,
        up: &UpFlags,
        environment: BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let from = |name: &str| {
            environment
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned()
        };
        let text = |flag: Option<String>, flag_name, variable: &str, default: &str| match (
            flag,
            from(variable),
        ) {
            (Some(value), _) => Set {
                value,
                source: Source::Flag(flag_name),
            },
            (None, Some(value)) => Set {
                value,
                source: Source::Environment(variable.to_owned()),
            },
            (None, None) => Set {
                value: default.to_owned(),
                source: Source::Default,
            },
        };
        let path = |flag: &Option<PathBuf>| {
            flag.as_ref()
                .map(|path| path.to_string_lossy().into_owned())
        };

        let mut manifest = text(
            path(&flags.manifest),
            "--manifest",
            "MARQUEE_MANIFEST",
            "spin.toml",
        )
        .map(PathBuf::from);
        if manifest.value.is_dir() {
            manifest.value.push("spin.toml");
        }
        let beside = manifest
            .value
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .join(".marquee");
        let data = text(
            path(&flags.data),
            "--data",
            "MARQUEE_DATA",
            &beside.to_string_lossy(),
        )
        .map(PathBuf::from);
        let log = text(
            flags.log.clone(),
            "--log",
            "MARQUEE_LOG",
            crate::logging::DEFAULT_FILTER,
        );
        let listen = text(
            up.listen.as_ref().map(ToString::to_string),
            "--listen",
            "MARQUEE_LISTEN",
            LISTEN,
        )
        .parse("an address such as 127.0.0.1:3000, or a path such as unix:/run/marquee.sock")?;
        let admin_listen = text(
            up.admin_listen.as_ref().map(ToString::to_string),
            "--admin-listen",
            "MARQUEE_ADMIN_LISTEN",
            ADMIN_LISTEN,
        )
        .parse("an address such as 127.0.0.1:3000, or a path such as unix:/run/marquee.sock")?;
        let trusted_proxies = text(
            up.trusted_proxies.map(|number| number.to_string()),
            "--trusted-proxies",
            "MARQUEE_TRUSTED_PROXIES",
            TRUSTED_PROXIES,
        )
        .parse("a number from 0 to 16")?;
        let proxy_protocol = text(
            up.proxy_protocol.as_ref().map(ToString::to_string),
            "--proxy-protocol",
            "MARQUEE_PROXY_PROTOCOL",
            "",
        )
        .parse("networks such as 10.0.0.0/8, with commas between them")?;
        let grace = text(up.grace.clone(), "--grace", "MARQUEE_GRACE", GRACE);
        let grace = grace.duration()?;
        let drain_delay = text(
            up.drain_delay.clone(),
            "--drain-delay",
            "MARQUEE_DRAIN_DELAY",
            DRAIN_DELAY,
        );
        let drain_delay = drain_delay.duration()?;

        let allow_unsafe_database = text(
            up.allow_unsafe_database.then(|| "true".to_owned()),
            "--allow-unsafe-database",
            "MARQUEE_ALLOW_UNSAFE_DATABASE",
            "false",
        )
        .parse("true or false")?;

        let manifest_versions = text(
            up.manifest_versions.then(|| "true".to_owned()),
            "--manifest-versions",
            "MARQUEE_MANIFEST_VERSIONS",
            "false",
        )
        .parse("true or false")?;

        let keep_versions = text(
            up.keep_versions.map(|number| number.to_string()),
            "--keep-versions",
            "MARQUEE_KEEP_VERSIONS",
            KEEP_VERSIONS,
        )
        .parse("a number")?;

        let file = match path(&flags.runtime_config).or_else(|| from("MARQUEE_RUNTIME_CONFIG")) {
            Some(path) => Some(read(PathBuf::from(path))?),
            None => None,
        };
        let mut settings = Self {
            manifest,
            data,
            log,
            access_log: Set::unset(None),
            listen,
            admin_listen,
            trusted_proxies,
            proxy_protocol,
            tls: None,
            admin_tls: None,
            drain_delay,
            grace,
            allow_unsafe_database,
            manifest_versions,
            keep_versions,
            release_keys: Set::unset(Vec::new()),
            require_signature: Set::unset(false),
            kafka_brokers: None,
            kafka_properties: BTreeMap::new(),
            bus_database: None,
            bus_retention: None,
            admin_token: None,
            health_lag: None,
            health_outbox: None,
            health_stuck: None,
            keep_traces: Set::unset(true),
            environment,
            file,
        };
        settings.kafka_brokers =
            settings.lookup("KAFKA_BROKERS", |file| file.kafka.brokers.as_ref());
        settings.kafka_properties = settings.kafka_properties()?;
        settings.bus_database = settings.database_url("bus");
        settings.bus_retention = settings.bus_retention()?;
        let token = match settings.secret_file("MARQUEE_ADMIN_TOKEN")? {
            Some(token) => Some(token),
            None => settings.lookup("MARQUEE_ADMIN_TOKEN", |file| file.admin.token.as_ref()),
        };
        settings.admin_token = token.map(|token| token.map(Secret::new));
        settings.release_keys = settings.release_keys();
        settings.require_signature = settings.require_signature()?;
        settings.tls = settings.tls("MARQUEE_TLS", |file| &file.tls)?;
        settings.admin_tls = settings.tls("MARQUEE_ADMIN_TLS", |file| &file.admin.tls)?;
        let lag = settings.lookup("MARQUEE_HEALTH_LAG", |file| file.health.lag.as_ref());
        let lag = lag.map(|lag| lag.parse("a number of messages"));
        settings.health_lag = lag.transpose()?;
        settings.access_log = settings.access_log(up.access_log.clone())?;
        settings.health_outbox =
            settings.duration("MARQUEE_HEALTH_OUTBOX", |file| file.health.outbox.as_ref())?;
        settings.health_stuck =
            settings.duration("MARQUEE_HEALTH_STUCK", |file| file.health.stuck.as_ref())?;
        settings.keep_traces = settings.keep_traces()?;
        Ok(settings)
    }

    /// The URL of a database, if one was given: `DATABASE_URL_RATING`, or `databases.rating` of the file.
    pub(crate) fn database_url(&self, name: &str) -> Option<Set<Secret>> {
        let variable = format!("DATABASE_URL_{}", screaming(name));
        self.lookup(&variable, |file| file.databases.get(name))
            .map(|set| set.map(Secret::new))
    }

    /// The value of an application variable, if one was given: `SPIN_VARIABLE_NAME`, or `variables.name`.
    pub(crate) fn variable(&self, name: &str) -> Option<Set<Secret>> {
        let variable = format!("SPIN_VARIABLE_{}", screaming(name));
        self.lookup(&variable, |file| file.variables.get(name))
            .map(|set| set.map(Secret::new))
    }

    /// The folder that paths of the manifest are relative to.
    pub(crate) fn root(&self) -> &Path {
        let parent = self
            .manifest
            .value
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or_else(|| Path::new("."))
    }

    /// A value of the environment, if it is set and not empty.
    pub(crate) fn in_environment(&self, variable: &str) -> Option<Set<String>> {
        let value = self.environment.get(variable);
        let value = value.filter(|value| !value.is_empty())?;
        Some(Set {
            value: value.clone(),
            source: Source::Environment(variable.to_owned()),
        })
    }

    /// A secret in a file of its own, as engines of containers hand it over: where `VARIABLE_FILE` says.
    fn secret_file(&self, variable: &str) -> anyhow::Result<Option<Set<String>>> {
        let named = format!("{variable}_FILE");
        let Some(file) = self.in_environment(&named) else {
            return Ok(None);
        };
        if self.in_environment(variable).is_some() {
            bail!("{variable} and {named} are both set; one of them is enough");
        }
        let path = PathBuf::from(file.value);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{} of {named} cannot be read", path.display()))?;
        Ok(Some(Set {
            value: text.trim_end().to_owned(),
            source: Source::File(path),
        }))
    }

    /// Properties of the Kafka client, from the runtime config file and from where it says that they are.
    fn kafka_properties(&self) -> anyhow::Result<BTreeMap<String, Property>> {
        let Some((path, file)) = &self.file else {
            return Ok(BTreeMap::new());
        };
        let properties = kafka::properties(&file.kafka.properties, path, &self.environment)
            .with_context(|| format!("[kafka] of the runtime config file {}", path.display()))?;
        if self.kafka_brokers.is_none()
            && let Some(name) = properties.keys().next()
        {
            bail!("{name} of [kafka] is for nobody: brokers are not set");
        }
        Ok(properties)
    }

    /// Of the embedded bus, where that is the bus.
    fn bus_retention(&self) -> anyhow::Result<Option<Set<Duration>>> {
        let set = self.duration("MARQUEE_BUS_RETENTION", |file| file.bus.retention.as_ref())?;
        if self.kafka_brokers.is_some() {
            if let Some(set) = set {
                bail!(
                    "{} is for nobody: Kafka's topics say how long they keep their messages",
                    set.source
                );
            }
            return Ok(None);
        }
        let set = set.unwrap_or_else(|| Set {
            value: embedded::Config::default().retention,
            source: Source::Default,
        });
        if !embedded::RETENTION.contains(&set.value) {
            bail!(
                "the retention {} of {} is not between a day and a hundred years",
                humantime::format_duration(set.value),
                set.source
            );
        }
        Ok(Some(set))
    }

    /// Paths with commas between them, or those of the file, which are relative to its folder.
    fn release_keys(&self) -> Set<Vec<PathBuf>> {
        if let Some(set) = self.in_environment("MARQUEE_RELEASE_KEYS") {
            return set.map(|paths| paths.split(',').map(PathBuf::from).collect());
        }
        let in_file = self.file.as_ref();
        let in_file = in_file.filter(|(_, file)| !file.releases.keys.is_empty());
        let Some((path, file)) = in_file else {
            return Set::unset(Vec::new());
        };
        let beside = path.parent().unwrap_or_else(|| Path::new(""));
        let keys = file.releases.keys.iter();
        Set {
            value: keys.map(|key| beside.join(key)).collect(),
            source: Source::File(path.clone()),
        }
    }

    fn require_signature(&self) -> anyhow::Result<Set<bool>> {
        let set = match self.in_environment("MARQUEE_REQUIRE_SIGNATURE") {
            Some(set) => set.parse("true or false")?,
            None => match &self.file {
                Some((path, file)) if file.releases.require_signature => Set {
                    value: true,
                    source: Source::File(path.clone()),
                },
                _ => Set::unset(false),
            },
        };
        if set.value && self.release_keys.value.is_empty() {
            bail!(
                "{} requires signatures, and no key is trusted: name some in MARQUEE_RELEASE_KEYS, or as keys of [releases]",
                set.source
            );
        }
        Ok(set)
    }

    fn keep_traces(&self) -> anyhow::Result<Set<bool>> {
        if let Some(set) = self.in_environment("MARQUEE_KEEP_TRACES") {
            return set.parse("true or false");
        }
        let in_file = self.file.as_ref().and_then(|(path, file)| {
            let source = Source::File(path.clone());
            { file.traces.keep }.map(|value| Set { value, source })
        });
        Ok(in_file.unwrap_or_else(|| Set::unset(true)))
    }

    /// The files of a listener's TLS, where it has any.
    fn tls(
        &self,
        prefix: &str,
        in_file: impl Fn(&RuntimeConfig) -> &TlsFiles,
    ) -> anyhow::Result<Option<Files>> {
        let path = |name: &str, of: fn(&TlsFiles) -> Option<&String>| {
            let set = self.lookup(&format!("{prefix}_{name}"), |file| of(in_file(file)))?;
            let beside = match &set.source {
                Source::File(file) => file.parent().unwrap_or_else(|| Path::new("")),
                _ => Path::new(""),
            };
            Some(beside.join(set.value))
        };
        let certificate = path("CERTIFICATE", |tls| tls.certificate.as_ref());
        let key = path("KEY", |tls| tls.key.as_ref());
        let clients = path("CLIENTS", |tls| tls.clients.as_ref());
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Files {
                certificate,
                key,
                clients,
            })),
            (None, None) if clients.is_none() => Ok(None),
            _ => bail!(
                "TLS needs a certificate and its key: {prefix}_CERTIFICATE and {prefix}_KEY, or the file's"
            ),
        }
    }

    /// A duration such as 5m, where it is set.
    fn duration(
        &self,
        variable: &str,
        in_file: impl Fn(&RuntimeConfig) -> Option<&String>,
    ) -> anyhow::Result<Option<Set<Duration>>> {
        let set = self.lookup(variable, in_file);
        set.map(Set::duration).transpose()
    }

    /// When the host is not ready although it could work.
    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds {
            lag: self.health_lag.as_ref().map(|set| set.value),
            outbox: self.health_outbox.as_ref().map(|set| set.value),
            stuck: self.health_stuck.as_ref().map(|set| set.value),
        }
    }

    fn lookup(
        &self,
        variable: &str,
        in_file: impl Fn(&RuntimeConfig) -> Option<&String>,
    ) -> Option<Set<String>> {
        self.in_environment(variable).or_else(|| {
            let (path, file) = self.file.as_ref()?;
            in_file(file).map(|value| Set {
                value: value.clone(),
                source: Source::File(path.clone()),
            })
        })
    }
}

impl<T> Set<T> {
    /// Nobody said anything.
    fn unset(value: T) -> Self {
        Self {
            value,
            source: Source::Default,
        }
    }

    fn map<U>(self, to: impl FnOnce(T) -> U) -> Set<U> {
        Set {
            value: to(self.value),
            source: self.source,
        }
    }
}

impl Set<String> {
    pub(crate) fn parse<T: std::str::FromStr>(self, what: &str) -> anyhow::Result<Set<T>> {
        match self.value.parse() {
            Ok(value) => Ok(Set {
                value,
                source: self.source,
            }),
            Err(_) => bail!("{:?} of {} is not {what}", self.value, self.source),
        }
    }
}

impl Set<String> {
    fn duration(self) -> anyhow::Result<Set<Duration>> {
        let Self { value, source } = self;
        let duration = humantime::parse_duration(&value)
            .with_context(|| format!("{value:?} of {source} is not a duration such as 10s"))?;
        Ok(Set {
            value: duration,
            source,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

fn read(path: PathBuf) -> anyhow::Result<(PathBuf, RuntimeConfig)> {
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("the runtime config file {} cannot be read", path.display()))?;
    let file = toml::from_str(&text)
        .with_context(|| format!("the runtime config file {} is not right", path.display()))?;
    Ok((path, file))
}

fn screaming(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

/// A few weeks of releases of a few components.
const KEEP_VERSIONS: &str = "50";
/// As `spin up` does.
const LISTEN: &str = "127.0.0.1:3000";
/// Beside the public one; loopback only, since it says what is wrong inside.
const ADMIN_LISTEN: &str = "127.0.0.1:3001";
/// Whoever connects is the client: what it says of itself is worth nothing.
const TRUSTED_PROXIES: &str = "0";
/// Nobody notices it at a terminal, and it is still some requests on one machine. A balancer needs what its checks take.
const DRAIN_DELAY: &str = "200ms";
/// Twice the longest deadline of a request would be too long for a person who waits at a terminal.
const GRACE: &str = "10s";
