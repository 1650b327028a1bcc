//! Random histories of one Deployment: what may happen is drawn here, [`super::history`] lets it
//! happen and looks.

use proptest::prelude::*;

use super::history::{Happening, History, Shape};

/// What belongs to a rollout.
fn of_rollout() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => (0..8_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        40 => (0..8_usize).prop_map(Happening::Do),
        25 => (0..12_usize).prop_map(Happening::Agent),
        4 => (0..3_usize).prop_map(Happening::Template),
        1 => any::<bool>().prop_map(Happening::Pause),
        4 => (1..8_u64).prop_map(Happening::Time),
        1 => Just(Happening::Lead),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => (0..8_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        40 => (0..8_usize).prop_map(Happening::Do),
        25 => (0..12_usize).prop_map(Happening::Agent),
        1 => (0..12_usize).prop_map(Happening::Unready),
        1 => (0..12_usize).prop_map(Happening::Fail),
        1 => (0..12_usize).prop_map(Happening::DeletePod),
        1 => (0..4_usize).prop_map(Happening::DeleteSet),
        1 => (0..7_i64).prop_map(Happening::Scale),
        3 => (0..3_usize).prop_map(Happening::Template),
        1 => any::<bool>().prop_map(Happening::Pause),
        4 => (1..8_u64).prop_map(Happening::Time),
        1 => Just(Happening::Lead),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let bounds = prop::sample::select(vec![(1, 0), (0, 1), (1, 1), (2, 1), (0, 3), (3, 0)]);
    let min_ready_s = prop::sample::select(vec![0, 0, 5]);
    (1..6_i64, bounds, min_ready_s, prop::bool::weighted(0.2)).prop_map(
        |(replicas, (max_surge, max_unavailable), min_ready_s, is_recreate)| Shape {
            replicas,
            max_surge,
            max_unavailable,
            min_ready_s,
            is_recreate,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn rollouts_keep_to_their_bounds(
        shape in shape(),
        happenings in proptest::collection::vec(of_rollout(), 100..500),
    ) {
        let mut history = History::new(shape);
        history.settle();
        for happening in &happenings {
            history.happen(happening);
        }
        history.finish();
    }

    #[test]
    fn whatever_happens_all_is_as_wanted_in_the_end(
        shape in shape(),
        happenings in proptest::collection::vec(anything(), 0..250),
    ) {
        let mut history = History::new(shape);
        for happening in &happenings {
            history.happen(happening);
        }
        history.finish();
    }
}
