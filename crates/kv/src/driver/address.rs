//! Where cluster clients reach a node, as the control plane keeps it: each node writes its own
//! key, all read them.

use atoll_base::id::{ClusterId, NodeId};
use bytes::Bytes;

use crate::core::codec::{CodecError, Reader, Writer};

/// Version of the encoded form.
const VERSION: u8 = 1;

/// The longest host, in bytes: that of a name in the domain name system.
const HOST_BYTES_MAX: usize = 253;

/// Where a node's cluster listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAddress {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Under which keys the addresses of a cluster's nodes are.
pub fn addresses_prefix(cluster: ClusterId) -> String {
    format!("/atoll/kv/{cluster}/address/")
}

/// Where the address of a node is.
pub fn address_key(cluster: ClusterId, node: NodeId) -> String {
    format!("{}{node}", addresses_prefix(cluster))
}

/// Whose address is at a key.
pub fn address_owner(cluster: ClusterId, key: &[u8]) -> Option<NodeId> {
    let node = key.strip_prefix(addresses_prefix(cluster).as_bytes())?;
    let node = u64::from_str_radix(std::str::from_utf8(node).ok()?, 16).ok()?;
    Some(NodeId(node))
}

impl ClusterAddress {
    /// As the control plane keeps it.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer
            .byte(VERSION)
            .bytes(self.host.as_bytes())
            .number(self.port.into());
        writer.finish()
    }

    /// # Errors
    /// These bytes are no address, or of a newer version.
    pub fn decode(bytes: Bytes) -> Result<ClusterAddress, CodecError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let host = reader.bytes()?;
        let port = reader.number()?;
        reader.finish()?;
        let length = CodecError::Length {
            length: host.len() as u64,
        };
        // It becomes a part of lines that clients read.
        let is_host = |host: &&str| {
            (1..=HOST_BYTES_MAX).contains(&host.len())
                && host.bytes().all(|it| it.is_ascii_graphic())
        };
        let host = std::str::from_utf8(&host).ok().filter(is_host);
        Ok(ClusterAddress {
            host: host.ok_or(length)?.to_owned(),
            port: u16::try_from(port).map_err(|_| CodecError::Length { length: port })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_names_its_node() {
        let (cluster, node) = (ClusterId(0xab), NodeId(0xcd));
        let key = address_key(cluster, node);
        assert_eq!(key, "/atoll/kv/ab/address/cd");
        assert_eq!(address_owner(cluster, key.as_bytes()), Some(node));
        assert_eq!(address_owner(ClusterId(1), key.as_bytes()), None);
        assert_eq!(address_owner(cluster, b"/atoll/kv/ab/address/xyz"), None);
    }

    /// docs/formats/hot-data.md has these bytes.
    #[test]
    fn an_address_is_kept_as_documented() {
        let address = ClusterAddress {
            host: "10.0.0.1".to_owned(),
            port: 7379,
        };
        let bytes = address.encode();
        assert_eq!(&bytes[..], b"\x01\x0810.0.0.1\xd3\x39");
        assert_eq!(ClusterAddress::decode(bytes), Ok(address));
    }

    #[test]
    fn what_would_spoil_a_reply_is_refused() {
        for host in ["", "a b", "a\r\n", "\u{e4}", &"x".repeat(254)] {
            let address = ClusterAddress {
                host: host.to_owned(),
                port: 1,
            };
            assert!(
                ClusterAddress::decode(address.encode()).is_err(),
                "{host:?}"
            );
        }
        let newer = Bytes::from_static(b"\x02\x01a\x01");
        assert!(ClusterAddress::decode(newer).is_err());
        let port = Bytes::from_static(b"\x01\x01a\x80\x80\x04");
        assert!(ClusterAddress::decode(port).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(address) = ClusterAddress::decode(bytes.clone().into()) {
                prop_assert!(!address.host.is_empty());
            }
        }
    }
}
