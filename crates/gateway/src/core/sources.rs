//! Who may come, by address: lists of networks to allow and to deny.

use std::{fmt, net::IpAddr, str::FromStr};

/// The most networks in one list.
pub const NETWORKS_MAX: usize = 10_000;

/// A network: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network: give an address, or ADDRESS/BITS such as 10.0.0.0/8")]
pub struct NotANetwork(pub String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.chars().take(80).collect());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|it| it.is_ascii_digit()) => {
                bits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
            None => width,
        };
        if bits > width {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether an address is in it. One of version 4 in the clothes of version 6 is one of
    /// version 4.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// Who may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// These and nobody else; empty: everybody.
    pub allow: Vec<Network>,
    /// These not, whatever else is said.
    pub deny: Vec<Network>,
}

impl Sources {
    /// Whether this address may.
    pub fn permit(&self, address: IpAddr) -> bool {
        let has = |list: &[Network]| list.iter().any(|it| it.has(address));
        (self.allow.is_empty() || has(&self.allow)) && !has(&self.deny)
    }
}

/// Networks that are separated by commas.
///
/// # Errors
/// One of them is none.
pub fn networks(text: &str) -> Result<Vec<Network>, NotANetwork> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|it| !it.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(allow: &str, deny: &str) -> Sources {
        Sources {
            allow: networks(allow).unwrap(),
            deny: networks(deny).unwrap(),
        }
    }

    #[test]
    fn lists_are_gone_through() {
        let cases = [
            ("", "", "1.2.3.4", true),
            ("10.0.0.0/8", "", "10.255.0.1", true),
            ("10.0.0.0/8", "", "11.0.0.1", false),
            ("10.0.0.0/8", "", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8, 2001:db8::/33", "", "2001:db8:7fff::1", true),
            ("10.0.0.0/8, 2001:db8::/33", "", "2001:db8:8000::1", false),
            ("0.0.0.0/0", "", "::1", false),
            ("10.0.0.0/8", "10.0.0.7", "10.0.0.7", false),
            ("10.0.0.0/8", "10.0.0.7", "10.0.0.6", true),
            ("", "::/0", "1.2.3.4", true),
            ("", "::/0", "::1", false),
        ];
        for (allow, deny, address, expected) in cases {
            let permits = sources(allow, deny).permit(address.parse().unwrap());
            assert_eq!(permits, expected, "{allow:?} {deny:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "1.2.3.4/+8",
            "1.2.3.4/",
            "a/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork(text.to_owned())));
        }
        assert_eq!("::1".parse::<Network>().unwrap().to_string(), "::1/128");
    }
}
