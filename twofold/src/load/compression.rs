//! Streams unpacked while they are read: gzip, zstd and bzip2, told by their first bytes and never by a name.
//!
//! Guarantee: streams of several members or frames are read to their end; what lies before a tear is given, then the
//! error.

use std::fmt;
use std::io::{self, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

/// How a stream is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// As bzip2 and pbzip2 write it.
    Bzip2,
}

/// What follows the size in the head of a bzip2 stream: its first block, or its end where it is empty.
const BZIP2_STARTS: [&[u8]; 2] = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];

impl Compression {
    /// By the first bytes of a stream, of which ten are enough.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or one that is to be skipped and stands before the first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', start @ ..]
                if BZIP2_STARTS.iter().any(|known| start.starts_with(known)) =>
            {
                Some(Self::Bzip2)
            }
            _ => None,
        }
    }

    /// What the stream holds. Memory is bounded by the format: 128 MiB at most, for zstd.
    ///
    /// # Errors
    /// If no decoder can be made.
    pub fn unpack(self, packed: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(packed))),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(packed)?),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(BufReader::new(packed))),
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        })
    }
}
