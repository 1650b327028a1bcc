//! Random histories of one StatefulSet: what may happen is drawn here, [`super::stateful_history`]
//! lets it happen and looks.

use proptest::prelude::*;

use super::stateful_history::{Happening, History, Shape};

/// What belongs to an update.
fn of_update() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => (0..8_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        40 => (0..8_usize).prop_map(Happening::Do),
        25 => (0..7_usize).prop_map(Happening::Agent),
        3 => (0..5_usize).prop_map(Happening::Template),
        1 => (0..4_i64).prop_map(Happening::Partition),
        1 => (0..4_usize).prop_map(Happening::DeleteRevision),
        4 => (1..8_u64).prop_map(Happening::Time),
        1 => Just(Happening::Lead),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    prop_oneof![
        20 => of_update(),
        1 => prop_oneof![
            (0..7_usize).prop_map(Happening::Unready),
            (0..7_usize).prop_map(Happening::Fail),
            (0..7_usize).prop_map(Happening::DeletePod),
            (0..7_i64).prop_map(Happening::Scale),
            (0..3_i64).prop_map(Happening::Start),
            (0..3_usize).prop_map(Happening::Node),
        ],
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let min_ready_s = prop::sample::select(vec![0, 0, 5]);
    let flags = (any::<bool>(), any::<bool>());
    (1..6_i64, 1..4_i64, min_ready_s, flags).prop_map(
        |(replicas, max_unavailable, min_ready_s, (is_ordered, has_claims))| Shape {
            replicas,
            max_unavailable,
            min_ready_s,
            is_ordered,
            has_claims,
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
    fn updates_of_stateful_sets_keep_to_their_bounds(
        shape in shape(),
        happenings in proptest::collection::vec(of_update(), 100..500),
    ) {
        let mut history = History::new(shape);
        history.settle();
        for happening in &happenings {
            history.happen(happening);
        }
        history.finish();
    }

    #[test]
    fn whatever_happens_a_stateful_set_is_as_wanted_in_the_end(
        shape in shape(),
        happenings in proptest::collection::vec(anything(), 0..400),
    ) {
        let mut history = History::new(shape);
        for happening in &happenings {
            history.happen(happening);
        }
        history.finish();
    }
}

#[test]
fn a_pod_that_has_to_be_where_it_was_outlives_its_node() {
    let shape = Shape {
        replicas: 2,
        max_unavailable: 1,
        min_ready_s: 0,
        is_ordered: true,
        has_claims: true,
    };
    let mut history = History::new(shape);
    history.settle();
    // The next pod is made for the node of the first one.
    history.happen(&Happening::DeletePod(0));
    history.settle();
    history.happen(&Happening::Unready(0));
    (0..2).for_each(|node| history.happen(&Happening::Node(node)));
    history.finish();
}
