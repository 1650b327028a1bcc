//! `atoll completions`: what a shell needs to complete our commands.

use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use crate::{cli::Cli, error::CliError, output::print_bytes};

/// Arguments of `atoll completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "atoll", &mut script);
    print_bytes(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_its_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "atoll", &mut script);
            assert!(
                String::from_utf8(script)
                    .unwrap()
                    .contains("transfer-leader"),
                "{shell}"
            );
        }
    }
}
