//! How a migration goes, for who watches: a bar on a terminal, elsewhere a line for each table.

use std::io::{self, Write};

use crate::store::migrate::{Phase, Report};

/// How long it is, in characters.
const BAR_CHARS: u64 = 30;

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// One line that is written over.
    Bar,
    /// A line whenever a table begins.
    Lines,
}

/// What was shown so far.
pub(super) struct Progress<'a> {
    look: Look,
    out: &'a mut dyn Write,
    at: Option<(Phase, String)>,
    /// At which of a thousand parts the bar is, and with which table.
    drawn: Option<(Phase, u64, String)>,
    /// Rows and bytes of what was copied.
    copied: (u64, u64),
    /// What kept us from writing; a migration is not ended by it.
    broken: io::Result<()>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(look: Look, out: &'a mut dyn Write) -> Progress<'a> {
        Progress { look, out, at: None, drawn: None, copied: (0, 0), broken: Ok(()) }
    }

    pub(super) fn show(&mut self, report: &Report<'_>) {
        if report.phase == Phase::Copying {
            self.copied = (report.rows.0, report.bytes);
        }
        if self.broken.is_err() {
            return;
        }
        self.broken = match self.look {
            Look::Bar => self.bar(report),
            Look::Lines => self.line(report),
        };
    }

    /// Ends a bar's line.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.drawn.is_some() && self.broken.is_ok() {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    /// How much it was.
    pub(super) fn moved(&self) -> String {
        let (rows, bytes) = self.copied;
        format!("{rows} rows and {} of messages", amount(bytes))
    }

    fn line(&mut self, report: &Report<'_>) -> io::Result<()> {
        let at = (report.phase, report.table.to_owned());
        if self.at.as_ref() == Some(&at) {
            return Ok(());
        }
        self.at = Some(at);
        let (done, all) = report.rows;
        writeln!(self.out, "{}: {} ({done} of {all} rows)", verb(report.phase), report.table)
    }

    fn bar(&mut self, report: &Report<'_>) -> io::Result<()> {
        let (done, all) = report.rows;
        let part = |parts: u64| done.saturating_mul(parts).checked_div(all).unwrap_or(parts);
        let now = (report.phase, part(1000), report.table.to_owned());
        if self.drawn.as_ref() == Some(&now) {
            return Ok(());
        }
        self.drawn = Some(now);
        let (full, percent) = (part(BAR_CHARS), part(1000));
        let bar: String = (0..BAR_CHARS).map(|at| if at < full { '#' } else { '.' }).collect();
        let (verb, bytes) = (verb(report.phase), amount(report.bytes));
        let table = report.table;
        let percent = format!("{}.{} %", percent / 10, percent % 10);
        write!(self.out, "\r\x1b[K{verb} [{bar}] {percent:>7}  {table}, {bytes} of messages")?;
        self.out.flush()
    }
}

fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Copying => "copying",
        Phase::Verifying => "comparing",
    }
}

fn amount(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1024)),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes % (1 << 30)) * 10 / (1 << 30)),
    }
}
