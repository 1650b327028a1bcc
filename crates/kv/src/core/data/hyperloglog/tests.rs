use proptest::prelude::*;

use super::*;

/// Redis's own limit.
const SPARSE_BYTES_MAX: usize = 3_000;

fn seen(elements: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut bytes = empty();
    for element in elements {
        add(&mut bytes, element.to_string().as_bytes(), SPARSE_BYTES_MAX);
    }
    bytes
}

fn registers(bytes: &[u8]) -> Registers {
    let mut registers = Registers::default();
    HyperLogLog::of(bytes)
        .expect("a HyperLogLog")
        .merge_into(&mut registers);
    registers
}

/// The standard error of 2^14 registers is 1.04 / 2^7, 0.81 percent.
#[test]
fn estimates_are_within_the_known_error() {
    for elements in [0, 1, 2, 10, 100, 1_000, 3_000, 20_000] {
        let bytes = seen(0..elements);
        let estimate = HyperLogLog::of(&bytes).expect("a HyperLogLog").estimate();
        let error = (estimate as f64 - elements as f64).abs();
        assert!(
            error <= elements as f64 * 0.0081 * 3.0,
            "{elements} taken for {estimate}"
        );
    }
}

/// What PFCOUNT and STRLEN of Redis 7.0 answer after PFADD of 0, 1, 2 and so on.
#[test]
fn estimates_and_lengths_are_those_of_redis() {
    for (elements, estimate, length) in [
        (500, 503, 1_061),
        (1_000, 1_001, 1_923),
        (3_000, 3_004, 12_304),
        (10_000, 9_987, 12_304),
        (40_000, 40_380, 12_304),
    ] {
        let bytes = seen(0..elements);
        let log = HyperLogLog::of(&bytes).expect("a HyperLogLog");
        assert_eq!(
            (log.estimate(), bytes.len()),
            (estimate, length),
            "{elements}"
        );
    }
}

#[test]
fn a_full_one_has_an_estimate() {
    let full = Registers(vec![RANK_BITS as u8 + 1; REGISTERS].into());
    assert!(full.estimate() > 1 << 60);
    let nearly = Registers(vec![RANK_BITS as u8; REGISTERS].into());
    assert!(nearly.estimate() < full.estimate());
}

#[test]
fn many_elements_make_it_dense() {
    let few = seen(0..500);
    assert!(!HyperLogLog::of(&few).expect("a HyperLogLog").is_dense());
    let many = seen(0..5_000);
    assert!(HyperLogLog::of(&many).expect("a HyperLogLog").is_dense());
    assert_eq!(many.len(), DENSE_BYTES);
    // The same elements again change nothing.
    let mut again = many.clone();
    assert!(!(0..5_000_u64).any(|element| add(
        &mut again,
        element.to_string().as_bytes(),
        SPARSE_BYTES_MAX
    )));
    assert!(again == many);
}

#[test]
fn a_high_value_makes_it_dense() {
    let mut bytes = empty();
    assert!(raise(&mut bytes, 7, sparse::VALUE_MAX, SPARSE_BYTES_MAX));
    assert_eq!(bytes[FORM], SPARSE);
    assert!(raise(
        &mut bytes,
        16_383,
        sparse::VALUE_MAX + 1,
        SPARSE_BYTES_MAX
    ));
    assert_eq!(bytes[FORM], DENSE);
    let registers = registers(&bytes);
    assert_eq!((registers.0[7], registers.0[16_383]), (32, 33));
}

#[test]
fn an_estimate_that_holds_is_taken() {
    let mut bytes = seen(0..10);
    bytes[8..16].copy_from_slice(&77_u64.to_le_bytes());
    assert_eq!(HyperLogLog::of(&bytes).map(|log| log.estimate()), Ok(77));
    add(&mut bytes, b"another", SPARSE_BYTES_MAX);
    assert_eq!(HyperLogLog::of(&bytes).map(|log| log.estimate()), Ok(11));
}

#[test]
fn what_is_none_is_refused() {
    let fault = |bytes: &[u8]| HyperLogLog::of(bytes).err();
    let whole = seen(0..10);
    assert_eq!(fault(&whole), None);
    assert_eq!(fault(b""), Some(HyperLogLogFault::Other));
    assert_eq!(fault(b"HYLL"), Some(HyperLogLogFault::Other));
    assert_eq!(fault(&whole[1..]), Some(HyperLogLogFault::Other));
    assert_eq!(
        fault(&whole[..whole.len() - 1]),
        Some(HyperLogLogFault::Corrupted)
    );
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(fault(&longer), Some(HyperLogLogFault::Corrupted));
    let mut half = whole.clone();
    half.push(0x40);
    assert_eq!(fault(&half), Some(HyperLogLogFault::Corrupted));
    let mut other_form = whole;
    other_form[FORM] = 2;
    assert_eq!(fault(&other_form), Some(HyperLogLogFault::Other));
    other_form[FORM] = DENSE;
    assert_eq!(fault(&other_form), Some(HyperLogLogFault::Other));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Sparse or dense, registers are as in a plain array.
    #[test]
    fn raising_is_as_in_an_array(
        places in prop::sample::select(vec![40_usize, 1_000, REGISTERS]),
        raises in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..=33), 1..200),
    ) {
        let mut bytes = empty();
        let mut model = Registers::default();
        for (index, value) in raises {
            let index = (REGISTERS - 1) - index.index(places);
            prop_assert_eq!(raise(&mut bytes, index, value, SPARSE_BYTES_MAX), model.0[index] < value);
            model.raise(index, value);
            prop_assert!(HyperLogLog::of(&bytes).is_ok());
        }
        prop_assert!(registers(&bytes) == model);
        prop_assert!(registers(&with(&model, false, SPARSE_BYTES_MAX)) == model);
        prop_assert!(registers(&with(&model, true, SPARSE_BYTES_MAX)) == model);
        for index in [0, 1, 2, 3, REGISTERS - places, REGISTERS - 1] {
            prop_assert_eq!(dense_value(&dense(&model)[HEADER_BYTES..], index), model.0[index]);
        }
    }

    #[test]
    fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..40), form in 0_u8..3) {
        let mut bytes = header(form);
        bytes.extend(tail);
        if let Ok(log) = HyperLogLog::of(&bytes) {
            log.estimate();
        }
    }
}
