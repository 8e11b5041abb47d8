//! Each behaviour of the contract, run on each engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Bench, START};
use crate::mail::id::Timestamp;
use crate::store::StoreError;
use crate::store::embedded::{self, Embedded, Options};
use crate::store::memory::Memory;
use crate::store::objects::rig::TestBucket;
use crate::store::postgres::Target;
use crate::store::postgres::tests::server::{self, Node};
use crate::sys::ManualClock;

pub(in crate::store) fn clock() -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp::from_seconds(START));
    clock
}

/// A folder that is removed when the test ends.
pub(in crate::store) struct Folder(PathBuf);

impl Folder {
    pub(in crate::store) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is opened when its lock is free. A process that another test starts meanwhile has it for a
/// moment, too: until it runs its own program.
pub(in crate::store) fn unlocked<T>(open: impl Fn() -> Result<T, StoreError>) -> T {
    for _ in 0..LOCKED_LOOKS {
        match open() {
            Err(StoreError::Unavailable(why)) if why.contains("would block") => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("opens"),
        }
    }
    panic!("somebody has it");
}

/// How often it is looked whether a lock is free.
const LOCKED_LOOKS: u32 = 400;

/// An embedded store and its writer's thread.
pub(in crate::store) struct Running {
    pub(in crate::store) store: Embedded,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    pub(in crate::store) fn open(path: &Path, clock: &Arc<ManualClock>) -> Running {
        Running::open_with(path, clock, Options { readers: 2, ..Options::default() })
    }

    pub(in crate::store) fn open_with(
        path: &Path,
        clock: &Arc<ManualClock>,
        options: Options,
    ) -> Running {
        let (store, writer) = unlocked(|| embedded::open(path, options, clock.clone()));
        Running { store, writer: std::thread::spawn(|| writer.run()) }
    }

