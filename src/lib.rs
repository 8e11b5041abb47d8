//! Postfach: a mail daemon for teams. This page is the map of the code.
//!
//! # One way for a message
//!
//! ```text
//! socket ─ server/smtp ─ smtp::Session ─ Step::Deliver ─► delivery::deliver
//!                                         directory.route → conversation::placing → store.commit
//!         250 ◄────────────────────────────────────────────┘ │ durable, group commit
//!                                                  watermark: mailbox M is at ModSeq n
//! socket ◄ imap/output ◄ view.advance(snapshot) ◄ server/imap wakes
//!
//! submission ─ smtp::Session ─ delivery::submission: plan (sender, identity, header) ─ dkim::sign
//!         ─► submit: guard, Sent copy, \Answered, assignment, queue entry in one store.commit
//! server/queue ─ outbound: agenda → routes → next_hop ─ server/relay ─ smtp::client ─► others
//!         fates ─ schedule::judge → recipients and reports, one store.commit
//!
//! several nodes: store.commit ─ the head row's lock ─ log of all nodes' groups ─► store::apply on
//!         each node's state ◄ follower; server/duty: what one node does at a time, by a lease
//! ```
//!
//! # Layers
//!
//! | folder | layer | what it is |
//! |---|---|---|
//! | `mail/` | 0 | words: identifiers, address, flag, account, folder, UID set, message |
//! | `sys/` | 0 | the world as a parameter: clock, entropy; what the log has said lately |
//! | `directory/` | 1 | users, teams, inboxes; `rights()`, the one door for access; `view()` |
//! | `store/` | 1 | trait Store; `Change`, the only way anything changes; snapshots; the engines |
//! | `conversation/` | 2 | what belongs together, who has it; proposes changes |
//! | `smtp/`, `imap/`, `sasl/` | 2 | the protocols, without sockets or timers |
//! | `delivery/` | 3 | from an accepted or submitted message to one store transaction |
//! | `outbound/` | 3 | from a queued message to other servers: schedule, next hop, reports, DKIM |
//! | `config/`, `admin/`, `server/` | 4 | config file, the CLI's verbs, the only sockets |
//!
//! Edges: mail → nothing. sys → mail. directory, store → mail, sys. sasl → mail. smtp → mail, sasl.
//! conversation → mail, sys, and the traits and types of store and directory. imap → the same, sasl
//! and conversation. delivery, outbound → everything below them; delivery → outbound.
//! server, admin, config → everything. Nothing → server. `smtp` never sees `store`. A test enforces
//! this.
//!
//! # Invariants
//!
//! 1. 250 and OK leave after the change is durable.
//! 2. Mailboxes change only by a `Change`, each with its actor.
//! 3. Access is decided in `directory::rights` only.
//! 4. Sequence numbers live in `imap/view.rs` only.
//! 5. EXPUNGE goes out only where the command table allows.
//! 6. No peer input can panic or allocate without a limit.
//! 7. Secrets have no Debug.
//! 8. Config faults are found at start.
//! 9. A message is stored once. What differs between recipients (Return-Path, Delivered-To,
//!    Received) is the instance's trace, put before the stored bytes when they are read.
//! 10. An idle session costs no CPU and a few KiB; a compressed one some 25.
//!
//! # Where this differs from the first design, and why
//!
//! - imap-codec is the judge in tests only. It decodes about half of what we accept, its errors
//!   have no position, it refuses the trailing space that phones send, and it buffers whole
//!   APPENDs: two parsers with two error styles would be the price of calling it for the other
//!   half.
//! - smtp sees sasl: AUTH is part of a session, and both are pure.
//! - Who submits waits for a plan and then a commit, because the header is signed in between.
//! - conversation stands below imap, not beside delivery: MOVE assigns and closes.
//! - delivery sees outbound: a report of success is made in the transaction that delivers.
//! - The text index is of words, not trigrams: a word is found without reading texts. On PostgreSQL
//!   each node has one of its own, in its data_dir.
//! - Both engines share `store/apply`, which decides on the state in memory; an engine loads and
//!   persists rows. So the logic is written once, not only the SQL. On PostgreSQL each node has
//!   that state, and follows a log that puts all nodes' groups in one order: nodes are more than
//!   caches.
//! - store/postgres and store/objects are clients of sockets, with timers: a store may be
//!   elsewhere. Their tasks are spawned by server/.

pub mod admin;
pub mod config;
pub mod conversation;
pub mod delivery;
pub mod directory;
pub mod imap;
pub mod mail;
pub mod outbound;
pub mod sasl;
pub mod server;
pub mod smtp;
pub mod store;
pub mod sys;
