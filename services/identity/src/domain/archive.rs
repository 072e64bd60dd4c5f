//! The archive of an export: a tar file (POSIX.1-2017, pax interchange format, ustar header), the same bytes however often it is made.

use std::fmt::Write as _;

/// Everything stands in blocks of so many bytes.
pub const BLOCK: usize = 512;
const BLOCK_U64: u64 = BLOCK as u64;
/// Two empty blocks.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The largest size that eleven octal digits say.
const MOST_OCTAL: u64 = 0o777_7777_7777;

/// The header of a file. `path` has at most 100 bytes; `time` is in seconds since 1970.
pub fn header(path: &str, bytes: u64, time: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, field: &[u8]| {
        for (to, from) in header.iter_mut().skip(at).zip(field) {
            *to = *from;
        }
    };
    put(0, path.as_bytes().get(..100).unwrap_or(path.as_bytes()));
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, &size(bytes));
    put(136, octal(time).as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let mut text = String::new();
    let _ = write!(text, "{sum:06o}\0 ");
    for (to, from) in header.iter_mut().skip(148).zip(text.as_bytes()) {
        *to = *from;
    }
    header
}

fn octal(number: u64) -> String {
    format!("{number:011o}\0")
}

/// Octal digits; a larger one in base 256, as GNU and pax write it.
fn size(bytes: u64) -> Vec<u8> {
    if bytes <= MOST_OCTAL {
        return octal(bytes).into_bytes();
    }
    [&[0x80, 0, 0, 0], bytes.to_be_bytes().as_slice()].concat()
}

/// How many bytes follow a file of this length until the next block begins.
pub fn padding(bytes: u64) -> u64 {
    (BLOCK_U64 - bytes % BLOCK_U64) % BLOCK_U64
}

/// How many bytes a file takes, with its header.
pub fn entry(bytes: u64) -> u64 {
    BLOCK_U64 + bytes + padding(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_whole_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(entry), [512, 1024, 1024, 1024, 1536]);
    }

    #[test]
    fn the_sum_of_a_header_is_that_of_its_bytes_with_spaces_in_its_place() {
        let header = header("team/teams.jsonl", 10, 1_800_000_000);
        let said = u64::from_str_radix(std::str::from_utf8(&header[148..154]).unwrap(), 8).unwrap();
        let mut blank = header;
        blank[148..156].fill(b' ');
        assert_eq!(said, blank.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        assert_eq!(&header[..17], b"team/teams.jsonl\0");
        assert_eq!(&header[124..136], b"00000000012\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
    }

    #[test]
    fn the_size_of_a_huge_file_is_said_in_base_256() {
        assert_eq!(size(MOST_OCTAL), b"77777777777\0");
        assert_eq!(size(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
