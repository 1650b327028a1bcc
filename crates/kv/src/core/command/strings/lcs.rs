//! The longest common subsequence of two strings, by the textbook's table (Cormen and others,
//! "Introduction to Algorithms", 15.4).

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, Executed,
        args::{self, Words},
    },
    data::{Kind, RedisString, STRING_BYTES_MAX},
    reply::Reply,
};

/// The table has at most so many cells: it is not larger than a string may be.
const CELLS_MAX: usize = STRING_BYTES_MAX / size_of::<u32>();

#[derive(Default)]
struct Options {
    length_only: bool,
    ranges: bool,
    with_lengths: bool,
    range_length_min: usize,
}

pub(super) fn lcs(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let first = string(context, &words[1])?;
    let second = string(context, &words[2])?;
    let options = options(words)?;
    let table = Table::new(&first, &second)?;
    let length = Reply::count(table.get(first.len(), second.len()));
    if options.length_only {
        return Ok(length);
    }
    let matches = table.matches(&first, &second);
    if options.ranges {
        let ranges = matches
            .iter()
            .filter(|range| range.length >= options.range_length_min)
            .map(|range| range.reply(options.with_lengths))
            .collect();
        return Ok(Reply::Map(vec![
            (Reply::bulk("matches"), Reply::Array(ranges)),
            (Reply::bulk("len"), length),
        ]));
    }
    let bytes: Vec<u8> = matches
        .iter()
        .rev()
        .flat_map(|range| &first[range.first..range.first + range.length])
        .copied()
        .collect();
    Ok(Reply::Bulk(bytes.into()))
}

fn string(context: &mut Context<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    let Some(value) = context.value(key) else {
        return Ok(Vec::new());
    };
    let string = RedisString::of(value).ok_or(CommandError::Other(
        "ERR The specified keys must contain string values",
    ))?;
    Ok(string.bytes().into_owned())
}

fn options(words: &[Bytes]) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut rest = Words::from(words, 3);
    while let Some(option) = rest.next() {
        match () {
            () if args::is(option, "IDX") => options.ranges = true,
            () if args::is(option, "LEN") => options.length_only = true,
            () if args::is(option, "WITHMATCHLEN") => options.with_lengths = true,
            () if args::is(option, "MINMATCHLEN") => {
                // A negative one is as good as none.
                options.range_length_min = usize::try_from(rest.expect_integer()?).unwrap_or(0);
            }
            () => return Err(CommandError::Syntax),
        }
    }
    if options.ranges && options.length_only {
        return Err(CommandError::Other(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    Ok(options)
}

/// Bytes that are in both strings, one after the other.
struct Match {
    first: usize,
    second: usize,
    length: usize,
}

impl Match {
    fn reply(&self, with_length: bool) -> Reply {
        let range = |begin: usize| {
            let end = begin + self.length - 1;
            Reply::Array(vec![Reply::count(begin), Reply::count(end)])
        };
        let mut items = vec![range(self.first), range(self.second)];
        if with_length {
            items.push(Reply::count(self.length));
        }
        Reply::Array(items)
    }
}

/// For each pair of beginnings of the two strings, the length of their subsequence.
struct Table {
    cells: Vec<u32>,
    columns: usize,
}

impl Table {
    fn new(first: &[u8], second: &[u8]) -> Result<Table, CommandError> {
        let columns = second.len() + 1;
        let cells = (first.len() + 1)
            .checked_mul(columns)
            .filter(|cells| *cells <= CELLS_MAX)
            .ok_or(CommandError::Other(
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            ))?;
        let mut table = Table {
            cells: vec![0; cells],
            columns,
        };
        for (row, byte) in first.iter().enumerate() {
            for (column, other) in second.iter().enumerate() {
                let length = if byte == other {
                    table.cell(row, column) + 1
                } else {
                    table.cell(row, column + 1).max(table.cell(row + 1, column))
                };
                table.cells[(row + 1) * columns + column + 1] = length;
            }
        }
        Ok(table)
    }

    fn cell(&self, row: usize, column: usize) -> u32 {
        self.cells[row * self.columns + column]
    }

    fn get(&self, row: usize, column: usize) -> usize {
        self.cell(row, column) as usize
    }

    /// The way back through the table: what the strings share, last first. Where both ways are
    /// as long, the second string is shortened, as in Redis.
    fn matches(&self, first: &[u8], second: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut row, mut column) = (first.len(), second.len());
        while row > 0 && column > 0 {
            if first[row - 1] == second[column - 1] {
                (row, column) = (row - 1, column - 1);
                match matches.last_mut() {
                    Some(last) if last.first == row + 1 && last.second == column + 1 => {
                        (last.first, last.second) = (row, column);
                        last.length += 1;
                    }
                    _ => matches.push(Match {
                        first: row,
                        second: column,
                        length: 1,
                    }),
                }
            } else if self.cell(row - 1, column) > self.cell(row, column - 1) {
                row -= 1;
            } else {
                column -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::command::testing::story;

    #[test]
    fn what_two_strings_share() {
        story(
            r#"
            > MSET a ohmytext b mynewtext
            OK
            > LCS a b
            "mytext"
            > LCS a b LEN
            (integer) 6
            > LCS a b IDX
            1# "matches" => 1) 1) 1) (integer) 4
                     2) (integer) 7
                  2) 1) (integer) 5
                     2) (integer) 8
               2) 1) 1) (integer) 2
                     2) (integer) 3
                  2) 1) (integer) 0
                     2) (integer) 1
            2# "len" => (integer) 6
            > LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
            1# "matches" => 1) 1) 1) (integer) 4
                     2) (integer) 7
                  2) 1) (integer) 5
                     2) (integer) 8
                  3) (integer) 4
            2# "len" => (integer) 6
            > LCS a missing
            ""
            > LCS a missing IDX
            1# "matches" => (empty array)
            2# "len" => (integer) 0
            > LCS a b IDX LEN
            (error) ERR If you want both the length and indexes, please just use IDX.
            > LCS a b MINMATCHLEN
            (error) ERR syntax error
            > LCS a b MINMATCHLEN x
            (error) ERR value is not an integer or out of range
            > LCS a b NEITHER
            (error) ERR syntax error
            > SETRANGE a 11600 x
            (integer) 11601
            > SETRANGE b 11600 x
            (integer) 11601
            > LCS a b
            (error) ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len
            "#,
        );
    }

    fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
        let mut rest = whole.iter();
        part.iter().all(|byte| rest.any(|other| other == byte))
    }

    proptest! {
        #[test]
        fn matches_are_shared_and_as_long_as_said(first in "[ab]{0,9}", second in "[abc]{0,9}") {
            let (first, second) = (first.as_bytes(), second.as_bytes());
            let table = Table::new(first, second).expect("a small table");
            let mut shared: Vec<u8> = Vec::new();
            for range in table.matches(first, second).iter().rev() {
                let part = &first[range.first..range.first + range.length];
                prop_assert_eq!(part, &second[range.second..range.second + range.length]);
                shared.extend(part);
            }
            prop_assert!(is_subsequence(&shared, first) && is_subsequence(&shared, second));
            let longest = (0..1usize << first.len())
                .map(|chosen| {
                    let part = first.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1);
                    part.map(|(_, byte)| *byte).collect::<Vec<u8>>()
                })
                .filter(|part| is_subsequence(part, second))
                .map(|part| part.len())
                .max();
            prop_assert_eq!(Some(shared.len()), longest);
            prop_assert_eq!(table.get(first.len(), second.len()), shared.len());
        }
    }
}
