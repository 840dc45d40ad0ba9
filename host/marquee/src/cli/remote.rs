//! Which host a verb asks: that of a data folder of this machine, or one at a URL.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{bail, ensure};
use clap::Args;
use marquee_admin::{
    client::{Client, Place, Tls},
    socket,
};
use marquee_triggers::server::Address;
use url::Url;

use super::environment;
use crate::settings::{Flags, Settings, UpFlags};

/// Which host is meant, on the command line of every verb that asks one.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoteFlags {
    #[command(flatten)]
    flags: Flags,
    /// A host that is asked over TCP, with the token in MARQUEE_ADMIN_TOKEN or a certificate, at https://HOST:PORT
    /// [default: the socket in the data folder]
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<Url>,
    #[command(flatten)]
    tls: TlsFlags,
}

/// The files, on the command line.
#[derive(Debug, Clone, Args)]
struct TlsFlags {
    /// Who signs the certificate of a host that is asked over https://, in PEM [default: whom this system trusts]
    #[arg(long, value_name = "FILE", global = true)]
    admin_ca: Option<PathBuf>,
    /// The certificate to show it, in PEM, where it knows its operators by theirs
    #[arg(long, value_name = "FILE", global = true)]
    admin_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", global = true)]
    admin_key: Option<PathBuf>,
}

impl RemoteFlags {
    /// The host that they mean, and the settings that say so.
    pub(crate) fn decide(&self) -> anyhow::Result<(Client, Settings)> {
        let (place, settings) = self.place()?;
        Ok((client(place, &settings), settings))
    }

    fn place(&self) -> anyhow::Result<(Place, Settings)> {
        let settings = self.settings()?;
        let url = self.url(&settings)?;
        let tls = self.tls.decide(&settings, url.as_ref())?;
        let place = match &url {
            None => Place::Socket(socket::path(&settings.data.value)),
            Some(url) => Place::at(url, tls)?,
        };
        Ok((place, settings))
    }

    /// Where it is, if they or the environment say so.
    pub(crate) fn url(&self, settings: &Settings) -> anyhow::Result<Option<Url>> {
        Ok(
            match (&self.admin, settings.in_environment("MARQUEE_ADMIN")) {
                (Some(url), _) => Some(url.clone()),
                (None, Some(set)) => Some(set.parse("a URL")?.value),
                (None, None) => None,
            },
        )
    }

    /// The settings, of whoever asks no host.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        Settings::decide(&self.flags, &UpFlags::default(), environment())
    }

    /// The host that they mean.
    pub(crate) fn remote(&self) -> anyhow::Result<Client> {
        Ok(self.decide()?.0)
    }

    /// The same, at its admin listener, which answers about its health while it is starting too. Where that speaks TLS it is
    /// the socket, since the name in its certificate is not known here: `--admin https://...` says it.
    pub(crate) fn listener(&self) -> anyhow::Result<Client> {
        let (mut place, settings) = self.place()?;
        if matches!(place, Place::Socket(_)) && settings.admin_tls.is_none() {
            place = match &settings.admin_listen.value {
                Address::Unix(path) => Place::Socket(path.clone()),
                Address::Tcp(address) => Place::Tcp(from_here(*address).to_string(), None),
            };
        }
        Ok(client(place, &settings))
    }
}

impl TlsFlags {
    /// What they, or else the environment, say of the host at `url`. None: it is asked in plain text.
    fn decide(&self, settings: &Settings, url: Option<&Url>) -> anyhow::Result<Option<Tls>> {
        let Some(url) = url.filter(|url| url.scheme() == "https") else {
            let given = [&self.admin_ca, &self.admin_cert, &self.admin_key];
            ensure!(
                given.iter().all(|flag| flag.is_none()),
                "--admin-ca, --admin-cert and --admin-key are for a host that is asked over https:// (--admin or MARQUEE_ADMIN)"
            );
            return Ok(None);
        };
        let path = |flag: &Option<PathBuf>, name| {
            let set = settings.in_environment(name);
            { flag.clone() }.or_else(|| set.map(|set| PathBuf::from(set.value)))
        };
        let ca = path(&self.admin_ca, "MARQUEE_ADMIN_CA");
        let own = match (
            path(&self.admin_cert, "MARQUEE_ADMIN_CERT"),
            path(&self.admin_key, "MARQUEE_ADMIN_KEY"),
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!(
                "a certificate is shown together with its key: --admin-cert and --admin-key, or MARQUEE_ADMIN_CERT and MARQUEE_ADMIN_KEY"
            ),
        };
        Tls::new(url, ca.as_deref(), own.as_ref()).map(Some)
    }
}

fn client(place: Place, settings: &Settings) -> Client {
    let token = settings.admin_token.as_ref();
    Client::new(place, token.map(|set| set.value.clone()))
}

/// Where a listener is reached from the machine that it is on.
fn from_here(mut listens: SocketAddr) -> SocketAddr {
    match listens.ip() {
        IpAddr::V4(every) if every.is_unspecified() => listens.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(every) if every.is_unspecified() => listens.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_interface_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:3001", "127.0.0.1:3001"),
            ("[::]:3001", "[::1]:3001"),
            ("10.1.2.3:3001", "10.1.2.3:3001"),
        ] {
            let listens = listens.parse().expect("an address");
            assert_eq!(from_here(listens).to_string(), asked);
        }
    }
}
