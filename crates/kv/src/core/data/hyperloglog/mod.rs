//! HyperLogLog: how many different elements were seen, within a percent, in 12 KB (Flajolet and
//! others 2007). Kept in strings, in the bytes that Redis gives them, so that values go from one
//! to the other by DUMP and RESTORE or GET and SET.
//!
//! A string begins with `HYLL`, a byte for its form (0 dense, 1 sparse), three bytes of zeros,
//! and eight bytes, lowest first, with the last estimate; their highest bit says that it does
//! not hold any more. Then come 16,384 registers: six bits for each, or the [`sparse`] form.

mod estimate;
mod hash;
mod sparse;

/// Number of registers, of which an element's hash chooses one by its low 14 bits.
const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// The other bits of the hash.
const RANK_BITS: u32 = 64 - INDEX_BITS;

const MAGIC: &[u8; 4] = b"HYLL";
const HEADER_BYTES: usize = 16;
/// The form's place in the header.
const FORM: usize = 4;
/// The place in the header of the byte with the bit that the estimate does not hold any more.
const STALE: usize = 15;
const STALE_BIT: u8 = 0x80;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;

/// Why a string is no HyperLogLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HyperLogLogFault {
    /// It does not begin like one, or has not the length of one.
    #[error("WRONGTYPE Key is not a valid HyperLogLog string value.")]
    Other,
    /// It begins like one, but what follows makes no sense.
    #[error("INVALIDOBJ Corrupted HLL object detected")]
    Corrupted,
}

/// Each register's value: the highest rank seen.
#[derive(Clone, PartialEq)]
pub struct Registers(Box<[u8]>);

impl Default for Registers {
    fn default() -> Self {
        Registers(vec![0; REGISTERS].into())
    }
}

impl Registers {
    fn raise(&mut self, index: usize, value: u8) {
        self.0[index] = self.0[index].max(value);
    }

    /// The values, in order.
    pub fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }

    /// How many different elements were probably seen.
    pub fn estimate(&self) -> u64 {
        let mut histogram = [0; 64];
        for value in &self.0 {
            histogram[usize::from(value & 63)] += 1;
        }
        estimate::estimate(&histogram)
    }
}

/// The bytes of a string that is a HyperLogLog.
#[derive(Clone, Copy, Debug)]
pub struct HyperLogLog<'a> {
    bytes: &'a [u8],
}

impl<'a> HyperLogLog<'a> {
    /// Looks whether these bytes are one, every register included.
    ///
    /// # Errors
    /// [`HyperLogLogFault`]
    pub fn of(bytes: &'a [u8]) -> Result<Self, HyperLogLogFault> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(HyperLogLogFault::Other);
        }
        match bytes[FORM] {
            DENSE if bytes.len() == DENSE_BYTES => Ok(HyperLogLog { bytes }),
            SPARSE if sparse::is_complete(&bytes[HEADER_BYTES..]) => Ok(HyperLogLog { bytes }),
            SPARSE => Err(HyperLogLogFault::Corrupted),
            _ => Err(HyperLogLogFault::Other),
        }
    }

    /// Whether it has the dense form.
    pub fn is_dense(&self) -> bool {
        self.bytes[FORM] == DENSE
    }

    /// Raises registers to what they are here.
    pub fn merge_into(&self, registers: &mut Registers) {
        let payload = &self.bytes[HEADER_BYTES..];
        if self.is_dense() {
            for (index, value) in dense_values(payload).enumerate() {
                registers.raise(index, value);
            }
            return;
        }
        let mut index = 0;
        for run in sparse::runs(payload) {
            for register in &mut registers.0[index..index + run.length] {
                *register = run.value.max(*register);
            }
            index += run.length;
        }
    }

    /// How many different elements were probably seen.
    pub fn estimate(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.bytes[..HEADER_BYTES] else {
            unreachable!("a header is longer than eight bytes");
        };
        if h & STALE_BIT == 0 {
            return u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        }
        let mut registers = Registers::default();
        self.merge_into(&mut registers);
        registers.estimate()
    }
}

