//! `marquee console`: a link that opens the console in a browser.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use url::{Host, Url};

use super::{print, remote::RemoteFlags};

/// Print a link that opens the console of a host in a browser, for twelve hours.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  marquee console
  marquee console --read-only")]
pub(crate) struct Console {
    #[command(flatten)]
    host: RemoteFlags,
    /// Whoever has the link looks, and changes nothing
    #[arg(long)]
    read_only: bool,
}

#[derive(Deserialize)]
struct Session {
    secret: String,
    address: Option<String>,
}

impl Console {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let (remote, settings) = self.host.decide()?;
        let path = format!("/admin/v1/sessions?read_only={}", self.read_only);
        let Session { secret, address } = remote.ask(&path).await?;
        let address = match (self.host.url(&settings)?, address) {
            (Some(asked), _) => Some(asked),
            (None, Some(told)) => Some(from_here(told.parse()?)),
            (None, None) => None,
        };
        let address = address.context(
            "the admin listener of this host is a socket, which browsers do not open; --admin-listen gives it an address",
        )?;
        // What stands behind # is not sent to a server.
        let mut link = address.join("/console/")?;
        link.set_fragment(Some(&secret));
        print(link)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What listens on every interface is reached on loopback.
fn from_here(mut url: Url) -> Url {
    let loopback = match url.host() {
        Some(Host::Ipv4(every)) if every.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(Host::Ipv6(every)) if every.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return url,
    };
    // A URL with a host has room for another.
    let _ = url.set_ip_host(loopback);
    url
}
