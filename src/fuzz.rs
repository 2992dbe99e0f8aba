//! Random input for tests. The same seed gives the same input.
//!
//! `FUZZ_SEED=N` starts with the case of that number, which a failure prints. `FUZZ_CASES=N` makes each test try N
//! cases instead of its own number. Must not know what is tested: the binary's unit tests and the integration tests
//! both use this file.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// A generator (splitmix64, <https://prng.di.unimi.it/splitmix64.c>): good enough for tests, and for nothing else.
pub(crate) struct Random(u64);

/// Calls `case` `count` times, each time with a generator of its own. A failure prints how to repeat it.
pub(crate) fn cases(count: u64, mut case: impl FnMut(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    for offset in 0..number("FUZZ_CASES").unwrap_or(count) {
        let seed = first.wrapping_add(offset);
        let guard = SeedAtFailure(seed);
        case(&mut Random(seed));
        drop(guard);
    }
}

/// Prints the seed when its case fails.
struct SeedAtFailure(u64);

impl Drop for SeedAtFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FUZZ_SEED={} shows this case first", self.0);
        }
    }
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from a range that is not empty.
    pub(crate) fn within(&mut self, range: Range<usize>) -> usize {
        let width = range.end - range.start;
        range.start + usize::try_from(self.next() % width as u64).unwrap()
    }

    /// True once in `times` calls, on average.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.within(0..times) == 0
    }

    /// An element of a list that is not empty.
    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.within(0..list.len())]
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Changes a few bytes: replaces, inserts, deletes, truncates, or repeats a piece. Often changes nothing.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        // Bytes that have a meaning in some format.
        const MARKS: &[u8] = b"\0\t\n\r -+%&=;:[]/?.,\"'#@\\\x7f\x80\xc3\xff09azAZ";
        for _ in 0..self.within(0..5) / 2 {
            let at = self.within(0..bytes.len() + 1);
            let byte = if self.once_in(3) {
                self.byte()
            } else {
                MARKS[self.within(0..MARKS.len())]
            };
            match self.within(0..5) {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                _ => {
                    let end = (at + self.within(0..20)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
    }
}