/// The bytes of one that has seen nothing.
pub fn empty() -> Vec<u8> {
    let mut bytes = header(SPARSE);
    bytes[STALE] |= STALE_BIT;
    sparse::write(&mut bytes, sparse::Run::of(0, REGISTERS));
    bytes
}

fn header(form: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[FORM] = form;
    bytes
}

/// Sees an element; says whether that changed a register. The bytes are a [`HyperLogLog`], which
/// gives its sparse form up when that would be longer than `sparse_bytes_max`.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> bool {
    let (index, value) = rank(element);
    let changed = raise(bytes, index, value, sparse_bytes_max);
    if changed {
        bytes[STALE] |= STALE_BIT;
    }
    changed
}

/// An element's register, and at which bit of the rest of its hash the first one is.
fn rank(element: &[u8]) -> (usize, u8) {
    let hash = hash::murmur64a(element);
    let index = hash as usize % REGISTERS;
    // A last one, so that there always is a first one.
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

fn raise(bytes: &mut Vec<u8>, index: usize, value: u8, sparse_bytes_max: usize) -> bool {
    if bytes[FORM] == SPARSE {
        match sparse::raise(bytes, HEADER_BYTES, sparse_bytes_max, index, value) {
            sparse::Raised::Not => return false,
            sparse::Raised::Done => return true,
            sparse::Raised::NoRoom => {
                let mut registers = Registers::default();
                HyperLogLog { bytes }.merge_into(&mut registers);
                *bytes = dense(&registers);
            }
        }
    }
    let payload = &mut bytes[HEADER_BYTES..];
    let grows = dense_value(payload, index) < value;
    if grows {
        set_dense_value(payload, index, value);
    }
    grows
}

/// The bytes of one with these registers; dense if said so, or if the sparse form would be longer
/// than `sparse_bytes_max`.
pub fn with(registers: &Registers, be_dense: bool, sparse_bytes_max: usize) -> Vec<u8> {
    let mut bytes = match sparse(registers, sparse_bytes_max) {
        Some(bytes) if !be_dense => bytes,
        _ => dense(registers),
    };
    bytes[STALE] |= STALE_BIT;
    bytes
}

fn sparse(registers: &Registers, bytes_max: usize) -> Option<Vec<u8>> {
    let mut bytes = header(SPARSE);
    for same in registers.0.chunk_by(|first, second| first == second) {
        let run = sparse::Run::of(same[0], same.len());
        if run.value > sparse::VALUE_MAX || bytes.len() > bytes_max {
            return None;
        }
        sparse::write(&mut bytes, run);
    }
    (bytes.len() <= bytes_max).then_some(bytes)
}

fn dense(registers: &Registers) -> Vec<u8> {
    let mut bytes = header(DENSE);
    let (fours, _) = registers.0.as_chunks();
    for [a, b, c, d] in fours {
        bytes.extend([a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2]);
    }
    bytes
}

/// Four values are in three bytes, the first in the lowest bits.
fn dense_values(payload: &[u8]) -> impl Iterator<Item = u8> {
    let (threes, _) = payload.as_chunks();
    threes
        .iter()
        .flat_map(|[a, b, c]| [*a, a >> 6 | b << 2, b >> 4 | c << 4, c >> 2])
        .map(|value| value & 63)
}

fn dense_value(payload: &[u8], index: usize) -> u8 {
    let (place, shift) = (index * 6 / 8, index * 6 % 8);
    let next = payload.get(place + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([payload[place], next]) >> shift) as u8 & 63
}

fn set_dense_value(payload: &mut [u8], index: usize, value: u8) {
    let (place, shift) = (index * 6 / 8, index * 6 % 8);
    let [low, high] = (u16::from(value) << shift).to_le_bytes();
    let [low_mask, high_mask] = (63_u16 << shift).to_le_bytes();
    payload[place] = payload[place] & !low_mask | low;
    // The last register ends with the last byte.
    if let Some(next) = payload.get_mut(place + 1) {
        *next = *next & !high_mask | high;
    }
}

#[cfg(test)]
mod tests;
