//! Partitions' answers become one.

use super::Part;
use crate::core::reply::Reply;

/// How answers become one. If one of them is an error, the first such is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Numbers are added.
    Sum,
    /// Each element is for one key, and goes where that key was among the command's.
    Places,
    /// Arrays follow each other, in the order of the partitions.
    Concatenation,
    /// Everybody said OK.
    Status,
}

/// Partitions that don't know a command in the same way, as in the middle of an upgrade.
const UNFIT: &[u8] = b"ERR the partitions' answers don't fit together";

impl Merge {
    /// Answers of parts, in the same order.
    pub fn of_parts(self, parts: &[Part], answers: Vec<Reply>) -> Reply {
        if self != Merge::Places {
            return self.of_all(answers);
        }
        if let Some(error) = first_error(&answers) {
            return error;
        }
        let mut all = vec![Reply::Null; parts.iter().map(|part| part.keys.len()).sum()];
        let fits = parts.len() == answers.len()
            && parts.iter().zip(answers).all(|(part, answer)| {
                let Reply::Array(items) = answer else {
                    return false;
                };
                if items.len() != part.keys.len() {
                    return false;
                }
                for (key, item) in part.keys.iter().zip(items) {
                    all[*key] = item;
                }
                true
            });
        if fits { Reply::Array(all) } else { unfit() }
    }

    /// Answers to the same words, in the order of the partitions.
    pub fn of_all(self, answers: Vec<Reply>) -> Reply {
        if let Some(error) = first_error(&answers) {
            return error;
        }
        let merged = match self {
            Merge::Sum => answers
                .iter()
                .try_fold(0i64, |sum, answer| match answer {
                    Reply::Integer(integer) => Some(sum.saturating_add(*integer)),
                    _ => None,
                })
                .map(Reply::Integer),
            Merge::Places | Merge::Concatenation => answers
                .into_iter()
                .try_fold(Vec::new(), |mut all, answer| match answer {
                    Reply::Array(mut items) | Reply::Set(mut items) => {
                        all.append(&mut items);
                        Some(all)
                    }
                    _ => None,
                })
                .map(Reply::Array),
            Merge::Status => Some(Reply::OK),
        };
        merged.unwrap_or_else(unfit)
    }
}

fn unfit() -> Reply {
    Reply::Error(UNFIT.into())
}

fn first_error(answers: &[Reply]) -> Option<Reply> {
    answers
        .iter()
        .find(|answer| matches!(answer, Reply::Error(_)))
        .cloned()
}
