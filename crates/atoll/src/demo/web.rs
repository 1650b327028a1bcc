//! What the replicas of the demonstration's web service run, since every machine has this
//! program: it answers with the name of its pod.

use std::{convert::Infallible, time::Duration};

use atoll_world::{clock, net, process::variable, task};
use axum::body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::error::CliError;

/// The variable that has the pod's name.
pub(super) const POD: &str = "POD";
/// The variable that has the address to listen at; the port is in PORT.
pub(super) const HOST: &str = "HOST";
/// An answer takes some work, so that a replica that is killed always has requests to lose.
const WORK: Duration = Duration::from_millis(5);

/// Serves until the process ends.
///
/// # Errors
/// It can't listen.
pub(super) async fn run() -> Result<(), CliError> {
    let told = |name| variable(name).unwrap_or_default();
    let address = format!("{}:{}", told(HOST), told("PORT"));
    let listening = net::listen(&address).await;
    let listener = listening.map_err(|error| {
        let next = "This is what replicas of `atoll demo` run; it is told where by HOST and PORT.";
        CliError::failed(error.to_string(), next)
    })?;
    let pod = told(POD);
    loop {
        let stream = listener.accept().await.plain();
        let pod = pod.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let body = Body::from(pod.clone());
            async move {
                clock::sleep(WORK).await;
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        task::spawn(async move {
            // A client that breaks off is gone.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
