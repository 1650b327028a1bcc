//! Errors of the control plane as gRPC statuses: code and text as etcd sends them, because
//! clients match on both.

use tonic::Status;

use crate::core::error::{Code, Error};

/// The version of etcd's API that is spoken here.
pub(crate) const ETCD_VERSION: &str = "3.7.0";

/// The same, as a cluster's version is written.
pub(crate) const ETCD_CLUSTER_VERSION: &str = "3.7";

fn grpc_code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::NotFound => tonic::Code::NotFound,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Canceled => tonic::Code::Cancelled,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status::new(grpc_code(error.code()), error.text())
    }
}

/// The name of a code as Go's gRPC writes it.
fn go_name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "InvalidArgument",
        Code::OutOfRange => "OutOfRange",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::NotFound => "NotFound",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Canceled => "Canceled",
        Code::PermissionDenied => "PermissionDenied",
        Code::Unauthenticated => "Unauthenticated",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::DeadlineExceeded => "DeadlineExceeded",
    }
}

/// An error as Go's gRPC prints it. Watches carry it so in `cancel_reason`, and the Go client
/// opens a refused watch again with a new token only if the text is exactly this.
pub fn rpc_text(error: Error) -> String {
    format!(
        "rpc error: code = {} desc = {}",
        go_name(error.code()),
        error.text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_keeps_its_code_and_text() {
        for &error in Error::ALL {
            let status = Status::from(error);
            assert_eq!(status.message(), error.text());
            assert_eq!(format!("{:?}", error.code()), go_name(error.code()));
        }
        let status = Status::from(Error::Compacted);
        assert_eq!(status.code(), tonic::Code::OutOfRange);
        let status = Status::from(Error::LeaseNotFound);
        assert_eq!(status.code(), tonic::Code::NotFound);
    }

    #[test]
    fn cancel_reasons_read_as_the_go_client_expects() {
        assert_eq!(
            rpc_text(Error::InvalidAuthToken),
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        );
    }
}