    pub(in crate::store) fn close(self) -> Result<(), StoreError> {
        drop(self.store);
        self.writer.join().expect("the writer does not panic")
    }
}

macro_rules! contract {
    ($($module:ident: $($behaviour:ident)*;)*) => {
        mod memory {
            use super::*;
            $($(
                #[tokio::test]
                async fn $behaviour() {
                    let clock = clock();
                    let store = Arc::new(Memory::new(clock.clone()));
                    super::super::$module::$behaviour(&Bench { store, clock }).await;
                }
            )*)*
        }
        mod on_disk {
            use super::*;
            $($(
                #[tokio::test]
                async fn $behaviour() {
                    let (folder, clock) = (Folder::new(), clock());
                    let running = Running::open(folder.path(), &clock);
                    let bench = Bench { store: Arc::new(running.store.clone()), clock };
                    super::super::$module::$behaviour(&bench).await;
                    drop(bench);
                    assert_eq!(running.close(), Ok(()));
                }
            )*)*
        }
        mod on_postgres {
            use super::*;
            $($(
                #[tokio::test]
                async fn $behaviour() {
                    let (schema, clock) = (server::SHARED.schema().await, clock());
                    let config = server::SHARED.config(&schema);
                    let node = Node::start(&config, &clock, server::patient()).await;
                    let bench = Bench { store: Arc::new(node.store.clone()), clock };
                    super::super::$module::$behaviour(&bench).await;
                    node.stop().await;
                }
            )*)*
        }
        mod on_postgres_with_a_bucket {
            use super::*;
            $($(
                #[tokio::test]
                async fn $behaviour() {
                    let (schema, clock) = (server::SHARED.schema().await, clock());
                    let objects = Some(TestBucket::new().objects());
                    let target = Target::of(server::SHARED.config(&schema), None);
                    let target = target.with_objects(objects);
                    let node = Node::at(target, &clock, server::patient()).await;
                    let bench = Bench { store: Arc::new(node.store.clone()), clock };
                    super::super::$module::$behaviour(&bench).await;
                    node.stop().await;
                }
            )*)*
        }
    };
}

contract! {
    epochs:
        new_epochs_keep_messages_and_end_what_was_known
        a_mailbox_of_the_same_transaction_begins_anew_too;
    audit:
        what_is_done_in_an_inbox_is_told
        an_entry_names_each_conversation_once
        what_is_sent_is_told_once
        personal_mail_is_told_only_where_somebody_else_is_at_work
        who_is_given_what_is_told
        folders_that_users_make_and_remove_are_told
        a_note_says_who_did_it_and_when
        what_is_not_committed_is_not_told
        an_entry_names_a_thousand_messages_and_no_more
        a_trash_knows_by_which_entry_each_message_came
        who_is_away_is_known_and_told
        an_open_mailbox_is_known_watched_and_told
        the_log_is_read_in_pieces;
    contents:
        a_transaction_is_applied_whole_or_not_at_all
        a_later_change_sees_what_an_earlier_one_did
        what_must_be_there_is_or_nothing_happens
        what_is_not_marked_any_more_is_not_removed
        what_has_just_come_is_flagged_and_seen_in_the_same_step
        uids_ascend_and_are_never_used_twice
        an_entry_says_what_was_delivered
        equal_messages_are_stored_once
        a_duplicate_key_suppresses_a_second_instance_for_a_day
        a_key_that_is_kept_suppresses_for_its_time
        what_happens_once_in_a_time_happens_again_after_it
        facts_come_in_the_order_asked_for
        usage_is_what_all_mailboxes_of_an_account_hold
        a_body_is_read_by_ranges
        message_bytes_may_come_from_a_file
        traces_belong_to_the_instance
        a_message_belongs_where_it_was_told_to_from_the_start
        whole_messages_come_behind_their_traces
        what_was_expunged_can_be_asked_for
        copies_keep_flags_and_get_the_targets_keyword_numbers
        a_move_is_a_copy_and_an_expunge_in_one
        seen_goes_along_as_the_two_mailboxes_keep_it
        recent_is_what_no_session_of_the_user_was_told_of
        a_watch_fires_once_per_commit_and_touched_mailbox;
    flags:
        flags_are_added_removed_and_replaced
        what_does_not_change_keeps_its_modseq
        a_mailbox_knows_256_keywords_and_no_more
        seen_is_each_users_own
        an_append_can_be_seen_from_the_start
        expunge_clears_what_users_had_of_the_message
        unchanged_since_refuses_message_by_message
        unchanged_since_ignores_what_the_same_transaction_did;
    folders:
        mailboxes_are_listed_by_account_and_path
        a_recreated_mailbox_has_a_higher_uid_validity
        a_rename_keeps_what_is_inside
        an_emptied_mailbox_stays_and_its_messages_have_a_new_one
        an_account_has_a_limit_of_mailboxes_and_names_of_length
        subscriptions_are_each_users_own_and_outlive_the_mailbox
        grants_replace_each_other_and_are_watched
        turns_follow_one_another_and_of_two_who_take_the_same_one_is_told;
    metadata:
        notes_are_each_owners_own_and_follow_their_mailbox
        a_mailbox_can_be_made_with_a_note
        notes_have_limits
        notes_of_one_owner_have_room_for_so_many_bytes;
    lookup:
        instances_are_found_by_message_id_wherever_they_are
        messages_are_found_by_what_they_follow
        a_message_id_that_stands_everywhere_is_answered_with_the_newest;
    nodes:
        a_published_directory_replaces_the_last_and_is_watched
        a_published_directory_has_a_limit
        what_a_former_tenure_fences_is_refused
        what_was_looked_at_may_not_have_changed
        an_ask_is_seen_answered_and_forgotten
        asks_have_a_limit;
    queue:
        what_is_queued_can_be_read
        the_queue_is_listed_in_the_order_of_arrival
        recipients_come_further_each_by_itself
        a_message_leaves_the_queue_with_its_last_recipient
        what_is_gone_from_the_queue_is_skipped
        a_sent_copy_and_its_queue_entry_share_the_message
        a_repetition_is_neither_filed_nor_queued
        a_report_and_the_end_of_a_recipient_are_one
        a_queued_message_has_one_to_a_thousand_recipients
        a_long_reply_is_cut
        a_watch_of_the_queue_fires_when_something_is_queued;
}
