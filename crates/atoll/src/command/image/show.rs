//! What is told of images.

use atoll_services::driver::images::Listed;
use serde::Serialize;

use super::api::Refusal;
use crate::{
    error::CliError,
    output::{View, bytes_for_people, table},
};

/// So much of a digest tells images apart.
const SHORT_CHARS: usize = 19;

/// The images of a node.
#[derive(Debug, Serialize)]
pub(super) struct OnNode {
    node: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Listed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl OnNode {
    /// What was to be done there is.
    pub(super) fn done(node: String) -> OnNode {
        OnNode {
            node,
            images: Vec::new(),
            error: None,
        }
    }
}

/// Images by nodes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Listing {
    nodes: Vec<OnNode>,
}

impl Listing {
    /// What a node says.
    ///
    /// # Errors
    /// It says what all others would, too: who asks may not, or is not connected any more.
    pub(super) fn add(
        &mut self,
        node: String,
        told: Result<Vec<Listed>, Refusal>,
    ) -> Result<(), CliError> {
        let (images, error) = match told {
            Ok(images) => (images, None),
            Err(Refusal::NotFound(why)) => (Vec::new(), Some(why)),
            Err(Refusal::Other(CliError::Failed { what, .. })) => (Vec::new(), Some(what)),
            Err(Refusal::Other(error)) if self.nodes.is_empty() => return Err(error),
            Err(Refusal::Other(error)) => (Vec::new(), Some(error.to_string())),
        };
        self.nodes.push(OnNode {
            node,
            images,
            error,
        });
        Ok(())
    }

    /// An error if a node did not do it; `what` says so.
    ///
    /// # Errors
    /// That one.
    pub(super) fn outcome(&self, what: &str) -> Result<(), CliError> {
        let failed: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|on| Some(format!("{} {what}: {}", on.node, on.error.as_ref()?)))
            .collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(CliError::failed(failed.join("\n"), "")),
        }
    }
}

impl View for Listing {
    fn text(&self) -> String {
        let mut rows = Vec::new();
        for on in &self.nodes {
            for image in &on.images {
                for name in &image.names {
                    rows.push(vec![
                        on.node.clone(),
                        name.clone(),
                        image.digest.chars().take(SHORT_CHARS).collect(),
                        bytes_for_people(image.bytes),
                        if image.imported { "file" } else { "registry" }.to_owned(),
                        if image.used { "yes" } else { "no" }.to_owned(),
                    ]);
                }
            }
        }
        match rows.is_empty() {
            true => String::new(),
            false => table(
                &["NODE", "IMAGE", "DIGEST", "SIZE", "FROM", "IN USE"],
                &rows,
            ),
        }
    }
}

/// A name that was taken away.
#[derive(Debug, Serialize)]
pub(super) struct Removal {
    pub(super) name: String,
    pub(super) nodes: Vec<OnNode>,
}

impl View for Removal {
    fn text(&self) -> String {
        let nodes: Vec<&str> = self.nodes.iter().map(|on| on.node.as_str()).collect();
        format!("removed {} on {}", self.name, nodes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Listed {
        Listed {
            names: vec![name.to_owned()],
            digest: "sha256:0123456789abcdef0123".to_owned(),
            bytes: 2048,
            used: false,
            imported: true,
        }
    }

    #[test]
    fn what_a_node_did_not_do_is_an_error_behind_what_others_did() {
        let mut listing = Listing::default();
        listing.add("a".to_owned(), Ok(vec![image("x:1")])).unwrap();
        assert!(listing.outcome("did not take it").is_ok());
        let full = CliError::failed("the node's disk is full", "");
        listing.add("b".to_owned(), Err(full.into())).unwrap();
        let error = listing.outcome("did not take it").unwrap_err();
        assert_eq!(
            error.to_string(),
            "b did not take it: the node's disk is full"
        );
        assert_eq!(
            listing.text(),
            "NODE  IMAGE  DIGEST               SIZE     FROM  IN USE\n\
             a     x:1    sha256:0123456789ab  2.0 KiB  file  no"
        );
    }
}
