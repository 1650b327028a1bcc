//! The tree against a row.

use proptest::prelude::*;

use super::*;

fn item(number: usize) -> Item {
    Item {
        score: number as f64,
        place: number,
    }
}

/// Panics where a node is not as it should be; returns the depth.
fn check(node: &Node) -> usize {
    match node {
        Node::Leaf(items) => {
            assert!(items.len() <= LEAF_ITEMS_MAX);
            0
        }
        Node::Inner(children) => {
            assert!(!children.is_empty() && children.len() <= INNER_CHILDREN_MAX);
            let depths: Vec<usize> = children
                .iter()
                .map(|child| {
                    assert_eq!(child.count, child.node.count());
                    assert_eq!(Some(child.first), child.node.first());
                    check(&child.node)
                })
                .collect();
            assert!(depths.iter().all(|depth| *depth == depths[0]));
            depths[0] + 1
        }
    }
}

fn leaves(node: &Node) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::Inner(children) => children.iter().map(|child| leaves(&child.node)).sum(),
    }
}

#[test]
fn adding_in_order_leaves_full_leaves() {
    let (mut up, mut down) = (Tree::default(), Tree::default());
    for number in 0..10_000 {
        up.insert_at(number, item(number));
        down.insert_at(0, item(number));
    }
    for tree in [up, down] {
        assert_eq!(check(&tree.root), 2);
        assert_eq!(leaves(&tree.root), 10_000_usize.div_ceil(LEAF_ITEMS_MAX));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn is_as_a_row(
        // Long enough for three levels; then mostly removals.
        begin in 0..6_000_usize,
        steps in proptest::collection::vec((any::<u32>(), 0..10_u8), 0..1_500),
        removals in 0..8_u8,
    ) {
        let (mut tree, mut model) = (Tree::default(), Vec::new());
        for number in 0..begin {
            // Somewhere in the middle, so that leaves are split in halves.
            let rank = number / 2;
            tree.insert_at(rank, item(number));
            model.insert(rank, item(number));
        }
        for (number, (choice, kind)) in steps.into_iter().enumerate() {
            let choice = choice as usize;
            if kind < removals && !model.is_empty() {
                // Runs of removals empty whole leaves.
                for _ in 0..8.min(model.len()) {
                    let rank = choice % model.len();
                    tree.remove_at(rank);
                    model.remove(rank);
                }
            } else {
                let rank = choice % (model.len() + 1);
                tree.insert_at(rank, item(begin + number));
                model.insert(rank, item(begin + number));
            }
            if !model.is_empty() {
                let rank = choice % model.len();
                tree.set_place(rank, number);
                model[rank].place = number;
            }
        }
        check(&tree.root);
        prop_assert_eq!(tree.len(), model.len());
        prop_assert!(tree.range(0..model.len()).eq(model.iter().copied()));
        prop_assert!(tree.range(0..model.len()).rev().eq(model.iter().rev().copied()));
        let (third, half) = (model.len() / 3, model.len() / 2);
        let mut both = tree.range(third..model.len());
        for item in &model[third..half] {
            prop_assert_eq!(both.next(), Some(*item));
        }
        for item in model[half..].iter().rev() {
            prop_assert_eq!(both.next_back(), Some(*item));
        }
        prop_assert_eq!((both.next(), both.next_back()), (None, None));
    }

    #[test]
    fn finds_where_a_score_belongs(count in 0..5_000_usize, score in 0..5_000_usize) {
        let mut tree = Tree::default();
        for number in 0..count {
            tree.insert_at(number, item(number));
        }
        let rank = tree.partition_point(|item| item.score < score as f64);
        prop_assert_eq!(rank, score.min(count));
    }
}
