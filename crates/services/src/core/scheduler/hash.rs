//! A hash that is the same everywhere and always, to choose among equals (FNV-1a; the finalizer
//! of SplitMix64).

/// Of a text.
pub(super) fn of(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325;
    text.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Of two hashes.
pub(super) fn mix(one: u64, other: u64) -> u64 {
    let mut hash = one.rotate_left(32) ^ other;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_chosen_from_evenly() {
        let mut counts = [0; 4];
        for pod in 0..1_000 {
            let pod = of(&format!("uid-{pod}"));
            let nodes: Vec<u64> = (0..4)
                .map(|node| mix(pod, of(&format!("n{node}"))))
                .collect();
            let best = (0..4).max_by_key(|node| nodes[*node]).expect("four nodes");
            counts[best] += 1;
        }
        assert!(
            counts.iter().all(|count| (150..350).contains(count)),
            "{counts:?}"
        );
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
