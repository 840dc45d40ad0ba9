//! The host: everything that the application needs, put together, started, and drained.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicI32},
    time::Duration,
};

use anyhow::Context as _;
use marquee_admin::{
    Api, Console, Desk, Events, Metrics, Phase, Samples, Token, health, serve, socket,
};
use marquee_bus::{BatchLimits, Bus, embedded, kafka};
use marquee_database::Database;
use marquee_delivery::{Begin, Consumer, Policy, outbox::Relay};
use marquee_manifest::{App, Canary, ComponentId, Http, Outside, Rates, defaults};
use marquee_releases::{Ledger, Releases, Start, Trust, Versions};
use marquee_runtime::{Room, Runtime};
use marquee_telemetry::traces::{Traces, ring::Ring};
use marquee_triggers::{
    Deliverer, Proxies, Watch, Worker,
    access::AccessLog,
    bus, http, retry, schedule,
    server::{self, Address, Listener},
    telemetry::{DeliveryTally, HttpTally},
};
use tokio::{net::TcpSocket, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    alarms::{Alarms, Thresholds},
    caches::Caches,
    databases::Databases,
    lineup::lineup,
    logging::Omissions,
    settings::Settings,
    tasks::Tasks,
    telemetry::Counting,
};

/// Built and bound, not started.
pub(crate) struct Host {
    databases: Databases,
    parts: Parts,
    routes: Vec<(String, ComponentId)>,
    canaries: BTreeMap<ComponentId, Canary>,
    rates: BTreeMap<ComponentId, Rates>,
    proxies: Proxies,
    example: Option<String>,
    bounds: Http,
    listener: Listener,
    desk: Desk,
    traces: Traces,
    /// Those of the last minutes. None: they are not kept.
    kept_traces: Option<Ring>,
    background: Tasks,
    admin_token: Option<Token>,
    /// Whether browsers reach the admin listener.
    browsed: bool,
    thresholds: Thresholds,
}

/// What stands on the databases.
struct Parts {
    bus: Option<Arc<dyn Bus>>,
    events: Events,
    runtime: Runtime,
    releases: Releases,
    /// Of the admin API, where this host owns the data folder.
    socket: Option<Listener>,
    relays: BTreeMap<ComponentId, Relay>,
    caches: Caches,
    subscriptions: Vec<bus::Trigger>,
    retries: Vec<retry::Trigger>,
    schedules: Vec<Arc<schedule::Trigger>>,
}

/// Started.
pub(crate) struct Running {
    databases: Databases,
    bus: Option<Arc<dyn Bus>>,
    runtime: Runtime,
    releases: Releases,
    desk: Desk,
    /// Ends what takes work from the bus and the clock.
    intake: CancellationToken,
    http: server::Stop,
    triggers: Tasks,
    /// Ends what works behind: the relays, sweeps, alarms.
    behind: CancellationToken,
    background: Tasks,
    traces: Traces,
}

