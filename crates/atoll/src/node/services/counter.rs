//! Counters in hot data that the gateways of all nodes share, for rates of requests.

use std::fmt;

use atoll_gateway::{Counted, SharedCounter};
use atoll_kv::{
    api::{Answer, Api as _, Body, Call, Consistency, Request, Step, Transaction},
    core::{command, reply::Reply},
};
use atoll_txn::face::hot::HotData as _;
use bytes::Bytes;

use crate::node::hot::Hot;

/// What the counters' keys begin with.
const PREFIX: &str = "atoll:gateway:";

/// Counters in database 0.
pub(super) struct HotCounter(pub(super) Hot);

impl fmt::Debug for HotCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HotCounter")
    }
}

impl SharedCounter for HotCounter {
    fn add<'a>(&'a self, counter: &'a str, amount: u32, life_ms: u64) -> Counted<'a> {
        Box::pin(self.count(format!("{PREFIX}{counter}"), amount, life_ms))
    }
}

impl HotCounter {
    async fn count(&self, key: String, amount: u32, life_ms: u64) -> Option<u64> {
        let (kv, _) = self.0.now()?;
        let step = |words: [&str; 3]| {
            let words: Vec<Bytes> = words
                .iter()
                .map(|word| Bytes::copy_from_slice(word.as_bytes()))
                .collect();
            let command = command::find(&words)?;
            Some(Step::Call {
                database: 0,
                call: Call { command, words },
            })
        };
        let (amount, life_ms) = (amount.to_string(), life_ms.to_string());
        let steps = [
            step(["INCRBY", &key, &amount])?,
            step(["PEXPIRE", &key, &life_ms])?,
        ];
        let request = Request {
            consistency: Consistency::Linearizable,
            by: None,
            caller: None,
            body: Body::Transaction(Transaction {
                steps: steps.into(),
                ..Transaction::default()
            }),
        };
        match kv.ask(vec![request]).await.pop()?.plain() {
            Answer::Executed(replies) => match replies.first()? {
                Reply::Integer(count) => u64::try_from(*count).ok(),
                _ => None,
            },
            other => {
                tracing::debug!(?other, "a rate can't be counted for all nodes");
                None
            }
        }
    }
}
