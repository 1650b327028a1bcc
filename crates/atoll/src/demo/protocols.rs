//! `atoll demo commit-protocols`: what two-phase and three-phase commit come to when the
//! coordinator dies or the network is cut, played by the cores that nodes run. No cluster is
//! needed, and it goes the same way each time.

use atoll_txn::core::global::scenario::{Play, Scenario};
use serde::Serialize;

use crate::{
    error::CliError,
    output::{Format, View},
};

/// A story as it went.
#[derive(Serialize)]
struct Story {
    title: &'static str,
    trace: Vec<String>,
    /// How participants stood before a network that was cut was whole again.
    before_healing: Vec<String>,
    ends: Vec<String>,
    mixed: bool,
}

impl Story {
    fn of(scenario: Scenario) -> Story {
        let Play {
            trace,
            before_healing,
            ends,
            is_mixed,
        } = scenario.play();
        Story {
            title: scenario.title(),
            // It begins with the title and an empty line.
            trace: trace.lines().skip(2).map(str::to_owned).collect(),
            before_healing: before_healing.iter().map(ToString::to_string).collect(),
            ends: ends.iter().map(ToString::to_string).collect(),
            mixed: is_mixed,
        }
    }
}

/// All of them.
#[derive(Serialize)]
#[serde(transparent)]
struct Stories(Vec<Story>);

impl View for Stories {
    fn text(&self) -> String {
        let stories = self.0.iter().map(|story| {
            let mut text = format!("== {}\n{}\n", story.title, story.trace.join("\n"));
            if story.before_healing != story.ends {
                let before = story.before_healing.join(", ");
                text += &format!("before the network was whole again: {before}\n");
            }
            text += &format!("at the end: {}", story.ends.join(", "));
            if story.mixed {
                text += " (they disagree, and the record says so)";
            }
            text
        });
        stories.collect::<Vec<_>>().join("\n\n")
    }
}

/// Plays them.
///
/// # Errors
/// Standard output is closed.
pub(super) fn run(output: Format) -> Result<(), CliError> {
    output.show(&Stories(Scenario::ALL.map(Story::of).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_is_told_to_its_end() {
        let stories = Stories(Scenario::ALL.map(Story::of).into());
        let text = stories.text();
        for scenario in Scenario::ALL {
            assert!(text.contains(scenario.title()), "{text}");
        }
        assert_eq!(text.matches("at the end: ").count(), Scenario::ALL.len());
        assert_eq!(text.matches("they disagree").count(), 1, "{text}");
        assert_eq!(
            text.matches("before the network was whole").count(),
            1,
            "{text}"
        );
    }
}
