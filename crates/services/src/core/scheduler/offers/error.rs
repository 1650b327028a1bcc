//! How much of offers there can be, and what is said when something can't be done.

/// So many frameworks there may be.
pub const FRAMEWORKS_MAX: usize = 256;
/// So many offers may be open.
pub const OFFERS_MAX: usize = 10_000;
/// So many tasks may be started by one offer.
pub const TASKS_MAX: usize = 256;
/// So many times the share of others a framework may have.
pub const WEIGHT_MAX: u32 = 1_000;

/// Why something about offers can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// There is no such framework.
    #[error("framework {0:?} is not registered")]
    NoFramework(String),
    /// Somebody else has registered one of this name.
    #[error("framework {0:?} is another user's")]
    Foreign(String),
    /// Another session of it has begun.
    #[error("framework {0:?} has subscribed anew since")]
    Superseded(String),
    /// There are too many.
    #[error("at most {FRAMEWORKS_MAX} frameworks can be registered")]
    TooManyFrameworks,
    /// A weight that is none.
    #[error("the weight has to be from 1 to {WEIGHT_MAX}, not {0}")]
    Weight(u32),
    /// It has expired, was answered before, or never was.
    #[error("offer {0} is no longer valid")]
    NoOffer(u64),
    /// Too much is asked for at once.
    #[error("at most {TASKS_MAX} tasks can be started by one offer, not {0}")]
    TooManyTasks(usize),
    /// The tasks need more than was offered.
    #[error("the tasks need more {resource} than offer {offer} has")]
    TooLarge {
        /// The offer's id.
        offer: u64,
        /// Of what.
        resource: String,
    },
    /// There is a pod of that name.
    #[error("there is a pod {namespace}/{name} already")]
    Exists {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Pods came to the node meanwhile, or nothing may come to it any more.
    #[error("node {node} has not enough {resource} any more")]
    Taken {
        /// The node's name.
        node: String,
        /// Of what; `ports` is among it, and `room` if the node takes no pods any more.
        resource: String,
    },
}
