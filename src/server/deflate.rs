//! COMPRESS=DEFLATE: what a connection sends and receives, deflated. Knows neither socket nor
//! protocol. What the peer sends is inflated a piece at a time, so that it cannot become more than
//! is asked for. RFC 4978
//!
//! The peer may refer to the last 32 KiB that it has sent, so that window stays. Ours, of 300 KiB,
//! is not a connection's but a thread's: deflate is a row of blocks, and what is sent in one go may
//! begin without any history. So however many connections are busy, a few windows are held; and
//! what one answer says cannot be told from how short the next one is.

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Most bytes that one step inflates or deflates to.
const STEP_BYTES: usize = 16 * 1024;

thread_local! {
    static WINDOW: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// Both directions of one connection.
pub(super) struct Deflate {
    inflate: Decompress,
    /// Received and not inflated.
    received: Vec<u8>,
    /// Whether the last step could have gone on.
    is_full: bool,
}

impl Deflate {
    /// `received` has come behind the command already.
    pub(super) fn new(received: Vec<u8>) -> Deflate {
        Deflate { inflate: Decompress::new(false), received, is_full: false }
    }

    /// Takes what was read from the peer.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Whether there is something to inflate.
    pub(super) fn has_input(&self) -> bool {
        self.is_full || !self.received.is_empty()
    }

    /// Inflates a piece; how long it is. None: more must be received.
    pub(super) fn inflate(&mut self, take: impl FnOnce(&[u8])) -> io::Result<usize> {
        let mut space = [0; STEP_BYTES];
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let step = self.inflate.decompress(&self.received, &mut space, FlushDecompress::None);
        let status = step.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let used = (self.inflate.total_in() - before_in) as usize;
        let made = (self.inflate.total_out() - before_out) as usize;
        self.received.drain(..used);
        if self.received.is_empty() {
            // an idle connection keeps no buffer
            self.received = Vec::new();
        }
        self.is_full = made == space.len();
        if made == 0 && (status == Status::StreamEnd || used == 0 && !self.received.is_empty()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(&space[..made]);
        Ok(made)
    }

    /// Deflates `bytes`, up to a point where the peer can read all of them. RFC 4978 §3
    pub(super) fn deflate(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        WINDOW.with_borrow_mut(|window| {
            window.reset();
            deflate(window, bytes, out)
        })
    }
}

fn deflate(window: &mut Compress, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let (mut space, mut at) = ([0; STEP_BYTES], 0);
    loop {
        let (before_in, before_out) = (window.total_in(), window.total_out());
        let step = window.compress(&bytes[at..], &mut space, FlushCompress::Sync);
        step.map_err(io::Error::other)?;
        at += (window.total_in() - before_in) as usize;
        let made = (window.total_out() - before_out) as usize;
        out.extend_from_slice(&space[..made]);
        if at == bytes.len() && made < space.len() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Checked = Result<(), Box<dyn std::error::Error>>;

    /// All that comes out, by pieces.
    fn inflated(layer: &mut Deflate) -> io::Result<Vec<Vec<u8>>> {
        let mut pieces = Vec::new();
        while layer.has_input() {
            layer.inflate(|piece| pieces.push(piece.to_vec()))?;
        }
        Ok(pieces)
    }

    #[test]
    fn what_one_side_deflates_the_other_reads_at_once() -> Checked {
        let (mut ours, mut theirs) = (Deflate::new(Vec::new()), Deflate::new(Vec::new()));
        for text in ["a1 NOOP\r\n", "", "a2 NOOP\r\n", "a3 LOGOUT\r\n"] {
            let mut wire = Vec::new();
            ours.deflate(text.as_bytes(), &mut wire)?;
            // whatever the pieces are
            for byte in &wire {
                theirs.receive(&[*byte]);
            }
            assert_eq!(inflated(&mut theirs)?.concat(), text.as_bytes(), "{text}");
        }
        Ok(())
    }

    #[test]
    fn what_one_connection_is_sent_shows_in_no_other_answer() -> Checked {
        let secret = b"* 1 FETCH (ENVELOPE (\"a subject that nobody else may know of\"))\r\n";
        let length = |first: &[u8]| -> io::Result<usize> {
            let mut wire = Vec::new();
            Deflate::new(Vec::new()).deflate(first, &mut Vec::new())?;
            Deflate::new(Vec::new()).deflate(secret, &mut wire)?;
            Ok(wire.len())
        };
        assert_eq!(length(secret)?, length(b"* OK something else altogether\r\n")?);
        Ok(())
    }

    #[test]
    fn a_large_answer_goes_through_in_steps() -> Checked {
        let text: Vec<u8> =
            (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let (mut ours, mut theirs) = (Deflate::new(Vec::new()), Deflate::new(Vec::new()));
        let mut wire = Vec::new();
        ours.deflate(&text, &mut wire)?;
        theirs.receive(&wire);
        let pieces = inflated(&mut theirs)?;
        assert!(pieces.iter().all(|piece| piece.len() <= STEP_BYTES));
        assert_eq!(pieces.concat(), text);
        Ok(())
    }

    #[test]
    fn a_bomb_comes_out_a_step_at_a_time() -> Checked {
        let mut wire = Vec::new();
        Deflate::new(Vec::new()).deflate(&vec![b'x'; 10_000_000], &mut wire)?;
        assert!(wire.len() < 100_000, "{}", wire.len());
        let mut theirs = Deflate::new(wire);
        let mut steps = 0;
        while theirs.has_input() {
            let made = theirs.inflate(|piece| assert!(piece.len() <= STEP_BYTES))?;
            steps += usize::from(made > 0);
        }
        assert_eq!(steps, 10_000_000_usize.div_ceil(STEP_BYTES));
        Ok(())
    }

    #[test]
    fn what_is_not_deflate_ends_the_connection() {
        let mut theirs = Deflate::new(b"a1 NOOP\r\n\xff\xff\xff\xff".to_vec());
        assert!(inflated(&mut theirs).is_err());
    }

    #[test]
    fn a_stream_that_has_ended_ends_the_connection() -> Checked {
        let mut end = Compress::new(Compression::fast(), false);
        let mut wire = Vec::with_capacity(100);
        end.compress_vec(b"a1 NOOP\r\n", &mut wire, FlushCompress::Finish)?;
        let mut theirs = Deflate::new([wire, b"more".to_vec()].concat());
        let mut text = Vec::new();
        assert_eq!(theirs.inflate(|piece| text.extend_from_slice(piece))?, 9);
        assert_eq!(text, b"a1 NOOP\r\n");
        assert!(inflated(&mut theirs).is_err());
        Ok(())
    }
}
