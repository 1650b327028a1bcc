//! What a client may ask of this node at once. Every bound has a name, a unit and a default.

use std::time::Duration;

/// Bounds on what a client controls. Defaults are etcd's where etcd has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest change that is proposed to the log, in bytes. Beyond it a request is answered
    /// "etcdserver: request is too large".
    pub request_bytes_max: usize,
    /// What a gRPC message may carry on top of `request_bytes_max` before it is refused
    /// unread, in bytes.
    pub grpc_overhead_bytes: usize,
    /// Operations in one transaction, nested ones included along each path.
    pub txn_ops_max: usize,
    /// Requests that one HTTP/2 connection may have open at a time.
    pub streams_per_connection_max: u32,
    /// Size of the headers of one HTTP/2 request, in bytes.
    pub header_list_bytes_max: u32,
    /// What one HTTP/1.1 connection gathers of a request's headers, and of an answer that its
    /// client does not read, in bytes; at least 8 KiB.
    pub http1_buffer_bytes_max: usize,
    /// Bytes that a client may send on one request before they are read; for all requests of
    /// an HTTP/2 connection together, the same.
    pub receive_window_bytes: u32,
    /// Bytes of one answer that are gathered for an HTTP/2 client that does not read.
    pub send_buffer_bytes_max: usize,
    /// Requests that a client has taken back before they were looked at; with more of them its
    /// HTTP/2 connection is closed (a rapid reset).
    pub pending_resets_max: usize,
    /// Requests that were ended here because the client broke the protocol, before its
    /// connection is.
    pub error_resets_max: usize,
    /// Largest piece of a snapshot in one message, in bytes.
    pub snapshot_chunk_bytes_max: usize,
    /// How long a client may take to send its first bytes, or the headers of an HTTP/1.1
    /// request.
    pub header_read_timeout: Duration,
    /// How long a client may take to send the body of an HTTP request.
    pub body_read_timeout: Duration,
    /// An HTTP/2 connection that was silent for this long is asked whether it still lives.
    pub keepalive_interval: Duration,
    /// How long it may take to answer that before it is closed.
    pub keepalive_timeout: Duration,
    /// How often streams that require a leader look for one. After three looks in vain they
    /// are ended.
    pub leader_check_interval: Duration,
    /// How long a health check may take.
    pub health_timeout: Duration,
    /// This node can be reached from other machines: while authentication is off, whatever the
    /// reason, nobody is served who did not come in on loopback.
    pub login_required: bool,
    /// The longest that a user's certificate is made good for.
    pub user_certificate_life: Duration,
    /// Names under which browsers may reach this node over HTTP, besides `localhost` and
    /// plain addresses. Empty: any name, except on loopback connections. Filled from what the
    /// node is called and advertised as.
    pub hosts: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes_max: 1536 << 10,
            grpc_overhead_bytes: 512 << 10,
            txn_ops_max: 128,
            streams_per_connection_max: 16 << 10,
            header_list_bytes_max: 16 << 10,
            http1_buffer_bytes_max: 64 << 10,
            receive_window_bytes: 1 << 20,
            send_buffer_bytes_max: 400 << 10,
            pending_resets_max: 20,
            error_resets_max: 1_024,
            snapshot_chunk_bytes_max: 256 << 10,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            leader_check_interval: Duration::from_millis(300),
            health_timeout: Duration::from_secs(5),
            login_required: false,
            user_certificate_life: Duration::from_secs(365 * 24 * 3600),
            hosts: Vec::new(),
        }
    }
}

impl Limits {
    /// Largest gRPC message that is read at all, in bytes.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.request_bytes_max + self.grpc_overhead_bytes
    }
}
