//! What fails, and how.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

use super::stage::Stage;
use crate::servers::Bus;

/// Something that fails, and is well again when it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A host is killed and started again.
    KillHost,
    /// Both are.
    KillBoth,
    /// A host stands still for longer than its leases, and goes on.
    FreezeHost,
    /// A host is told to end, and started again.
    EndHost,
    /// The server of all databases is stopped as by a crash, and started again.
    KillPostgres,
    /// Half of the sessions are ended.
    EndSessions,
    /// Half of them again and again, so that something is cut off at each of its steps.
    EndSessionsOften,
    /// Open connections to the databases carry nothing any more.
    Swallow,
    /// There is no way to the databases for a while.
    Cut,
    /// Both hosts change to another version, whose code is other and whose tables have a column more.
    Swap,
    /// The broker is killed and started again.
    KillBroker,
    /// The broker stands still for a while.
    FreezeBroker,
}

/// What there is on a bus.
pub(super) fn all(bus: Bus) -> Vec<Fault> {
    let mut all = vec![
        Fault::KillHost,
        Fault::KillBoth,
        Fault::FreezeHost,
        Fault::EndHost,
        Fault::KillPostgres,
        Fault::EndSessions,
        Fault::EndSessionsOften,
        Fault::Swallow,
        Fault::Cut,
        Fault::Swap,
    ];
    if bus == Bus::Kafka {
        all.extend([Fault::KillBroker, Fault::FreezeBroker]);
    }
    all
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillHost => "a host killed (SIGKILL)",
            Self::KillBoth => "both hosts killed",
            Self::FreezeHost => "a host stopped for longer than its leases (SIGSTOP)",
            Self::EndHost => "a host ended (SIGTERM)",
            Self::KillPostgres => "PostgreSQL killed",
            Self::EndSessions => "half of the sessions ended",
            Self::EndSessionsOften => "half of the sessions ended, 100 times",
            Self::Swallow => "open connections swallowed",
            Self::Cut => "no way to PostgreSQL",
            Self::Swap => "the component swapped",
            Self::KillBroker => "the broker killed",
            Self::FreezeBroker => "the broker stopped (SIGSTOP)",
        }
    }

    /// What was done, in words, and since when all may be well again.
    pub(super) async fn carry_out(
        self,
        stage: &mut Stage,
        random: &mut StdRng,
    ) -> anyhow::Result<(String, Instant)> {
        let number = random.random_range(0..2);
        let pause = Duration::from_millis(random.random_range(200..4_000));
        let seconds = pause.as_secs_f64();
        // Of a host that is started again, before that: its start counts.
        let mut since = None;
        let what = match self {
            Self::KillHost => {
                stage.host(number)?.signal("KILL")?;
                sleep(pause).await;
                since = Some(Instant::now());
                stage.start(number).await?;
                format!("host {number} was killed, and is back after {seconds:.1} s")
            }
            Self::KillBoth => {
                for number in 0..2 {
                    stage.host(number)?.signal("KILL")?;
                }
                since = Some(Instant::now());
                for number in 0..2 {
                    stage.start(number).await?;
                }
                "both hosts were killed, and are back".to_owned()
            }
            Self::FreezeHost => {
                stage.host(number)?.signal("STOP")?;
                sleep(LEASES + pause).await;
                stage.host(number)?.signal("CONT")?;
                format!(
                    "host {number} stood still for {:.1} s",
                    (LEASES + pause).as_secs_f64()
                )
            }
            Self::EndHost => {
                stage.host(number)?.signal("TERM")?;
                sleep(pause).await;
                since = Some(Instant::now());
                stage.start(number).await?;
                format!("host {number} was ended, and is back")
            }
            Self::KillPostgres => {
                stage.postgres.stop_immediately().await;
                sleep(pause).await;
                stage.postgres.start().await;
                format!("PostgreSQL was killed, and is back after {seconds:.1} s")
            }
            Self::EndSessions => {
                let ended = stage.end_sessions().await?;
                format!("{ended} sessions of PostgreSQL were ended")
            }
            Self::EndSessionsOften => {
                let mut ended = 0;
                for _ in 0..OFTEN {
                    ended += stage.end_sessions().await?;
                    sleep(Duration::from_millis(random.random_range(20..150))).await;
                }
                format!("{ended} sessions of PostgreSQL were ended, in {OFTEN} turns")
            }
            Self::Swallow => {
                stage.proxy.swallow();
                "open connections to PostgreSQL carry nothing any more".to_owned()
            }
            Self::Cut => {
                stage.proxy.cut();
                sleep(pause).await;
                stage.proxy.heal();
                format!("there was no way to PostgreSQL for {seconds:.1} s")
            }
            Self::Swap => {
                let label = if random.random_range(0..2) == 0 {
                    "v1"
                } else {
                    "v2"
                };
                // Before a host has recovered it may refuse.
                let mut refused = 0;
                for number in 0..2 {
                    let body = format!("{{\"version\": \"{label}\"}}").into_bytes();
                    let path = "/admin/v1/components/counter/promote";
                    let host = stage.host(number)?;
                    let done = host.admin(Method::POST, path, "application/json", body);
                    refused += usize::from(done.await.is_err());
                }
                format!("both hosts change to version {label}; {refused} refused")
            }
            Self::KillBroker => {
                stage.broker(|broker| broker.kill()).await?;
                sleep(pause).await;
                stage.broker(|broker| broker.start_again()).await?;
                format!("the broker was killed, and is back after {seconds:.1} s")
            }
            Self::FreezeBroker => {
                stage.broker(|broker| broker.pause()).await?;
                sleep(2 * pause).await;
                stage.broker(|broker| broker.resume()).await?;
                format!("the broker stood still for {:.1} s", 2.0 * seconds)
            }
        };
        Ok((what, since.unwrap_or_else(Instant::now)))
    }
}

/// Enough that one comes between any two steps.
const OFTEN: u32 = 100;
/// Longer than any that a host holds.
const LEASES: Duration = Duration::from_secs(17);
