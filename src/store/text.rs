//! What a search asks an engine about folded text, before it reads any, and what the engine says.
//! Knows no index.

/// Which text of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextPlace {
    /// The folded header fields.
    Header,
    /// The folded text of the body.
    Body,
}

/// Folded text that is looked for in one of a message's texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Needle {
    /// Where.
    pub place: TextPlace,
    /// What, folded as the stored text is; of `How::Like`, one word.
    pub text: String,
    /// How.
    pub how: How,
}

/// How a needle is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// As it is, wherever it begins and ends.
    Exactly,
    /// A word that is like it; see `mail::likeness`.
    Like,
}

/// What is known of a needle in a message without reading its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// Only the text can tell.
    Unknown,
}

/// Most needles of one question; an engine says nothing about those beyond.
pub const NEEDLES_MAX: usize = 16;

/// Whether an engine has an index of the folded text. What is found is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextIndexing {
    /// It is made in the background.
    On,
    /// There is none; one that was made before is removed.
    Off,
}