impl Host {
    /// Open databases and bus, load every component, bind the listeners. None if `stop` came first: then nothing of it is
    /// left.
    pub(crate) async fn build(
        app: &App,
        settings: &Settings,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let background = Tasks::default();
        // First what fails at once and costs nothing.
        let admin_token = settings.admin_token.as_ref();
        let admin_token = admin_token
            .map(|token| {
                let source = &token.source;
                Token::new(&token.value).with_context(|| format!("the token of {source}"))
            })
            .transpose()?;
        let (traces, kept_traces) = traces(app, settings)?;
        // Ours from now on; whoever connects before it is ready is refused.
        let public = Bound::to(&settings.listen.value, "--listen")?;
        let admin = Bound::to(&settings.admin_listen.value, "--admin-listen")?;
        let certificates = [&settings.tls, &settings.admin_tls].map(|files| {
            let tls = files.clone().map(server::Tls::read).transpose();
            tls.context("TLS cannot be set up")
        });
        let [public_tls, admin_tls] = certificates;
        let (public_tls, admin_tls) = (public_tls?, admin_tls?);
        let desk = Desk::open(admin.listen()?.with_tls(admin_tls.clone()));
        background.keep("admin", &desk.stop, desk.serving());
        for tls in [&public_tls, &admin_tls].into_iter().flatten() {
            let tls = tls.clone();
            background.keep("certificates", &desk.stop, move |stop| {
                tls.clone().follow(stop)
            });
        }
        desk.starts("opens the databases");
        // A server of its own is stopped in good order once it has started, and not before.
        let databases = Databases::open(app, settings).await?;
        let parts = async {
            let parts = Parts::assemble(app, settings, &databases, &desk, &traces).await?;
            let listener = public.listen()?.with_tls(public_tls);
            let proxies = settings.proxy_protocol.value.clone();
            Ok((parts, listener.with_proxies(proxies)))
        };
        let parts = stop.run_until_cancelled(Box::pin(parts)).await;
        match parts.transpose() {
            Ok(Some((parts, listener))) => Ok(Some(Self {
                databases,
                parts,
                routes: app
                    .routes
                    .iter()
                    .map(|route| (route.pattern.clone(), route.component.clone()))
                    .collect(),
                canaries: app
                    .components
                    .values()
                    .filter(|component| component.canary != Canary::default())
                    .map(|component| (component.id.clone(), component.canary.clone()))
                    .collect(),
                rates: app
                    .components
                    .values()
                    .filter(|component| component.rates != Rates::default())
                    .map(|component| (component.id.clone(), component.rates.clone()))
                    .collect(),
                proxies: settings.trusted_proxies.value,
                example: app.example.clone(),
                bounds: app.http.clone(),
                listener,
                desk,
                traces,
                kept_traces,
                background,
                admin_token,
                browsed: matches!(settings.admin_listen.value, Address::Tcp(_)),
                thresholds: settings.thresholds(),
            })),
            // What was started for the application ends with it.
            Ok(None) => {
                databases.close().await;
                Ok(None)
            }
            Err(error) => {
                databases.close().await;
                Err(error)
            }
        }
    }

