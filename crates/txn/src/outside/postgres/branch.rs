//! What prepared transactions are called.

use atoll_base::id::ClusterId;

use crate::core::global::{Branch, Place, TransactionId};

/// Names of branches: `atoll:CLUSTER:TRANSACTION:BRANCH`, of hexadecimal digits and one decimal
/// number. So nothing in them has a meaning in SQL.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(cluster: ClusterId) -> Self {
        Names {
            prefix: format!("atoll:{cluster}:"),
        }
    }

    /// What names of this cluster begin with. There are neither `%` nor `_` in it.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn of(&self, branch: Branch) -> String {
        format!("{}{}:{}", self.prefix, branch.transaction, branch.place)
    }

    /// The branch of a name that this cluster gave.
    pub(super) fn branch(&self, name: &str) -> Option<Branch> {
        let (transaction, place) = name.strip_prefix(&self.prefix)?.split_once(':')?;
        let branch = Branch {
            transaction: TransactionId(u128::from_str_radix(transaction, 16).ok()?),
            place: Place(place.parse().ok()?),
        };
        (self.of(branch) == name).then_some(branch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_not_ours() {
        let names = Names::new(ClusterId(0xc1));
        let branch = Branch {
            transaction: TransactionId(0xabc),
            place: Place(12),
        };
        let name = names.of(branch);
        assert_eq!(name, "atoll:c1:00000000000000000000000000000abc:12");
        assert_eq!(names.branch(&name), Some(branch));
        let other = Names::new(ClusterId(0xc2));
        for wrong in [
            &*other.of(branch),
            "atoll:",
            "x",
            &name[1..],
            &format!("{name}0x"),
        ] {
            assert_eq!(names.branch(wrong), None, "{wrong}");
        }
        assert_eq!(names.branch(&name.replace(":12", ":+12")), None);
    }
}
