//! `atoll init`: make a cluster that others can reach.

use atoll_base::config::{Address, Config};
use clap::Args;

use crate::{error::CliError, settings::SettingFlags};

/// Arguments of `atoll init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// The name or address that others reach this machine by, and the port for clients if it
    /// is not 2379. Other nodes come in on port 2380 of it.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) listen: String,
    /// The name of the context to write; the current one from then on.
    #[arg(long = "context-name", default_value = "default", value_name = "NAME")]
    pub(crate) context_name: String,
    #[command(flatten)]
    settings: SettingFlags,
}

/// The ports of listeners that a bare host is given.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

impl InitArgs {
    /// The settings, with both listeners at `--listen` unless they were named themselves.
    pub(crate) fn settings(&self) -> SettingFlags {
        let address = self.listen.parse().unwrap_or(Address {
            host: self.listen.trim_matches(['[', ']']).to_owned(),
            port: CLIENT_PORT,
        });
        let peer = Address {
            port: PEER_PORT,
            ..address.clone()
        };
        let mut all = SettingFlags::default();
        all.push("listen.client", address.to_string());
        all.push("listen.peer", peer.to_string());
        all.extend(&self.settings);
        all
    }
}

/// Makes the cluster.
///
/// # Errors
/// The folder holds a cluster already, or cannot be written.
pub(crate) async fn run(_args: InitArgs, _config: Config) -> Result<(), CliError> {
    Err(CliError::failed("this build cannot make a cluster", ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load;

    #[test]
    fn both_listeners_go_where_it_is_said() {
        for (listen, client, peer) in [
            ("10.0.0.1", "10.0.0.1:2379", "10.0.0.1:2380"),
            ("10.0.0.1:9000", "10.0.0.1:9000", "10.0.0.1:2380"),
            ("fd00::1", "[fd00::1]:2379", "[fd00::1]:2380"),
            ("[fd00::1]:7", "[fd00::1]:7", "[fd00::1]:2380"),
        ] {
            let args = InitArgs {
                listen: listen.into(),
                context_name: "default".into(),
                settings: SettingFlags::default(),
            };
            let config = load(None, &args.settings()).unwrap().config;
            assert_eq!(config.client_address().to_string(), client);
            assert_eq!(config.peer_address().to_string(), peer);
        }
    }
}
