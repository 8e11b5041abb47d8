//! Work that takes a processor for longer than others should wait for it: mailboxes of a hundred
//! thousand messages that change or are loaded as a whole. A thread of the runtime that does it
//! hands over what else it had to do, and the lock before what all readers see is not held
//! meanwhile: that is done on a copy. Both cost more than a small piece of work is worth.

use tokio::runtime::{Handle, RuntimeFlavor};

/// From so many messages on, or rows, work is done aside: some milliseconds.
pub(super) const MANY: usize = 2_000;
/// From so many on it is done on a copy of the state, which costs a node with many mailboxes some
/// milliseconds, too.
pub(super) const VERY_MANY: usize = 20_000;

/// Text that takes as long to be compressed as a row does.
pub(super) const TEXT_BYTES_MIN: usize = 512;

/// Does work about so many rows. Where there is but one thread, all wait in any case.
pub(super) fn aside<T>(rows: usize, work: impl FnOnce() -> T) -> T {
    let others = || Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match rows >= MANY && others().is_ok_and(|f| f == RuntimeFlavor::MultiThread) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}
