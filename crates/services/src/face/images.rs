//! Images of nodes: `/atoll/v1/images`, with `node=NAME` for another one than the node that is
//! asked.
//!
//! | method | what it does |
//! |---|---|
//! | GET | lists them |
//! | POST | adds those of the archive that is the body; `name` says what a single one is called |
//! | DELETE | takes `name` away |
//!
//! An image is code that its node trusts, so whoever adds or removes one needs the right to
//! write the Node.

use atoll_control::api::ControlApi;
use axum::{body::Body, http::Method};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Api,
    identity::{self, Right, User, Verb},
    options::Options,
    render::Answer,
    route::Resource,
};
use crate::{
    api::{Ends, ImageCall, Piece},
    core::{
        kinds,
        status::{Failure, Reason},
    },
};

/// Bodies are handed on in pieces of so many bytes at most.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// The longest name of an image that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 4_096;

impl<C: ControlApi> Api<C> {
    /// Does what is asked with the images of a node.
    pub(super) async fn answer_images(
        &self,
        user: &User,
        method: &Method,
        options: &Options,
        body: Body,
    ) -> Result<Answer, Failure> {
        let control = self.objects.store.control();
        let (verb, call) = call(method, options)?;
        let node = options.text("node");
        let resource = Resource {
            kind: &kinds::NODES,
            version: &kinds::NODES,
            namespace: None,
            name: node.map(str::to_owned),
            subresource: None,
        };
        identity::permit(control, user, verb, &resource)?;
        let is_import = matches!(call, ImageCall::Import { .. });
        let Ends { heard, mut said } = self.images.open(node, call).await?;
        let sent = async {
            match is_import {
                true => send(body, heard).await?,
                false => drop(heard),
            }
            // Now it is done there.
            std::future::pending::<Result<(), Failure>>().await
        };
        let outcome = tokio::select! {
            biased;
            outcome = said.recv() => outcome,
            sent = sent => return Err(sent.err().unwrap_or_else(broken)),
            failure = Right::new(user, verb, &resource).ends(control) => return Err(failure),
        };
        let outcome: Value = outcome.unwrap_or_else(|| Err(broken()))?;
        Ok(Answer::json(&outcome))
    }
}

fn call(method: &Method, options: &Options) -> Result<(Verb, ImageCall), Failure> {
    let name = options.text("name").map(str::to_owned);
    if name
        .as_ref()
        .is_some_and(|name| name.len() > NAME_BYTES_MAX)
    {
        return Err(Failure::bad_request("the name is too long"));
    }
    match *method {
        Method::GET => Ok((Verb("get"), ImageCall::List)),
        Method::POST => Ok((Verb("update"), ImageCall::Import { name })),
        Method::DELETE => {
            let name = name.ok_or_else(|| Failure::bad_request("name: say which image"))?;
            Ok((Verb("update"), ImageCall::Remove { name }))
        }
        _ => Err(Failure::new(
            Reason::MethodNotAllowed,
            "images are listed by GET, added by POST and removed by DELETE",
        )),
    }
}

/// Hands an archive over; whoever reads it need not read all of it.
async fn send(body: Body, to: mpsc::Sender<Piece>) -> Result<(), Failure> {
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let mut piece: Bytes = piece.map_err(|error| {
            Failure::bad_request(format!("the archive did not come whole: {error}"))
        })?;
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE_BYTES_MAX));
            if to.send(Piece::Bytes(part)).await.is_err() {
                return Ok(());
            }
        }
    }
    let _ = to.send(Piece::End).await;
    Ok(())
}

fn broken() -> Failure {
    let message = "the node broke off: look at its list of images before you try again";
    Failure::new(Reason::ServiceUnavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, query: &str) -> Result<(&'static str, ImageCall), Reason> {
        let (verb, call) = call(&method, &Options::parse(Some(query))).map_err(|it| it.reason)?;
        Ok((verb.0, call))
    }

    #[test]
    fn who_changes_images_needs_the_right_to_change_nodes() {
        assert_eq!(asked(Method::GET, "node=a"), Ok(("get", ImageCall::List)));
        let name = Some("app:1".to_owned());
        let import = ImageCall::Import { name };
        assert_eq!(asked(Method::POST, "name=app%3A1"), Ok(("update", import)));
        assert!(matches!(asked(Method::DELETE, "name=a"), Ok(("update", _))));
        assert_eq!(asked(Method::DELETE, ""), Err(Reason::BadRequest));
        assert_eq!(asked(Method::PUT, "name=a"), Err(Reason::MethodNotAllowed));
        let long = format!("name={}", "a".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(asked(Method::POST, &long), Err(Reason::BadRequest));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_whole() {
        let (to, mut pieces) = mpsc::channel(8);
        let large = vec![1; PIECE_BYTES_MAX + 1];
        let parts = [Ok(Bytes::from(large)), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(futures_util::stream::iter(parts));
        assert!(send(body, to).await.is_err());
        let mut came = Vec::new();
        while let Some(piece) = pieces.recv().await {
            came.push(piece);
        }
        let lengths = came.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::End => 0,
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [PIECE_BYTES_MAX, 1]);
    }
}
