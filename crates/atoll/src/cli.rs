//! The command line: what can be said, and which module does it.

use std::{fmt, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    client::{Client, Options},
    command::{
        auth, ca, completions, config, context, image, key, keyspace, kubeconfig, lease, lock,
        node, redis, role, snapshot, status, txn, user,
    },
    demo,
    error::{CliError, EXIT_CODES},
    init, logging,
    output::Format,
    recover, settings, start, token,
};

/// How long one answer may take if nobody says otherwise.
const TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// A whole distributed system in one binary.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args)]
pub(crate) struct Global {
    /// A node to talk to; may be given several times, any one of them will do.
    #[arg(
        long,
        global = true,
        env = "ATOLL_ENDPOINT",
        value_delimiter = ',',
        value_name = "URL",
        help_heading = "Connection"
    )]
    pub(crate) endpoint: Vec<String>,
    /// The context to use, instead of the current one (see `atoll context`).
    #[arg(
        long,
        global = true,
        env = "ATOLL_CONTEXT",
        value_name = "NAME",
        help_heading = "Connection"
    )]
    pub(crate) context: Option<String>,
    /// Log in as this user. Better without the password: it is asked for, or comes from
    /// ATOLL_PASSWORD or --user-password-file.
    #[arg(
        long = "user",
        id = "login",
        global = true,
        env = "ATOLL_USER",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]",
        help_heading = "Connection"
    )]
    pub(crate) login: Option<String>,
    /// A file whose first line is that user's password; - is standard input.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) user_password_file: Option<PathBuf>,
    /// The authority to trust (PEM).
    #[arg(
        long,
        global = true,
        env = "ATOLL_CACERT",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub(crate) cacert: Option<PathBuf>,
    /// The client certificate (PEM).
    #[arg(
        long,
        global = true,
        env = "ATOLL_CERT",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(
        long = "key",
        id = "client_key",
        global = true,
        env = "ATOLL_KEY",
        value_name = "FILE",
        help_heading = "Connection"
    )]
    pub(crate) client_key: Option<PathBuf>,
    /// How long one answer may take, in milliseconds.
    #[arg(long, global = true, default_value_t = TIMEOUT_MS_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=3_600_000), value_name = "MS", help_heading = "Connection")]
    pub(crate) timeout_ms: u64,
    /// How results are printed.
    #[arg(
        long,
        global = true,
        env = "ATOLL_OUTPUT",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// The configuration file (TOML), for commands that run a node.
    #[arg(
        long = "config",
        id = "config_file",
        global = true,
        env = "ATOLL_CONFIG",
        value_name = "FILE"
    )]
    pub(crate) config_file: Option<PathBuf>,
}

impl Default for Global {
    fn default() -> Self {
        Global {
            endpoint: Vec::new(),
            context: None,
            login: None,
            user_password_file: None,
            cacert: None,
            cert: None,
            client_key: None,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            output: Format::Table,
            config_file: None,
        }
    }
}

