//! What may happen is drawn here.

use proptest::prelude::*;

use super::{Happening, History, NODES_MAX, Shape};

fn of_update() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => (0..4_usize, 0..4_usize).prop_map(|(task, lag)| Happening::Plan(task, lag)),
        40 => (0..4_usize).prop_map(Happening::Do),
        25 => (0..8_usize).prop_map(Happening::Agent),
        3 => (0..3_usize).prop_map(Happening::Template),
        4 => (1..8_u64).prop_map(Happening::Time),
        1 => Just(Happening::Lead),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    let effects = prop::sample::select(vec![None, None, Some("NoSchedule"), Some("NoExecute")]);
    prop_oneof![
        60 => of_update(),
        1 => (0..8_usize).prop_map(Happening::Unready),
        2 => (0..8_usize).prop_map(Happening::Fail),
        2 => Just(Happening::Rest),
        1 => (0..8_usize).prop_map(Happening::DeletePod),
        1 => (0..NODES_MAX).prop_map(Happening::Node),
        2 => (0..NODES_MAX, effects).prop_map(|(node, effect)| Happening::Taint(node, effect)),
    ]
}

fn with_strangers() -> impl Strategy<Value = Happening> {
    prop_oneof![
        60 => anything(),
        2 => (0..NODES_MAX).prop_map(Happening::Stranger),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let bounds = prop::sample::select(vec![(0, 1), (0, 2), (1, 0), (2, 0)]);
    let min_ready_s = prop::sample::select(vec![0, 0, 5]);
    (bounds, min_ready_s, prop::bool::weighted(0.15)).prop_map(
        |((max_surge, max_unavailable), min_ready_s, is_on_delete)| Shape {
            max_surge: if is_on_delete { 0 } else { max_surge },
            max_unavailable,
            min_ready_s,
            is_on_delete,
        },
    )
}

fn live(shape: Shape, is_settled: bool, happenings: &[Happening]) {
    let mut history = History::new(shape);
    if is_settled {
        history.settle();
        history.is_disturbed = false;
    }
    for happening in happenings {
        history.happen(happening);
    }
    history.finish();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn updates_keep_to_their_bounds(
        shape in shape(),
        happenings in proptest::collection::vec(of_update(), 100..400),
    ) {
        live(shape, true, &happenings);
    }

    #[test]
    fn each_node_has_what_it_may_have(
        shape in shape(),
        happenings in proptest::collection::vec(anything(), 0..250),
    ) {
        live(shape, false, &happenings);
    }

    #[test]
    fn whoever_comes_all_is_as_wanted_in_the_end(
        shape in shape(),
        happenings in proptest::collection::vec(with_strangers(), 0..200),
    ) {
        live(shape, false, &happenings);
    }
}
