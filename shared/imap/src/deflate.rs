//! The DEFLATE streams of COMPRESS (RFC 4978), one each way.
//!
//! Driven by hand rather than by an adapter around the connection: async-compression's decoder drops what it has just
//! inflated when the connection ends without a farewell, and so would lose a server's last words.

use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::Kind;

/// Both directions.
pub(crate) struct Deflate {
    compress: Compress,
    decompress: Decompress,
    packed: BytesMut,
}

/// How much is unpacked at a time. A small packet may unpack to a thousandfold: the limits on lines and literals must
/// get to see it before more is unpacked.
const STEP: usize = 32 << 10;

impl Deflate {
    /// `packed` is what has come in already.
    pub(crate) fn new(packed: BytesMut) -> Self {
        Self { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false), packed }
    }

    /// The buffer for packed bytes, with room to read into.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        self.packed.reserve(STEP);
        &mut self.packed
    }

    /// Unpacks a step of what has come in onto `plain`; false when more must come in first.
    pub(crate) fn inflate(&mut self, plain: &mut BytesMut) -> Result<bool, Kind> {
        let broken = |_| Kind::Garbage("compressed data that cannot be unpacked");
        let before = self.decompress.total_in();
        let mut step = Vec::with_capacity(STEP);
        let status = self.decompress.decompress_vec(&self.packed, &mut step, FlushDecompress::None).map_err(broken)?;
        let used = self.decompress.total_in() - before;
        // Never more than there is, so it fits.
        self.packed.advance(usize::try_from(used).unwrap_or(self.packed.len()));
        plain.extend_from_slice(&step);
        match status {
            Status::StreamEnd if step.is_empty() => Err(Kind::Garbage("an end of compression")),
            _ => Ok(!step.is_empty()),
        }
    }

    /// Packs these bytes so that the other side can unpack all of them at once.
    pub(crate) fn deflate(&mut self, plain: &[u8]) -> Result<Vec<u8>, Kind> {
        let (start, mut packed) = (self.compress.total_in(), Vec::new());
        loop {
            let done = usize::try_from(self.compress.total_in() - start).unwrap_or(plain.len());
            packed.reserve(STEP);
            let rest = plain.get(done..).unwrap_or_default();
            self.compress
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .map_err(|_| Kind::Argument("what cannot be compressed"))?;
            // Room left over means that nothing is left inside (zlib.h, deflate, Z_SYNC_FLUSH).
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(chunks: &[Vec<u8>], cut: usize) -> Vec<u8> {
        let mut near = Deflate::new(BytesMut::new());
        let mut far = Deflate::new(BytesMut::new());
        let mut plain = BytesMut::new();
        for chunk in chunks {
            for piece in near.deflate(chunk).unwrap().chunks(cut) {
                far.room().extend_from_slice(piece);
                while far.inflate(&mut plain).unwrap() {}
            }
        }
        plain.to_vec()
    }

    proptest! {
        #[test]
        fn everything_arrives_at_once_however_it_is_cut(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5),
            cut in 1_usize..50,
        ) {
            prop_assert_eq!(through(&chunks, cut), chunks.concat());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut plain = BytesMut::new();
            let mut deflate = Deflate::new(bytes.as_slice().into());
            while deflate.inflate(&mut plain).is_ok_and(|more| more) {}
        }
    }

    #[test]
    fn more_than_one_step_comes_out_whole() {
        let noise: Vec<u8> = (0_u32..200_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let zeros = vec![0; 1 << 20];
        assert!(through(&[noise.clone(), zeros.clone()], 1 << 16) == [noise, zeros].concat());
    }

    #[test]
    fn a_step_is_small_however_much_is_packed_into_it() {
        let packed = Deflate::new(BytesMut::new()).deflate(&vec![0; 10 << 20]).unwrap();
        assert!(packed.len() < 20_000);
        let mut plain = BytesMut::new();
        assert!(Deflate::new(packed.as_slice().into()).inflate(&mut plain).unwrap());
        assert!(plain.len() <= STEP);
    }

    #[test]
    fn an_end_of_the_stream_is_an_error_after_its_last_word() {
        let mut packed = Vec::with_capacity(100);
        Compress::new(Compression::default(), false).compress_vec(b"bye", &mut packed, FlushCompress::Finish).unwrap();
        let (mut deflate, mut plain) = (Deflate::new(packed.as_slice().into()), BytesMut::new());
        assert!(deflate.inflate(&mut plain).unwrap());
        assert_eq!(plain, "bye");
        assert!(deflate.inflate(&mut plain).is_err());
    }
}
