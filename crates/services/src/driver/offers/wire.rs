//! What nodes ask the one that leads about offers, and what it answers: a byte for the version,
//! and JSON.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::core::{
    scheduler::{Amounts, OfferError},
    status::Failure,
};

/// The version of both.
const VERSION: u8 = 1;
/// The longest question, in bytes: more than any manifests that are taken.
pub(crate) const ASKED_BYTES_MAX: usize = 6 << 20;

/// A question, and in whose name it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) user: String,
    pub(crate) framework: String,
    pub(crate) session: u64,
    pub(crate) verb: Verb,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verb {
    /// What is new?
    Poll { weight: u32, seen: u64 },
    /// Start these pods.
    Accept {
        offer: u64,
        pods: Vec<Value>,
        decline_ms: u64,
    },
    /// These are not wanted.
    Decline { offers: Vec<u64>, decline_ms: u64 },
    /// All is wanted again.
    Revive,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Polled(Polled),
    Accepted { node: String, pods: Vec<Accepted> },
    Declined { unknown: Vec<u64> },
    Revived,
    Refused(Refusal),
}

/// What is new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Polled {
    pub(crate) session: u64,
    pub(crate) is_new: bool,
    pub(crate) seen: u64,
    pub(crate) news: Vec<News>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum News {
    Offered(Offered),
    Withdrawn(u64),
}

/// An offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offered {
    pub(crate) id: u64,
    pub(crate) node: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) milli_cpu: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) storage_bytes: u64,
    pub(crate) pods: u64,
    pub(crate) others: BTreeMap<String, u64>,
    pub(crate) left_ms: u64,
}

impl Offered {
    /// So much room.
    pub(crate) fn with_room(self, room: Amounts) -> Offered {
        Offered {
            milli_cpu: room.milli_cpu,
            memory_bytes: room.memory_bytes,
            storage_bytes: room.storage_bytes,
            pods: room.pods,
            others: room.others,
            ..self
        }
    }
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) made: Result<Made, Told>,
}

/// A pod that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
}

/// Why one was not, in the words of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl From<&Failure> for Told {
    fn from(failure: &Failure) -> Told {
        Told {
            reason: failure.reason.code_and_name().1.to_owned(),
            message: failure.message.clone(),
        }
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    pub(crate) message: String,
}

/// Whose fault it is, and what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    /// Nobody leads right now, or it can't be asked: worth another try.
    Unavailable,
    /// It was asked for, and nobody knows whether it is done.
    Unclear,
    /// There are too many.
    Full,
    /// There is no such framework or offer (any more).
    Gone,
    /// Another session has begun.
    Superseded,
    /// The framework is another user's.
    Foreign,
    /// The room was taken, or there is a pod of that name.
    Taken,
    /// It makes no sense.
    Wrong,
}

impl Refusal {
    pub(crate) fn new(why: Why, message: impl Into<String>) -> Refusal {
        Refusal {
            why,
            message: message.into(),
        }
    }

    /// Nobody can be asked right now.
    pub(crate) fn unavailable(message: impl Into<String>) -> Refusal {
        Refusal::new(Why::Unavailable, message)
    }
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Refusal {
        let why = match &error {
            OfferError::NoFramework(_) | OfferError::NoOffer(_) => Why::Gone,
            OfferError::Foreign(_) => Why::Foreign,
            OfferError::Superseded(_) => Why::Superseded,
            OfferError::TooManyFrameworks => Why::Full,
            OfferError::Weight(_) | OfferError::TooManyTasks(_) | OfferError::TooLarge { .. } => {
                Why::Wrong
            }
            OfferError::Exists { .. } | OfferError::Taken { .. } => Why::Taken,
        };
        Refusal::new(why, error.to_string())
    }
}

/// Writes one of them.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(VERSION);
    let mut writer = bytes.writer();
    serde_json::to_writer(&mut writer, message).expect("it is JSON, and memory takes it");
    writer.into_inner().freeze()
}

/// Reads one; none if it is of another version, or broken.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, json) = bytes.split_first()?;
    let message = (*version == VERSION).then(|| serde_json::from_slice(json).ok());
    message.flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nodes_say_to_each_other_stays_readable() {
        // As nodes of this version have it: a change has to be read by them.
        let asked = Asked {
            user: "ann".to_owned(),
            framework: "batch".to_owned(),
            session: u64::MAX,
            verb: Verb::Accept {
                offer: 7,
                pods: vec![json!({"metadata": {"name": "a"}})],
                decline_ms: 5_000,
            },
        };
        let written = br#"1{"user":"ann","framework":"batch","session":18446744073709551615,"verb":{"Accept":{"offer":7,"pods":[{"metadata":{"name":"a"}}],"decline_ms":5000}}}"#;
        assert_eq!(&encode(&asked)[1..], &written[1..]);
        assert_eq!(decode(&encode(&asked)), Some(asked));
        let answer = Answer::Accepted {
            node: "n".to_owned(),
            pods: vec![Accepted {
                namespace: "default".to_owned(),
                name: "a".to_owned(),
                made: Err(Told {
                    reason: "Invalid".to_owned(),
                    message: "no".to_owned(),
                }),
            }],
        };
        let written = br#"1{"Accepted":{"node":"n","pods":[{"namespace":"default","name":"a","made":{"Err":{"reason":"Invalid","message":"no"}}}]}}"#;
        assert_eq!(&encode(&answer)[1..], &written[1..]);
        assert_eq!(decode(&encode(&answer)), Some(answer));
    }

    #[test]
    fn what_is_broken_or_of_another_version_is_not_read() {
        let whole = encode(&Answer::Revived);
        for end in 0..whole.len() {
            assert_eq!(decode::<Answer>(&whole[..end]), None, "{end}");
        }
        let mut newer = whole.to_vec();
        newer[0] += 1;
        assert_eq!(decode::<Answer>(&newer), None);
    }
}