    /// What a person wants to know when it is up.
    pub(crate) fn summary(&self, settings: &Settings) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let (address, admin) = (&self.listener, &self.desk.listener);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "serving    {address}");
        let _ = writeln!(text, "health     {admin}/readyz");
        let clients = settings.admin_tls.as_ref().map(|tls| tls.clients.is_some());
        let keys = match (self.admin_token.is_some(), clients == Some(true)) {
            (false, false) => None,
            (true, false) => Some("the token"),
            (false, true) => Some("a certificate"),
            (true, true) => Some("the token or a certificate"),
        };
        if let Some(keys) = keys {
            let _ = writeln!(text, "admin      {admin}/admin/v1 (with {keys})");
        }
        if self.browsed {
            let _ = writeln!(text, "console    {admin}/console/ (see `marquee console`)");
        }
        let _ = writeln!(text, "data       {}", settings.data.value.display());
        for (name, place) in self.databases.describe(settings) {
            let _ = writeln!(text, "database   {name}: {place}");
        }
        if let Some(bus) = &self.parts.bus {
            let _ = writeln!(text, "bus        {}", bus.describe());
        }
        for (component, digest) in self.parts.releases.stable() {
            let _ = writeln!(text, "component  {component} {digest}");
        }
        let _ = write!(
            text,
            "try        curl -i {}{}",
            match &settings.listen.value {
                Address::Tcp(_) => address.to_string(),
                Address::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
            },
            self.example.as_deref().unwrap_or("/")
        );
        text
    }

    /// Start everything.
    pub(crate) fn start(self, omissions: Omissions, access: Option<Arc<AccessLog>>) -> Running {
        let Self {
            databases,
            parts,
            desk,
            background,
            traces,
            ..
        } = self;
        let intake = CancellationToken::new();
        let behind = CancellationToken::new();
        let triggers = Tasks::default();

        let alarms = Arc::new(Alarms::new(parts.events.clone(), self.thresholds));
        let routes = self.routes.iter().map(|(pattern, _)| pattern.clone());
        let http_tally = Arc::new(HttpTally::new(routes));
        let listener = Arc::new(self.listener);
        let relays = parts.relays.iter().filter_map(|(id, relay)| {
            let database = databases.by_component.get(id)?;
            Some((database.name().to_owned(), relay.tally()))
        });
        let subscriptions = parts.subscriptions.iter();
        let counting = Counting {
            runtime: parts.runtime.clone(),
            releases: parts.releases.clone(),
            databases: databases.all().cloned().collect(),
            relays: relays.collect(),
            deliverers: subscriptions
                .map(|one| (one.topic.clone(), Arc::clone(&one.deliverer)))
                .collect(),
            schedules: parts.schedules.clone(),
            http: Arc::clone(&http_tally),
            listeners: [
                ("public", Arc::clone(&listener)),
                ("admin", Arc::clone(&desk.listener)),
            ],
            tasks: [triggers.clone(), background.clone()],
            omissions: omissions.clone(),
            traces: traces.clone(),
            access: access.clone(),
        };
        let metrics = Metrics::new(counting.source(), parts.events.clone(), alarms.audited());
        let mut asked = asked(&databases, parts.bus.as_ref(), parts.releases.clone());
        asked.extend([
            alarms.part(),
            triggers.part("triggers"),
            background.part("tasks"),
        ]);
        let samples = Samples::default();
        let address = self.browsed.then(|| desk.listener.to_string());
        let (releases, events) = (parts.releases.clone(), parts.events.clone());
        let taken = samples.clone();
        background.keep("samples", &behind, move |stop| {
            let (releases, events) = (releases.clone(), events.clone());
            taken.clone().run(releases, events, stop)
        });
        let api = Api::new(
            parts.releases.clone(),
            Console {
                samples,
                traces: self.kept_traces,
                address,
            },
            parts.events,
            databases.by_component.clone(),
            health::Health::new(asked, desk.life.clone()),
            metrics,
            self.admin_token,
        );
        if let Some(socket) = parts.socket {
            let (router, socket) = (api.clone().router(), Arc::new(socket));
            background.keep("admin socket", &behind, move |stop| {
                let router = router.clone();
                serve(move || router.clone(), Arc::clone(&socket), stop)
            });
        }
        background.keep("log", &behind, move |stop| omissions.clone().tell(stop));
        background.keep("alarms", &behind, move |stop| Arc::clone(&alarms).run(stop));
        let pools: Vec<Database> = databases.by_component.values().cloned().collect();
        let bus = parts.bus.clone();
        background.keep("sweeps", &behind, move |stop| {
            sweep(pools.clone(), bus.clone(), stop)
        });
        for (id, relay) in parts.relays {
            background.keep(format!("relay of {id}"), &behind, move |stop| {
                relay.anew().run(stop)
            });
        }
        parts.caches.keep(&background, &behind);
        let releases = parts.releases.clone();
        background.keep("releases", &behind, move |stop| releases.clone().run(stop));
        // Of those that the others take.
        let runtime = parts.runtime.clone();
        triggers.keep("shadows", &intake, move |stop| {
            let runtime = runtime.clone();
            async move { runtime.shadow(stop).await }
        });
        if let Some(bus) = &parts.bus {
            for subscription in parts.subscriptions {
                let (subscription, bus) = (Arc::new(subscription), Arc::clone(bus));
                let name = format!("subscription {}", subscription.group);
                triggers.keep(name, &intake, move |stop| {
                    Arc::clone(&subscription).run(Arc::clone(&bus), stop)
                });
            }
        }
        for retry in parts.retries {
            let retry = Arc::new(retry);
            let name = format!("retries of {}", retry.topic);
            triggers.keep(name, &intake, move |stop| Arc::clone(&retry).run(stop));
        }
        for schedule in parts.schedules {
            let name = format!("schedule {}", schedule.name());
            triggers.keep(name, &intake, move |stop| Arc::clone(&schedule).run(stop));
        }
        let http = server::Stop::default();
        let config = http::Config {
            routes: self.routes,
            canaries: self.canaries,
            rates: self.rates,
            proxies: self.proxies,
            bounds: self.bounds,
            tally: http_tally,
            traces: traces.clone(),
            access,
        };
        let runtime = parts.runtime.clone();
        let abort = http.abort.clone();
        triggers.keep("HTTP", &http.drain, move |drain| {
            let stop = server::Stop {
                drain,
                abort: abort.clone(),
            };
            http::Trigger::serve(runtime.clone(), config.clone(), Arc::clone(&listener), stop)
        });
        desk.hand_over(api);
        desk.life.goes_on(Phase::Ready);
        Running {
            databases,
            bus: parts.bus,
            runtime: parts.runtime,
            releases: parts.releases,
            desk,
            intake,
            http,
            triggers,
            behind,
            background,
            traces,
        }
    }
}

/// An address that is ours, on which nobody listens yet.
enum Bound {
    Tcp(TcpSocket),
    Unix(PathBuf),
}

