//! Everything the control plane answers instead of a result.
//!
//! Names, status codes and texts are those of the etcd v3 API
//! (api/v3rpc/rpctypes/error.go), because clients match on them. Texts of our own exist only
//! where etcd has none.

use std::fmt;

/// A gRPC status code, as far as the control plane uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The caller sent something that can never work.
    InvalidArgument,
    /// The revision or number asked for is not there.
    OutOfRange,
    /// A limit was reached.
    ResourceExhausted,
    /// What was named does not exist.
    NotFound,
    /// The state does not allow it now.
    FailedPrecondition,
    /// The caller gave up.
    Canceled,
    /// The identity lacks the right.
    PermissionDenied,
    /// The token is not (or no longer) valid.
    Unauthenticated,
    /// Try again, perhaps elsewhere.
    Unavailable,
    /// Replicas disagree.
    DataLoss,
    /// The caller's deadline passed.
    DeadlineExceeded,
}

macro_rules! errors {
    ($($name:ident, $code:ident, $text:literal;)*) => {
        /// An error of the etcd v3 API. `Display` is the text that goes over the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Error {
            $(#[doc = $text] $name,)*
        }

        impl Error {
            /// Every error, so that tests and tables can walk them.
            pub const ALL: &[Error] = &[$(Error::$name,)*];

            /// The gRPC status code that goes with it.
            pub fn code(self) -> Code {
                match self {
                    $(Error::$name => Code::$code,)*
                }
            }

            /// The text that goes over the wire.
            pub fn text(self) -> &'static str {
                match self {
                    $(Error::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    EmptyKey, InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound, InvalidArgument, "etcdserver: key not found";
    ValueProvided, InvalidArgument, "etcdserver: value is provided";
    LeaseProvided, InvalidArgument, "etcdserver: lease is provided";
    TooManyOps, InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey, InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidClientAPIVersion, InvalidArgument, "etcdserver: invalid client api version";
    InvalidSortOption, InvalidArgument, "etcdserver: invalid sort option";
    Compacted, OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRev, OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NoSpace, ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LeaseNotFound, NotFound, "etcdserver: requested lease not found";
    LeaseExist, FailedPrecondition, "etcdserver: lease already exists";
    LeaseTTLTooLarge, OutOfRange, "etcdserver: too large lease TTL";
    WatchCanceled, Canceled, "etcdserver: watch canceled";
    MemberExist, FailedPrecondition, "etcdserver: member ID already exist";
    PeerURLExist, FailedPrecondition, "etcdserver: Peer URLs already exists";
    MemberNotEnoughStarted, FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members";
    MemberBadURLs, InvalidArgument, "etcdserver: given member URLs are invalid";
    MemberNotFound, NotFound, "etcdserver: member not found";
    MemberNotLearner, FailedPrecondition, "etcdserver: can only promote a learner member";
    LearnerNotReady, FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    TooManyLearners, FailedPrecondition, "etcdserver: too many learner members in cluster";
    ClusterIDMismatch, FailedPrecondition, "etcdserver: cluster ID mismatch";
    RequestTooLarge, InvalidArgument, "etcdserver: request is too large";
    RequestTooManyRequests, ResourceExhausted, "etcdserver: too many requests";
    RootUserNotExist, FailedPrecondition, "etcdserver: root user does not exist";
    RootRoleNotExist, FailedPrecondition, "etcdserver: root user does not have root role";
    UserAlreadyExist, FailedPrecondition, "etcdserver: user name already exists";
    UserEmpty, InvalidArgument, "etcdserver: user name is empty";
    UserNotFound, FailedPrecondition, "etcdserver: user name not found";
    RoleAlreadyExist, FailedPrecondition, "etcdserver: role name already exists";
    RoleNotFound, FailedPrecondition, "etcdserver: role name not found";
    RoleEmpty, InvalidArgument, "etcdserver: role name is empty";
    AuthFailed, InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    PermissionNotGiven, InvalidArgument, "etcdserver: permission not given";
    PermissionDenied, PermissionDenied, "etcdserver: permission denied";
    RoleNotGranted, FailedPrecondition, "etcdserver: role is not granted to the user";
    PermissionNotGranted, FailedPrecondition, "etcdserver: permission is not granted to the role";
    AuthNotEnabled, FailedPrecondition, "etcdserver: authentication is not enabled";
    InvalidAuthToken, Unauthenticated, "etcdserver: invalid auth token";
    InvalidAuthMgmt, InvalidArgument, "etcdserver: invalid auth management";
    AuthOldRevision, InvalidArgument, "etcdserver: revision of auth store is old";
    NoLeader, Unavailable, "etcdserver: no leader";
    NotLeader, FailedPrecondition, "etcdserver: not leader";
    LeaderChanged, Unavailable, "etcdserver: leader changed";
    NotCapable, FailedPrecondition, "etcdserver: not capable";
    Stopped, Unavailable, "etcdserver: server stopped";
    Timeout, Unavailable, "etcdserver: request timed out";
    TimeoutDueToLeaderFail, Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutDueToConnectionLost, Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    TimeoutWaitAppliedIndex, Unavailable, "etcdserver: request timed out, waiting for the applied index took too long";
    Unhealthy, Unavailable, "etcdserver: unhealthy cluster";
    Corrupt, DataLoss, "etcdserver: corrupt cluster";
    NotSupportedForLearner, FailedPrecondition, "etcdserver: rpc not supported for learner";
    BadLeaderTransferee, FailedPrecondition, "etcdserver: bad leader transferee";
    WrongDowngradeVersionFormat, InvalidArgument, "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTargetVersion, InvalidArgument, "etcdserver: invalid downgrade target version";
    ClusterVersionUnavailable, FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    DowngradeInProcess, FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    NoInflightDowngrade, FailedPrecondition, "etcdserver: no inflight downgrade job";
    Canceled, Canceled, "etcdserver: request canceled";
    DeadlineExceeded, DeadlineExceeded, "etcdserver: context deadline exceeded";
    ReservedKey, PermissionDenied, "atoll: keys under /atoll/ are written by the cluster itself; read them, or use the atoll command that changes what you want";
    LoginRequired, FailedPrecondition, "atoll: authentication cannot be switched off while this node can be reached from other machines; bind it to loopback first, or start it with --insecure";
    LoginsOff, Unavailable, "atoll: this node can be reached from other machines, and as far as it knows authentication is switched off: nobody is served until it is switched on; reach a node on loopback to do that";
    TooManyLeases, ResourceExhausted, "atoll: the cluster has as many leases as control.leases_max allows; revoke some, or raise it";
    FeatureLevel, FailedPrecondition, "atoll: the node does not serve the cluster's feature level; join with a version that does";
    LimitExceeded, ResourceExhausted, "atoll: too many watches or leases on this connection; close some or open another connection";
    OutcomeUnknown, Unavailable, "atoll: the outcome of this write is not known, because this node was brought up to date by a snapshot; read before you retry";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}
