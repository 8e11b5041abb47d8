//! What a client believes about its selected mailbox: the only place where sequence numbers exist.

/// Placeholder until the message commands land.
pub struct View;
