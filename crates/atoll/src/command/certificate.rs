//! `atoll user certificate`: a client certificate for a user.

use std::path::{Path, PathBuf};

use atoll_control::proto::cluster::{IssueCertificateRequest, IssueCertificateResponse};
use atoll_world::pki::{Identity, KeyRequest, files};
use clap::Args;
use serde::Serialize;

use crate::{
    client::{Client, Retry},
    context::{Context, Contexts},
    error::CliError,
    node::pki_failed,
    output::{self, Format, View},
};

/// The file with the roots, beside the certificate.
const ROOTS_FILE: &str = "ca.pem";

/// Arguments of `atoll user certificate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CertificateArgs {
    /// The user that the certificate logs in.
    name: String,
    /// The folder for NAME.pem, NAME.key and ca.pem. What is there under these names is
    /// replaced.
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// How long it is good for; as long as the cluster allows if it is left away.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=315_360_000), value_name = "SECONDS")]
    ttl_s: Option<u64>,
    /// Keep it, too, as a context of this name, and make that the current one.
    #[arg(long, value_name = "NAME")]
    context_name: Option<String>,
}

#[derive(Serialize)]
struct Made {
    user: String,
    certificate: String,
    key: String,
    ca: String,
    expires_ms: u64,
    context: Option<String>,
}

impl View for Made {
    fn text(&self) -> String {
        let context = match &self.context {
            Some(name) => format!("\n  context      {name}, the current one from now on"),
            None => String::new(),
        };
        format!(
            "\
{user} logs in with it until {until}.

  certificate  {certificate}
  key          {key}
  authority    {ca}{context}
  use it       atoll --cacert {ca} --cert {certificate} --key {key} ...
               etcdctl --cacert {ca} --cert {certificate} --key {key} ...

Nobody can take it back before its time but by deleting the user.",
            user = self.user,
            until = output::date(self.expires_ms),
            certificate = self.certificate,
            key = self.key,
            ca = self.ca,
        )
    }
}

/// Makes a key here and has it certified as a user's, for so many seconds.
///
/// # Errors
/// The cluster refused.
pub(crate) async fn issue(
    client: &Client,
    user: &str,
    ttl_s: Option<u64>,
) -> Result<(Identity, IssueCertificateResponse), CliError> {
    let key = KeyRequest::new().map_err(pki_failed)?;
    let request = IssueCertificateRequest {
        user: user.to_owned(),
        csr_pem: key.csr_pem().to_owned(),
        life_s: ttl_s.unwrap_or(0),
    };
    // Asked twice, there are two certificates of one key: no harm.
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.certificates().issue(request).await
        })
        .await?;
    let identity = key.certified(&answer.certificate_pem).map_err(pki_failed)?;
    Ok((identity, answer))
}

/// Makes a key here, has it certified, and writes both.
///
/// # Errors
/// The cluster refused, or the folder cannot be written.
pub(crate) async fn run(
    args: CertificateArgs,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    check_file_name(&args.name)?;
    let (identity, answer) = issue(client, &args.name, args.ttl_s).await?;
    files::save_client(
        &args.out,
        &args.name,
        &identity,
        ROOTS_FILE,
        &answer.roots_pem,
    )
    .map_err(pki_failed)?;
    if let Some(context_name) = &args.context_name {
        keep(context_name, client, &identity, &answer)?;
    }
    let path = |name: String| args.out.join(name).display().to_string();
    output.show(&Made {
        certificate: path(format!("{}.pem", args.name)),
        key: path(format!("{}.key", args.name)),
        ca: path(ROOTS_FILE.to_owned()),
        user: args.name,
        expires_ms: answer.expires_ms,
        context: args.context_name,
    })
}

fn keep(
    context_name: &str,
    client: &Client,
    identity: &Identity,
    answer: &IssueCertificateResponse,
) -> Result<(), CliError> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    let context = Context {
        endpoints: client.endpoints().to_vec(),
        ca: Some(answer.roots_pem.clone()),
        cert: Some(identity.chain_pem()),
        key: Some(identity.key_pem().to_owned()),
        ..Context::default()
    };
    contexts.put(context_name, context);
    contexts.save(&path)
}

/// A user may be called anything; a file may not.
fn check_file_name(user: &str) -> Result<(), CliError> {
    let plain = Path::new(user).file_name().is_some_and(|name| name == user);
    if plain && !user.starts_with(['.', '-']) && user != "ca" && !user.contains(char::is_control) {
        return Ok(());
    }
    Err(CliError::usage(
        format!("the files of {user:?} cannot be called so"),
        "certificates are for users whose name can be the name of a file, and is not `ca`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for good in ["ann", "ann.b", "ann@example.org", "Änne"] {
            check_file_name(good).unwrap();
        }
        for bad in [
            "", ".", "..", "../ann", "a/b", ".ssh", "-x", "ca", "a\nb", "ann/",
        ] {
            assert!(check_file_name(bad).is_err(), "{bad:?}");
        }
    }
}
