//! Apache Kafka for tests: the broker's own jars by Maven, one broker in KRaft mode. It listens in plain text, and over TLS
//! to whoever logs in with PLAIN or SCRAM.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::sync::OnceCell;

use crate::guardian::{self, Guardian};

/// A broker that ends with this, or with the process.
pub struct Server {
    brokers: String,
    secure_brokers: String,
    process: Child,
    folder: tempfile::TempDir,
    _guardian: Guardian,
}

impl Server {
    /// `127.0.0.1:PORT`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// `127.0.0.1:PORT` of the listener `SASL_SSL`, for [`USER`] with [`PASSWORD`], by `PLAIN` and `SCRAM-SHA-512`.
    pub fn secure_brokers(&self) -> &str {
        &self.secure_brokers
    }

    /// The certificate that says who it is, and that nobody knows of: a file in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Make unreadable what a partition has: what is compressed there cannot be unpacked. It has to have something.
    pub fn damage(&self, topic: &str, partition: i32) -> Damage {
        let folder = self.folder.path().join("data");
        let folder = folder.join(format!("{topic}-{partition}"));
        let segment = folder.join("00000000000000000000.log");
        let whole = std::fs::read(&segment).expect("a segment");
        let mut damaged = whole.clone();
        // Behind the header of the batch, which has the checksum that nobody compares.
        let records = damaged.get_mut(61..).expect("a batch");
        records.fill(0x55);
        std::fs::write(&segment, damaged).expect("a damaged segment");
        Damage { segment, whole }
    }

    /// Drop all records of a topic, as retention does at last. Offsets go on from where they are.
    pub async fn drop_records(&self, topic: &str) {
        let admin = self.admin();
        let metadata = admin.inner().fetch_metadata(Some(topic), WAIT);
        let metadata = metadata.expect("its partitions");
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|it| it.partitions()) {
            let placed = all.add_partition_offset(topic, partition.id(), Offset::End);
            placed.expect("a place");
        }
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let dropped = admin
            .delete_records(&all, &options)
            .await
            .expect("an answer");
        for partition in dropped.elements() {
            partition.error().expect("dropped");
        }
    }

    /// Delete a topic with all that is in it. Whoever publishes to it makes it again.
    pub async fn delete_topic(&self, topic: &str) {
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let deleted = self.admin().delete_topics(&[topic], &options).await;
        for topic in deleted.expect("an answer") {
            topic.expect("deleted");
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.create().expect("a client")
    }

    /// Stop it where it stands: connections stay open and nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Let it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// End it as a crash would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Start it again after [`Self::kill`], at the same place and with the same data; wait until it answers.
    pub fn start_again(&mut self) {
        self.process = spawn(self.folder.path());
        await_answer(self);
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success(), "the broker takes no signal");
    }
}

/// Of a partition's log.
pub struct Damage {
    segment: PathBuf,
    whole: Vec<u8>,
}

impl Damage {
    /// As it was.
    pub fn mend(self) {
        std::fs::write(self.segment, self.whole).expect("the segment as it was");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn shared() -> String {
    static SERVER: OnceCell<(String, Option<Server>)> = OnceCell::const_new();
    let (brokers, _) = SERVER
        .get_or_init(|| async {
            if let Ok(brokers) = std::env::var("KAFKA_BROKERS_TEST") {
                return (brokers, None);
            }
            let server = tokio::task::spawn_blocking(start).await.expect("it starts");
            (server.brokers.clone(), Some(server))
        })
        .await;
    brokers.clone()
}

/// Fetch the jars where they are missing, format a log folder, start a broker, wait until it answers.
pub fn start() -> Server {
    let folder = tempfile::Builder::new()
        .prefix("marquee-test-kafka-")
        .tempdir()
        .expect("a temporary folder");
    let ports = Ports {
        plain: crate::free_port(),
        secure: crate::free_port(),
        controller: crate::free_port(),
    };
    certify(folder.path());
    let properties = folder.path().join("server.properties");
    std::fs::write(&properties, configuration(folder.path(), &ports)).expect("its configuration");
    let formatted = java(folder.path(), "-Xmx128m")
        .args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "bWFycXVlZS10ZXN0LXJ1bg",
            "--add-scram",
            &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            "-c",
        ])
        .arg(&properties)
        .output()
        .unwrap_or_else(|error| panic!("java cannot be run ({error}); install a JRE 17 or newer"));
    assert!(
        formatted.status.success(),
        "Kafka's log folder cannot be formatted: {}",
        String::from_utf8_lossy(&formatted.stderr)
    );
    let process = spawn(folder.path());
    // By its file: another process may have the number when the broker was started again.
    let guardian = guardian::after_this_process(&format!(
        "kill -9 $(cat '{0}/pid') 2>/dev/null; rm -rf '{0}'",
        folder.path().display()
    ));
    let mut server = Server {
        brokers: format!("127.0.0.1:{}", ports.plain),
        secure_brokers: format!("127.0.0.1:{}", ports.secure),
        process,
        folder,
        _guardian: guardian,
    };
    await_answer(&mut server);
    server
}

