//! Between what nodes say to each other and the API's words.

use tonic::{Code, Status};

use crate::{
    core::status::{Failure, Reason},
    driver::offers::wire::{Accepted, News, Offered, Refusal, Why},
    proto::{self as pb, offer_event::Event},
};

/// Why the node that leads did nothing.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal.why {
        Why::Unavailable => Code::Unavailable,
        Why::Unclear => Code::DeadlineExceeded,
        Why::Full => Code::ResourceExhausted,
        Why::Gone => Code::NotFound,
        Why::Superseded => Code::FailedPrecondition,
        Why::Foreign => Code::PermissionDenied,
        // Another offer may do.
        Why::Taken => Code::Aborted,
        Why::Wrong => Code::InvalidArgument,
    };
    Status::new(code, refusal.message.clone())
}

/// Why it was not even asked.
pub(super) fn status(failure: &Failure) -> Status {
    let code = match failure.reason {
        Reason::Unauthorized => Code::Unauthenticated,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::BadRequest | Reason::Invalid => Code::InvalidArgument,
        _ => Code::Internal,
    };
    Status::new(code, failure.message.clone())
}

/// An event of a stream.
pub(super) fn event(event: Event) -> pb::OfferEvent {
    pb::OfferEvent { event: Some(event) }
}

impl From<News> for pb::OfferEvent {
    fn from(news: News) -> pb::OfferEvent {
        event(match news {
            News::Offered(offered) => Event::Offered(offered.into()),
            News::Withdrawn(id) => Event::Withdrawn(pb::Withdrawn { id }),
        })
    }
}

impl From<Offered> for pb::Offer {
    fn from(offered: Offered) -> pb::Offer {
        pb::Offer {
            id: offered.id,
            node: offered.node,
            labels: offered.labels,
            room: Some(pb::Room {
                milli_cpu: offered.milli_cpu,
                memory_bytes: offered.memory_bytes,
                storage_bytes: offered.storage_bytes,
                pods: offered.pods,
                others: offered.others,
            }),
            left_ms: offered.left_ms,
        }
    }
}

impl From<Accepted> for pb::AcceptedPod {
    fn from(accepted: Accepted) -> pb::AcceptedPod {
        let pod = pb::AcceptedPod {
            namespace: accepted.namespace,
            name: accepted.name,
            ..pb::AcceptedPod::default()
        };
        match accepted.made {
            Ok(made) => pb::AcceptedPod {
                uid: made.uid,
                resource_version: made.resource_version,
                ..pod
            },
            Err(told) => pb::AcceptedPod {
                failure: Some(pb::PodFailure {
                    reason: told.reason,
                    message: told.message,
                }),
                ..pod
            },
        }
    }
}
