//! Those who take part, as the driver sees them: something that is told, and may answer.

use std::{future::Future, pin::Pin};

use crate::core::global::{Branch, Kind, Order, Report};

/// Something that is on its way.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An order to a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// About what.
    pub branch: Branch,
    /// Whom.
    pub name: String,
    /// For the how-many-th time, counted from 1.
    pub attempt: u32,
    /// What.
    pub order: Order,
}

/// Why somebody can't take part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// This node must not, or can't, reach it; or what it is to do can't be read.
    #[error("{0}")]
    Refused(String),
    /// It does not speak what this kind of transaction asks for.
    #[error("{name} can't take part in a transaction of this kind: {why}")]
    Kind {
        /// Its name.
        name: String,
        /// What is missing.
        why: &'static str,
    },
}

/// Everybody who may take part.
pub trait Outside: Send + Sync + 'static {
    /// Whether this node may tell a participant of this name anything.
    ///
    /// # Errors
    /// Why not.
    fn reaches(&self, name: &str) -> Result<(), Unfit>;

    /// Whether somebody may enlist, before it is written down.
    ///
    /// # Errors
    /// Why not.
    fn check(&self, kind: Kind, name: &str, payload: &[u8]) -> Result<(), Unfit>;

    /// Tells a participant. No answer comes of what was lost, late, or said no order's answer;
    /// it is told again then. Has a bound of time; dropped, it stops as soon as it can.
    fn tell(&self, call: Call) -> Later<Option<Report>>;

    /// What participants have held prepared for longer than a transaction takes, where they can
    /// be asked for it.
    fn held(&self) -> Later<Vec<(Branch, String)>>;

    /// What this node itself has found since it was asked last to be held prepared for long. Every
    /// node is asked, and at once.
    fn found(&self) -> Vec<(Branch, String)> {
        Vec::new()
    }
}
