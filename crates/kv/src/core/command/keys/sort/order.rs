//! The order of elements.

use std::cmp::Ordering;

use bytes::Bytes;

use super::lookup::Pattern;
use crate::core::command::{CommandError, Context, args};

/// In which order elements are told.
pub(super) enum Order<'a> {
    /// In their own; where they have one, it can be turned.
    AsTheyAre { have_order: bool },
    /// By numbers: themselves, or what belongs to them.
    Numeric(Option<&'a Pattern<'a>>),
    /// By bytes, the same.
    Alphabetic(Option<&'a Pattern<'a>>),
}

impl Order<'_> {
    /// # Errors
    /// Where what should be a number is none.
    pub(super) fn arrange(
        &self,
        context: &mut Context<'_>,
        mut elements: Vec<Bytes>,
        descending: bool,
    ) -> Result<Vec<Bytes>, CommandError> {
        match self {
            Order::AsTheyAre { have_order } => {
                if *have_order && descending {
                    elements.reverse();
                }
                Ok(elements)
            }
            Order::Alphabetic(None) => {
                elements.sort_by(|first, second| turned(first.cmp(second), descending));
                Ok(elements)
            }
            Order::Alphabetic(Some(by)) => {
                let weights = weights(context, elements, |context, element| {
                    Ok(by.find(context, element))
                })?;
                // Those without a weight are before all others.
                Ok(sorted(weights, descending, |(first, _), (second, _)| {
                    first.cmp(second)
                }))
            }
            Order::Numeric(by) => {
                let weights = weights(context, elements, |context, element| match by {
                    None => number(element),
                    Some(by) => by
                        .find(context, element)
                        .map_or(Ok(0.0), |found| number(&found)),
                })?;
                // Of equal numbers, the bytes decide.
                Ok(sorted(weights, descending, |first, second| {
                    first
                        .0
                        .total_cmp(&second.0)
                        .then_with(|| first.1.cmp(&second.1))
                }))
            }
        }
    }
}

fn turned(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

fn weights<W>(
    context: &mut Context<'_>,
    elements: Vec<Bytes>,
    weight: impl Fn(&mut Context<'_>, &Bytes) -> Result<W, CommandError>,
) -> Result<Vec<(W, Bytes)>, CommandError> {
    elements
        .into_iter()
        .map(|element| Ok((weight(context, &element)?, element)))
        .collect()
}

fn sorted<W>(
    mut weights: Vec<(W, Bytes)>,
    descending: bool,
    compare: impl Fn(&(W, Bytes), &(W, Bytes)) -> Ordering,
) -> Vec<Bytes> {
    weights.sort_by(|first, second| turned(compare(first, second), descending));
    weights.into_iter().map(|(_, element)| element).collect()
}

/// A number as C reads them (`strtod`): nothing is 0, and spaces may come before.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let number = args::float(text.trim_ascii_start()).map_err(|_| {
        CommandError::Other("ERR One or more scores can't be converted into double")
    })?;
    // There is no negative zero: it would be before the other one.
    Ok(number + 0.0)
}