impl Bound {
    fn to(address: &Address, flag: &'static str) -> anyhow::Result<Self> {
        let address = match address {
            Address::Tcp(address) => *address,
            Address::Unix(path) => return Ok(Self::Unix(path.clone())),
        };
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            // Those of a host before it may still be closing.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            std::io::Result::Ok(Self::Tcp(socket))
        };
        bind().with_context(|| format!("cannot listen on {address}; choose another with {flag}"))
    }

    fn listen(self) -> anyhow::Result<Listener> {
        let socket = match self {
            Self::Tcp(socket) => socket,
            Self::Unix(path) => return socket::open(&path),
        };
        let listener = socket.listen(BACKLOG).map(Listener::tcp);
        listener.context("cannot listen: somebody else began to, at the same moment")
    }
}

impl Parts {
    /// Migrate the databases, open the bus, load every component.
    async fn assemble(
        app: &App,
        settings: &Settings,
        databases: &Databases,
        desk: &Desk,
        traces: &Traces,
    ) -> anyhow::Result<Self> {
        desk.starts("looks at the databases");
        databases.check(settings).await?;
        desk.starts("migrates the databases; the log says what it waits for");
        databases.migrate(app, settings).await?;
        databases.check_identities(app).await?;
        desk.starts("opens the bus");
        let bus = open_bus(app, settings, databases).await?;
        if let Some(bus) = &bus {
            ensure_topics(app, &**bus).await?;
        }

        desk.starts("loads the components");
        let relays = relays(databases, bus.as_ref(), traces);
        let caches = Caches::new(app, databases);
        let lineup = lineup(app, settings, databases, bus.as_ref(), &relays, &caches)?;
        let memory = app
            .components
            .values()
            .map(|component| component.limits.memory_bytes)
            .max()
            .unwrap_or(64 << 20);
        let runtime = Runtime::new(lineup, memory, Room::default())
            .map_err(|error| anyhow::anyhow!("wasmtime cannot start: {error:#}"))?;
        let versions = Versions::open(
            &settings.data.value,
            &runtime,
            settings.keep_versions.value,
            Trust::read(
                &settings.release_keys.value,
                settings.require_signature.value,
            )?,
        )
        .context("the store of versions is not usable")?;
        let how = Start {
            root: settings.root(),
            manifest_versions: settings.manifest_versions.value,
            migrations: databases.newest_migrations(app, settings)?,
            ledger: ledger(app, databases, desk).await?,
        };
        let releases = Releases::start(app, how, &runtime, versions).await?;

        let socket = match releases.is_ours().await {
            true => Some(socket::bind(&settings.data.value)?),
            false => None,
        };

        let watch = Watch::default();
        let events = Events::new(
            app,
            databases.by_component.values().cloned(),
            databases.checks.clone(),
            bus.clone(),
            watch.clone(),
        );
        let mut subscriptions = Vec::new();
        let mut retries = Vec::new();
        let mut schedules = Vec::new();
        let suspects = Arc::new(Semaphore::new(1));
        for component in app.load_order() {
            let Some(database) = databases.by_component.get(&component.id) else {
                continue;
            };
            // Deliveries leave half of the connections to everything else.
            let most = component.database.as_ref().map_or(2, |it| it.pool_size) / 2;
            let budget = Arc::new(Semaphore::new(most.max(1)));
            let worker = || Worker {
                runtime: runtime.clone(),
                component: component.id.clone(),
                database: database.clone(),
                poke: caches.poke(&component.id, relays.get(&component.id)),
            };
            for schedule in &component.schedules {
                let trigger = schedule::Trigger::new(worker(), schedule.clone(), traces.clone());
                schedules.push(Arc::new(trigger));
            }
            for subscription in &component.subscriptions {
                let deliverer = Arc::new(Deliverer {
                    worker: worker(),
                    consumer: Consumer {
                        name: component.consumer().to_owned(),
                        policy: Policy {
                            attempts: subscription.attempts,
                            interval: subscription.retry,
                        },
                        from: match subscription.from {
                            marquee_manifest::Begin::Earliest => Begin::Earliest,
                            marquee_manifest::Begin::Latest => Begin::Latest,
                        },
                    },
                    deadline: subscription.deadline,
                    partitions: AtomicI32::new(subscription.partitions),
                    budget: Arc::clone(&budget),
                    suspects: Arc::clone(&suspects),
                    tally: DeliveryTally::default(),
                    traces: traces.clone(),
                    system: bus.as_ref().map_or("", |bus| bus.system()),
                });
                subscriptions.push(bus::Trigger {
                    deliverer: Arc::clone(&deliverer),
                    group: format!(
                        "{}.{}.{}",
                        app.name,
                        component.consumer(),
                        subscription.topic
                    ),
                    topic: subscription.topic.clone(),
                    partitions: subscription.partitions,
                    limits: BatchLimits {
                        records: subscription.batch,
                        ..BatchLimits::default()
                    },
                    watch: watch.clone(),
                });
                retries.push(retry::Trigger {
                    deliverer,
                    topic: subscription.topic.clone(),
                });
            }
        }
        Ok(Self {
            bus,
            events,
            runtime,
            releases,
            socket,
            relays,
            caches,
            subscriptions,
            retries,
            schedules,
        })
    }
}

