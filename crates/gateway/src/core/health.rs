//! Active health: what a row of checks says about an endpoint. It begins as healthy, since
//! whoever named it holds it for ready, and changes only after enough checks in a row say
//! otherwise.

use super::config::HealthCheck;

/// What checks have said.
#[derive(Clone, Debug, Default)]
pub struct Health {
    is_down: bool,
    /// How many in a row spoke against what it is held for.
    against: u32,
}

impl Health {
    /// Whether it is held for healthy.
    pub fn is_up(&self) -> bool {
        !self.is_down
    }

    /// A check came out. Says whether the endpoint changed.
    pub fn observe(&mut self, check: &HealthCheck, is_good: bool) -> bool {
        if is_good == self.is_up() {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let needed = if is_good {
            check.healthy_after
        } else {
            check.unhealthy_after
        };
        let changes = self.against >= needed;
        if changes {
            self.is_down = !self.is_down;
            self.against = 0;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::config::Probe;

    #[test]
    fn enough_in_a_row_change_it() {
        let check = HealthCheck::new(Probe::Tcp);
        let mut health = Health::default();
        // What a check said, and whether the endpoint is up after it.
        let story = [
            (false, true),
            (false, true),
            (true, true),
            (false, true),
            (false, true),
            (false, false),
            (true, false),
            (false, false),
            (true, false),
            (true, true),
        ];
        for (step, (is_good, is_up)) in story.into_iter().enumerate() {
            let was_up = health.is_up();
            assert_eq!(health.observe(&check, is_good), was_up != is_up, "{step}");
            assert_eq!(health.is_up(), is_up, "{step}");
        }
    }
}