impl fmt::Debug for Global {
    /// Without the login, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Global")
            .field("endpoint", &self.endpoint)
            .field("context", &self.context)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Global {
    /// A client as these flags describe it; not connected yet.
    ///
    /// # Errors
    /// See [`Options::from_global`].
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(Options::from_global(self)?))
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: a cluster of its own, or one more of a cluster.
    Start(start::StartArgs),
    /// Make a cluster that others can reach: authority, root user, a context for this machine.
    Init(init::InitArgs),
    /// Three nodes on this machine, one of them killed under load: is anything lost?
    Demo(demo::DemoArgs),
    /// Make a node that lost its majority for good the only one of its cluster.
    Recover(recover::RecoverArgs),
    /// How the cluster is: who is there, who leads, how many failures it survives now.
    Status,
    /// The nodes of the cluster.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Tokens with which nodes join.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// The authority behind every certificate of the cluster.
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Read, write and watch keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Leases: keys that go when their owner does.
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// Run a command while holding a lock.
    Lock(lock::LockArgs),
    /// Transactions with participants outside of the cluster: all do their part, or none does.
    #[command(subcommand)]
    Txn(txn::TxnCommand),
    /// Who may log in.
    #[command(subcommand)]
    User(user::UserCommand),
    /// What those who log in may do.
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Whether logging in is needed.
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Copies of the whole state.
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
    /// Named parts of hot data, and how consistent each is.
    #[command(subcommand)]
    Keyspace(keyspace::KeyspaceCommand),
    /// A configuration for kubectl and everything that reads the same file.
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// Images of containers that nodes have.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Hot data: what Redis clients read and write.
    #[command(subcommand)]
    Redis(redis::RedisCommand),
    /// Named clusters, so that nobody has to type endpoints.
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// The settings of a node.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Completions for a shell, to standard output.
    Completions(completions::CompletionsArgs),
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let global = &self.global;
        let load =
            |flags: &settings::SettingFlags| settings::load(global.config_file.as_deref(), flags);
        match self.command {
            Command::Start(args) => {
                let loaded = load(&args.settings)?;
                logging::init(&loaded.config.log)?;
                start::run(args, loaded.config).await
            }
            Command::Init(args) => {
                let loaded = load(&args.settings())?;
                init::run(args, loaded.config).await
            }
            Command::Demo(args) => demo::run(args, global.output).await,
            Command::Recover(args) => {
                let loaded = load(&args.settings)?;
                recover::run(args, loaded.config, global.output).await
            }
            Command::Status => status::run(&global.client()?, global.output).await,
            Command::Node(command) => node::run(command, &global.client()?, global.output).await,
            Command::Token(command) => token::run(command, &global.client()?, global.output).await,
            Command::Ca(command) => ca::run(command, global).await,
            Command::Key(command) => key::run(command, &global.client()?, global.output).await,
            Command::Lease(command) => lease::run(command, &global.client()?, global.output).await,
            Command::Lock(args) => lock::run(args, &global.client()?).await,
            Command::Txn(command) => txn::run(command, &global.client()?, global.output).await,
            Command::User(command) => user::run(command, &global.client()?, global.output).await,
            Command::Role(command) => role::run(command, &global.client()?, global.output).await,
            Command::Auth(command) => auth::run(command, &global.client()?, global.output).await,
            Command::Snapshot(command) => snapshot::run(command, global).await,
            Command::Keyspace(command) => keyspace::run(command, global).await,
            Command::Kubeconfig(args) => kubeconfig::run(args, global).await,
            Command::Image(command) => image::run(command, global).await,
            Command::Redis(command) => redis::run(command, global).await,
            Command::Context(command) => context::run(command, global),
            Command::Config(command) => config::run(command, global),
            Command::Completions(args) => completions::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn what_the_manual_shows_parses() {
        for line in [
            "atoll start",
            "atoll start --join 10.0.0.1:2380 --token T --port-offset 10 --dir d --name n",
            "atoll start --control-heartbeat-ms 30 --insecure --listen-client 0.0.0.0:2379",
            "atoll start --config atoll.toml --node-dir d",
            "atoll init --listen 10.0.0.1",
            "atoll demo",
            "atoll demo services",
            "atoll demo commit-protocols --output json",
            "atoll recover --force",
            "atoll status --output json",
            "atoll node list --endpoint a:1 --endpoint b:2",
            "atoll node promote 1f",
            "atoll node drain b --wait",
            "atoll node undrain b",
            "atoll node remove 1f --force",
            "atoll node transfer-leader b",
            "atoll token create --uses 2",
            "atoll ca status",
            "atoll ca finish --force",
            "atoll ca roots --save",
            "atoll key get a --prefix --user ann",
            "atoll --user ann:pw key get a",
            "atoll key put a b --lease 1f --key client.pem",
            "atoll key watch a b --rev 7",
            "atoll lock backup -- pg_dump --key x",
            "atoll lock report --shared -- true",
            "atoll lock workers --permits 4 --ttl-s 3 -- true",
            "atoll txn begin --kind saga --ttl-s 5",
            "atoll txn enlist 1f --http http://127.0.0.1:8080/orders --payload x",
            "atoll txn enlist 1f --postgres stock --sql DELETE --sql SELECT --rows 1",
            "atoll txn enlist 1f --keys --if ver(a)=0 --put a=1 --lease 1f --delete b",
            "atoll txn enlist 1f --keys=more --delete-prefix a/",
            "atoll txn enlist 1f --redis PING --redis TIME --database 3 --at-least -5 --equals x",
            "atoll txn commit 1f --until-ended --user ann",
            "atoll txn list --in-doubt --output json",
            "atoll txn resolve 1f 0 aborted --remark gone",
            "atoll user add ann --no-password",
            "atoll user certificate ann --out d --ttl-s 3600 --context-name ann",
            "atoll role grant reader read a --prefix",
            "atoll auth enable",
            "atoll snapshot save f",
            "atoll snapshot restore f --dir d",
            "atoll keyspace create carts --consistency eventual --replicas 3 --write 1 --read 1",
            "atoll keyspace create orders --redis 10.0.0.1:6379",
            "atoll keyspace list",
            "atoll image import app.tar --name app:1 --node a --node b",
            "atoll image import layout --dir atoll-data --server https://10.0.0.1:6443",
            "atoll image list --output json",
            "atoll image remove app:1 --endpoint a:1 --user ann",
            "atoll redis import dump.rdb --redis 10.0.0.1:6379 --replace",
            "atoll config show --insecure=false",
            "atoll context use lab",
            "atoll completions bash",
        ] {
            parse(line);
        }
    }

    #[test]
    fn settings_given_as_flags_reach_the_tree() {
        let cli = parse("atoll start --insecure --control-heartbeat-ms 30 --node-name n");
        let Command::Start(args) = cli.command else {
            panic!("start was asked for");
        };
        let loaded = settings::load(None, &args.settings).unwrap();
        assert!(loaded.config.security.insecure);
        assert_eq!(loaded.config.control.heartbeat_ms, 30);
        assert_eq!(loaded.config.node.name, "n");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "atoll",
            "atoll key get",
            "atoll key get a --prefix --from-key",
            "atoll lock name",
            "atoll lock name --permits 0 -- true",
            "atoll lock name --permits 2 --shared -- true",
            "atoll txn enlist 1f",
            "atoll txn enlist 1f --http a --postgres b",
            "atoll txn enlist 1f --http a --sql b",
            "atoll txn enlist 1f --http a --put b=1",
            "atoll txn enlist 1f --keys --payload b",
            "atoll txn enlist 1f --keys --postgres b",
            "atoll txn enlist 1f --keys --if size(a)=1",
            "atoll txn enlist 1f --http a --redis b",
            "atoll txn enlist 1f --postgres a --redis b",
            "atoll txn enlist 1f --redis a --payload b",
            "atoll txn enlist 1f --redis a --rows 1",
            "atoll txn enlist 1f --http a --database 1",
            "atoll txn enlist 1f --postgres a --at-least 1",
            "atoll start --join a:1",
            "atoll --timeout-ms 0 status",
            "atoll status --output xml",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