impl Running {
    /// Say that it is not ready, go on serving for `delay`, so that others hear of it; then take nothing new, finish what is
    /// in flight within `grace`, publish what was committed, close. What has not ended by then is ended.
    pub(crate) async fn drain(self, delay: Duration, grace: Duration) {
        self.desk.life.goes_on(Phase::Draining);
        self.intake.cancel();
        tokio::time::sleep(delay).await;
        self.http.drain.cancel();
        // What follows the calls (offsets, leases, the last publishes) needs its share of the time.
        let for_calls = grace.mul_f64(0.6);
        let share = grace.mul_f64(0.1);
        let finished = within(for_calls, self.triggers.ends()).await.is_some();
        let for_calls = if finished { for_calls } else { Duration::ZERO };
        let abandoned = within(for_calls + share, self.runtime.drain(for_calls)).await;
        if abandoned != Some(0) {
            tracing::warn!(
                abandoned,
                "calls did not end in time and were cancelled; what they did was rolled back"
            );
        }
        self.http.abort.cancel();
        if within(share, self.triggers.ends()).await.is_none() {
            tracing::warn!("a trigger did not end in time; what it had begun is rolled back");
        }
        // Its calls have ended, so no version drains for long; a step under way may be anywhere.
        if within(share, self.releases.drained()).await.is_none() {
            tracing::warn!("a step of a release did not end in time; what was live stays so");
        }
        self.behind.cancel();
        drop(self.desk);
        if within(share, self.background.ends()).await.is_none() {
            tracing::warn!(
                "a relay did not end in time; what it did not publish is published at the next start"
            );
        }
        if let Some(bus) = &self.bus
            && within(share, bus.close()).await.is_none()
        {
            tracing::warn!("the bus did not close in time");
        }
        self.traces.stop(share).await;
        self.databases.close().await;
    }
}

/// None: it took longer.
async fn within<T>(time: Duration, ends: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, ends).await.ok()
}

/// Every topic that the application names is there before anything can be published on it. A bus that is away is no
/// reason not to start: whoever joins a topic makes sure of it again.
async fn ensure_topics(app: &App, bus: &dyn Bus) -> anyhow::Result<()> {
    let mut topics: BTreeMap<&str, i32> = BTreeMap::new();
    for component in app.load_order() {
        for topic in &component.publish {
            topics.entry(topic).or_insert(defaults::PARTITIONS);
        }
    }
    for subscription in app
        .components
        .values()
        .flat_map(|component| &component.subscriptions)
    {
        topics.insert(&subscription.topic, subscription.partitions);
    }
    for (topic, partitions) in topics {
        match bus.ensure_topic(topic, partitions).await {
            Ok(_) => {}
            Err(error @ marquee_bus::Error::Unavailable(_)) => {
                tracing::warn!(topic, %error, "the topic could not be made sure of; going on without");
            }
            Err(error) => {
                return Err(error).with_context(|| format!("topic {topic} cannot be had"));
            }
        }
    }
    Ok(())
}

