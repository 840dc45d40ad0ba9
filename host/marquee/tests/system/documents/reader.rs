//! A reader with a terminal: pastes blocks into one shell, and starts hosts in another.
//!
//! What differs from a real one: ports are free ones, `~/marquee` is this repository, and `make up`, which builds first, is
//! the `marquee up` at its end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// A shell in a folder of its own. Dropped, it ends the host that it has started.
pub(super) struct Reader {
    folder: tempfile::TempDir,
    shell: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
    /// What the documents call a place, and where it is here.
    places: Vec<(String, String)>,
    host: Option<Host>,
}

/// A host, and all that it has started, is one process group, as under a terminal.
struct Host {
    group: String,
}

impl Reader {
    /// In an empty folder with a `marquee` on the PATH. `server` is a PostgreSQL, `host:port`.
    pub(super) fn new(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // A PostgreSQL that a host starts may run as another user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("others may enter");
        let port = |port: u16| format!("127.0.0.1:{port}");
        let (listen, admin) = (
            port(marquee_testkit::free_port()),
            port(marquee_testkit::free_port()),
        );
        let root = root().canonicalize().expect("the repository");
        let places = [
            ("127.0.0.1:3000", listen.as_str()),
            ("127.0.0.1:3001", admin.as_str()),
            ("127.0.0.1:5432", server),
            ("~/marquee", root.to_str().expect("text")),
        ];
        let places = places.map(|(document, here)| (document.to_owned(), here.to_owned()));

        let home = folder.path().join(".reader");
        std::fs::create_dir_all(home.join("bin")).expect("a folder");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_marquee"), home.join("bin/marquee"))
            .expect("a link");
        // On a terminal curl shows no progress.
        std::fs::write(home.join(".curlrc"), "silent\nshow-error\n").expect("written");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .current_dir(folder.path())
            .env("PATH", format!("{}:{path}", home.join("bin").display()))
            .env("CURL_HOME", &home)
            // The dependencies of components are built once, for all runs.
            .env("CARGO_BUILD_BUILD_DIR", root.join("target/documents"))
            .env("MARQUEE_LISTEN", &listen)
            .env("MARQUEE_ADMIN_LISTEN", &admin)
            .env("PGPORT", server.rsplit(':').next().unwrap_or_default())
            .env("SPIN_VARIABLE_POSTGRES_ADDRESS", server);
        for name in ["METADATA", "RATING", "USERS"] {
            let url = format!("postgres://postgres@{server}/{}", name.to_lowercase());
            command.env(format!("SPIN_VARIABLE_{name}_DATABASE_URL"), url);
        }
        // What the test runner has in its environment, no reader has.
        for name in [
            "DATABASE_URL_TEST",
            "KAFKA_BROKERS",
            "CARGO_TARGET_DIR",
            "MARQUEE_DATA",
        ] {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            let cargos = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if cargos {
                command.env_remove(name);
            }
        }
        let mut shell = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bash starts");
        let mut input = shell.stdin.take().expect("piped");
        let lines = BufReader::new(shell.stdout.take().expect("piped")).lines();
        let (send, output) = mpsc::sync_channel(1_000);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        // A command that fails ends the shell, which ends the test. Each job is a process group.
        writeln!(input, "exec 2>&1; set -em -o pipefail").expect("the shell reads");
        Self {
            folder,
            shell,
            input,
            output,
            places: places.into(),
            host: None,
        }
    }

    /// In a clone of this repository, after `make up` has built what it needs.
    pub(super) fn in_a_clone(server: &str) -> Self {
        let reader = Self::new(server);
        let (root, clone) = (root(), reader.folder.path());
        // Files are as new as in a clone, so that what is built from them is built again.
        let script = "
            cd \"$1\"
            tar --exclude=./target --exclude=./.git --exclude=.marquee --exclude=node_modules --exclude=.spin -cf - . |
                tar -C \"$2\" -xmf -
            mkdir -p \"$2/target/release\"
            cp -a target/wasm32-wasip2 \"$2/target\"
            ln -s \"$3\" \"$2/target/release/marquee\"";
        let copied = Command::new("bash")
            .args(["-euc", script, "clone"])
            .args([&root, clone, Path::new(env!("CARGO_BIN_EXE_marquee"))])
            .status()
            .expect("bash runs");
        assert!(copied.success(), "run scripts/components");
        reader
    }

