//! gRPC on the listener of the Kubernetes API.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use atoll_world::{
    net::{self, NetError, Stream},
    pki::{certificates_from_pem, tls},
};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint},
};

use super::{Api, CONNECT_WAIT};

type Dialing = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, NetError>> + Send>>;

/// Opens connections.
struct Dialer<F>(F);

impl<F: FnMut() -> Dialing> Service<Uri> for Dialer<F> {
    type Response = TokioIo<Stream>;
    type Error = NetError;
    type Future = Dialing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NetError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Dialing {
        (self.0)()
    }
}

impl Api {
    /// A channel with the same credential.
    pub fn channel(&self) -> Channel {
        let roots = certificates_from_pem("the roots", &self.roots).unwrap();
        let config = tls::client_config(&roots, self.identity.as_ref(), &[b"h2"]).unwrap();
        let address = self.address.clone();
        // TLS is the dialer's.
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector_lazy(Dialer(move || -> Dialing {
            let (address, config) = (address.clone(), Arc::clone(&config));
            Box::pin(async move {
                let stream = net::connect_tls(&address, "127.0.0.1", config, CONNECT_WAIT).await?;
                Ok(TokioIo::new(stream))
            })
        }))
    }
}