/// Every hour, what nobody needs any more is removed: event ids older than a week, days of the embedded log.
async fn sweep(databases: Vec<Database>, bus: Option<Arc<dyn Bus>>, stop: CancellationToken) {
    loop {
        for database in &databases {
            if let Err(error) = marquee_delivery::lag::sweep(database).await {
                tracing::warn!(database = database.name(), %error, "old event ids could not be removed");
            }
        }
        if let Some(bus) = &bus
            && let Err(error) = bus.sweep().await
        {
            tracing::warn!(%error, "old messages could not be removed from the bus");
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn open_bus(
    app: &App,
    settings: &Settings,
    databases: &Databases,
) -> anyhow::Result<Option<Arc<dyn Bus>>> {
    if app.outside() == Outside::Nothing {
        return Ok(None);
    }
    if let Some(brokers) = &settings.kafka_brokers {
        let properties = settings.kafka_properties.iter();
        let config = kafka::Config {
            properties: properties
                .map(|(name, set)| (name.clone(), set.value.clone()))
                .collect(),
            ..kafka::Config::new(&brokers.value)
        };
        let bus = kafka::Kafka::new(config).context("Kafka cannot be used")?;
        return Ok(Some(Arc::new(bus)));
    }
    let database = databases
        .bus
        .clone()
        .context("the bus has no database; set DATABASE_URL_BUS or KAFKA_BROKERS")?;
    let mut config = embedded::Config::default();
    if let Some(retention) = &settings.bus_retention {
        config.retention = retention.value;
    }
    let bus = embedded::Embedded::open(database, config).await;
    Ok(Some(Arc::new(
        bus.context("the embedded bus cannot be opened")?,
    )))
}

/// Where traces go, and those that are kept here.
fn traces(app: &App, settings: &Settings) -> anyhow::Result<(Traces, Option<Ring>)> {
    let mut traces = settings.traces(&app.name)?;
    let known = |name: &str| traces.attributes.iter().any(|(known, _)| known == name);
    if !known(INSTANCE) {
        // Hosts of one application are told apart by it.
        let instance = (INSTANCE.to_owned(), Uuid::now_v7().to_string());
        traces.attributes.push(instance);
    }
    let ring = settings.keep_traces.value.then(Ring::default);
    let also = ring.iter().map(Ring::processor).collect();
    let traces = Traces::start(&traces, also).context("traces cannot be exported")?;
    Ok((traces, ring))
}

/// What should be live on all hosts. None: they have no database for it, and each is alone.
async fn ledger(app: &App, databases: &Databases, desk: &Desk) -> anyhow::Result<Option<Ledger>> {
    let Some(database) = databases.releases.clone() else {
        return Ok(None);
    };
    let machine = nix::unistd::gethostname().context("this machine has no name")?;
    let name = format!("{} {}", machine.to_string_lossy(), desk.listener);
    let ledger = Ledger::open(database, &app.name, name).await;
    Ok(Some(
        ledger.context("the database of releases is not usable")?,
    ))
}

/// The relay of each outbox. Without a bus there are none.
fn relays(
    databases: &Databases,
    bus: Option<&Arc<dyn Bus>>,
    traces: &Traces,
) -> BTreeMap<ComponentId, Relay> {
    let Some(bus) = bus else {
        return BTreeMap::new();
    };
    databases
        .by_component
        .iter()
        .map(|(id, database)| {
            let relay = Relay::new(database.clone(), Arc::clone(bus));
            (id.clone(), relay.traced(traces.clone()))
        })
        .collect()
}

/// What must work before the host is ready.
fn asked(
    databases: &Databases,
    bus: Option<&Arc<dyn Bus>>,
    releases: Releases,
) -> Vec<health::Part> {
    let mut parts: Vec<health::Part> = databases
        .by_component
        .values()
        .cloned()
        .map(|database| health::Part {
            name: format!("database {}", database.name()),
            ask: Box::new(move || {
                let database = database.clone();
                Box::pin(async move { answer(database.ping().await) })
            }),
        })
        .collect();
    if let Some(bus) = bus.cloned() {
        parts.push(health::Part {
            name: "bus".to_owned(),
            ask: Box::new(move || {
                let bus = Arc::clone(&bus);
                Box::pin(async move { answer(bus.ping().await) })
            }),
        });
    }
    let beside = releases.clone();
    parts.push(health::Part {
        name: "releases".to_owned(),
        ask: Box::new(move || {
            let lags = beside.lags();
            Box::pin(async move { Ok(lags) })
        }),
    });
    parts.push(health::Part {
        name: "components".to_owned(),
        ask: Box::new(move || {
            let missing = releases.missing();
            Box::pin(async move {
                match missing.as_slice() {
                    [] => Ok(None),
                    missing => Err(format!("not live: {}", missing.join(", "))),
                }
            })
        }),
    });
    parts
}

fn answer<E: std::fmt::Display>(pong: Result<(), E>) -> health::Answer {
    pong.map(|()| None).map_err(|error| error.to_string())
}

/// Which of an application's hosts it is, as OpenTelemetry names it.
const INSTANCE: &str = "service.instance.id";
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Often enough that a sweep is short.
const SWEEP: Duration = Duration::from_secs(3_600);
