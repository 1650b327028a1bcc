//! Transactions over several partitions of hot data: what each partition is asked, and when the
//! whole is done.
//!
//! The participants' part, and why what is decided stays decided, is in
//! [`atoll_kv::core::machine::Transact`]. Here is the coordinator's: a [`Program`] says what the
//! commands of a transaction mean partition by partition, an [`Execution`] is one attempt to have
//! them done.
//!
//! What only reads takes no locks: it asks where its keys stand, reads them only if they still
//! stand there, and so has seen all of them as they were between the two. Where others write all
//! the time it locks after some attempts, as everything else does at once. What meets locks again
//! and again waits in line for them, partition by partition ([`Manner`]): nobody starves.

mod branch;
mod execution;
mod gather;
mod program;
#[cfg(test)]
mod tests;

pub use branch::{Condition, Objection, Part, PartError, Purpose, home_of};
#[cfg(test)]
pub(crate) use execution::ATTEMPT_MAX;
pub use execution::{Ask, End, Execution, Manner, Outcome};
pub use gather::{Job, Ran};
pub use program::{Program, pattern};