fn java(folder: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(heap)
        .arg("-cp")
        .arg(jars().join("*"))
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

/// Start a broker in its formatted folder.
fn spawn(folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("its log");
    let process = java(folder, "-Xmx384m")
        // A small broker for a short life: quick to start, no tuning for years of uptime.
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "kafka.Kafka"])
        .arg(folder.join("server.properties"))
        .stdout(log.try_clone().expect("its log"))
        .stderr(log)
        .spawn()
        .expect("java");
    std::fs::write(folder.join("pid"), process.id().to_string()).expect("its number");
    process
}

fn await_answer(server: &mut Server) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !answers(&server.brokers) {
        let ended = server.process.try_wait().expect("its state").is_some();
        if ended || Instant::now() > deadline {
            let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            panic!(
                "Kafka does not answer; the end of its log, last line first:\n{}",
                tail.join("\n")
            );
        }
    }
}

/// Whether a broker answers, within a second.
pub(crate) fn answers(brokers: &str) -> bool {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("log_level", "0")
        .create()
        .expect("a client");
    client.fetch_metadata(None, Duration::from_secs(1)).is_ok()
}

/// Of one broker.
struct Ports {
    plain: u16,
    secure: u16,
    controller: u16,
}

/// A key, and a certificate of its own for it.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
    let made = made.expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("identity.pem"), key + &certificate).expect("its identity");
    std::fs::write(folder.join("certificate.pem"), certificate).expect("its certificate");
}

fn configuration(folder: &Path, ports: &Ports) -> String {
    use std::fmt::Write as _;
    let Ports {
        plain,
        secure,
        controller,
    } = ports;
    let listeners = format!("PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secure}");
    let modules = "org.apache.kafka.common.security";
    let mut text = format!(
        "controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
log.dirs={}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={}
listener.name.sasl_ssl.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;
",
        folder.join("data").display(),
        folder.join("identity.pem").display(),
    );
    for (name, value) in SETTINGS {
        writeln!(text, "{name}={value}").expect("a String takes everything");
    }
    text
}

/// For an answer of a broker.
const WAIT: Duration = Duration::from_secs(10);

/// Who may log in.
pub const USER: &str = "marquee";
/// By what.
pub const PASSWORD: &str = "only for tests";

/// What does not depend on where the broker is: one node, small, quick to form a group.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("num.network.threads", "2"),
    ("num.io.threads", "2"),
    ("num.partitions", "1"),
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "500"),
    ("log.cleaner.enable", "false"),
];

/// The folder with the broker's jars, filled by Maven where it is empty.
fn jars() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let folder = cache.join("marquee").join(format!("kafka-{VERSION}"));
    let libs = folder.join("libs");
    if folder.join("complete").is_file() {
        return libs;
    }
    std::fs::create_dir_all(&folder).expect("a cache folder");
    let pom = folder.join("pom.xml");
    let text = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>marquee</groupId><artifactId>kafka</artifactId><version>1</version><dependencies><dependency>\
         <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>\
         </dependency></dependencies></project>"
    );
    std::fs::write(&pom, text).expect("a pom");
    eprintln!("testkit: fetching Apache Kafka {VERSION} with Maven (once)");
    let output = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", libs.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("mvn cannot be run ({error}); install Maven, or set KAFKA_BROKERS_TEST")
        });
    assert!(
        output.status.success(),
        "Kafka cannot be fetched: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    std::fs::write(folder.join("complete"), "").expect("a mark");
    libs
}

pub(crate) const VERSION: &str = "4.1.0";
