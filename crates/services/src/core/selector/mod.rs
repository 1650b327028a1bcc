//! Which objects are meant: by their labels, and by some of their fields. A text of a query or a
//! LabelSelector of an object goes in, and a selector comes out that says of each object yes or no
//! (API documentation, "Labels and Selectors" and "Field Selectors").
//!
//! Errors are told in Kubernetes' words (apimachinery, `pkg/labels` and `pkg/fields`), since they
//! reach the user as they are.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};

/// The longest text of a selector.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// The most requirements in a selector.
pub const REQUIREMENTS_MAX: usize = 1_000;