    /// Paste a block. What it prints comes back, with the places that the document knows.
    ///
    /// Its last line may start a host, which serves when this returns and ends when the next one is started: a reader
    /// presses Ctrl-C.
    pub(super) fn paste(&mut self, block: &str) -> String {
        let printed = match starts_a_host(block) {
            Some(line) => {
                // What is printed on the way is a build's.
                self.run(block.trim_end().trim_end_matches(line));
                self.start(line)
            }
            None => self.run(block),
        };
        self.documented(printed)
    }

    /// The host's log, for a test that fails.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn run(&mut self, text: &str) -> String {
        std::fs::write(self.file("block"), self.here(text)).expect("written");
        let block = self.file("block");
        // The end is on a line of its own, whether or not the last one of the block was complete.
        writeln!(
            self.input,
            ". '{}' </dev/null; printf '\\n%s\\n' {END}",
            block.display()
        )
        .expect("the shell reads");
        let (mut printed, deadline) = (String::new(), Instant::now() + DEADLINE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(line) if line == END => {
                    printed.pop();
                    return printed;
                }
                Ok(line) => printed = printed + &line + "\n",
                Err(error) => {
                    panic!("{error}: a command failed, or did not end:\n{text}\n{printed}")
                }
            }
        }
    }

    fn start(&mut self, line: &str) -> String {
        self.host = None;
        let command = line.split(" #").next().unwrap_or_default();
        let mut command = command.replace(
            "make up",
            "SPIN_VARIABLE_AUTH=open target/release/marquee up",
        );
        if command.contains("spin up") {
            command += &self.here(" --listen 127.0.0.1:3000");
        }
        let (said, log) = (self.file("said"), self.file("log"));
        // What the host before said must not be taken for this one's.
        for file in [&said, &log] {
            std::fs::write(file, "").expect("written");
        }
        let start = format!(
            "{command} </dev/null >'{}' 2>'{}' & echo $!",
            said.display(),
            log.display()
        );
        let group = self.run(&start).trim().to_owned();
        assert!(group.parse::<u32>().is_ok(), "{group:?} is no process");
        self.host = Some(Host { group });
        let deadline = Instant::now() + DEADLINE;
        loop {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            if said.contains("\ntry  ") || said.contains("Serving http") {
                return said;
            }
            assert!(
                Instant::now() < deadline,
                "{line} does not serve:\n{said}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(".reader").join(name)
    }

    fn here(&self, text: &str) -> String {
        let replace =
            |text: String, (document, here): &(String, String)| text.replace(document, here);
        self.places.iter().fold(text.to_owned(), replace)
    }

    fn documented(&self, text: String) -> String {
        let folder = format!("{}/", self.folder.path().display());
        let replace =
            |text: String, (document, here): &(String, String)| text.replace(here, document);
        self.places.iter().fold(text.replace(&folder, ""), replace)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.host = None;
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let signal = |signal: &str| {
            let group = format!("-{}", self.group);
            let sent = Command::new("kill")
                .args(["-s", signal, "--", &group])
                .stderr(Stdio::null())
                .status();
            sent.is_ok_and(|status| status.success())
        };
        signal("INT");
        let deadline = Instant::now() + Duration::from_secs(15);
        // Signal 0 asks whether there is anybody left.
        while signal("0") {
            if Instant::now() > deadline {
                signal("KILL");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The last line of a block where it is `make up`, `spin up` or `marquee up`, with variables before and flags behind.
pub(super) fn starts_a_host(block: &str) -> Option<&str> {
    let starts = |line: &&str| {
        let words = line.split_whitespace();
        let mut words = words.skip_while(|word| word.contains('='));
        let program = words.next().and_then(|word| word.rsplit('/').next());
        matches!(program, Some("make" | "spin" | "marquee")) && words.next() == Some("up")
    };
    let last = block.lines().last().filter(starts);
    let hosts = block.lines().filter(starts).count();
    assert_eq!(
        hosts,
        usize::from(last.is_some()),
        "only the last line starts a host:\n{block}"
    );
    last
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

const END: &str = "--the-block-has-ended--";
/// Building components is what takes longest.
const DEADLINE: Duration = Duration::from_secs(600);
