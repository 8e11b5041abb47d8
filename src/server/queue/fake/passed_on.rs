//! What a store that a test puts before another one leaves to that: everything but what it is there
//! for. Also used by tests/smtp_delivery.

/// Methods of `Store` that ask `self.inner`.
macro_rules! passed_on {
    () => {
        fn mailboxes(&self, account: &Account) -> Vec<Arc<Mailbox>> {
            self.inner.mailboxes(account)
        }

        fn usage(&self, account: &Account) -> Usage {
            self.inner.usage(account)
        }

        fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>> {
            self.inner.find(account, folder)
        }

        fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
            self.inner.mailbox(id)
        }

        fn status<'a>(
            &'a self,
            id: MailboxId,
            user: &'a Login,
            seen: SeenMode,
        ) -> Answer<'a, Status> {
            self.inner.status(id, user, seen)
        }

        fn snapshot(&self, id: MailboxId) -> Answer<'_, Arc<Snapshot>> {
            self.inner.snapshot(id)
        }

        fn overlay<'a>(&'a self, id: MailboxId, user: &'a Login) -> Answer<'a, Arc<Overlay>> {
            self.inner.overlay(id, user)
        }

        fn claim_recent(&self, id: MailboxId, user: &Login) -> Uid {
            self.inner.claim_recent(id, user)
        }

        fn expunged_since(&self, id: MailboxId, since: ModSeq) -> Answer<'_, UidSet> {
            self.inner.expunged_since(id, since)
        }

        fn facts<'a>(&'a self, blobs: &'a [BlobId], wanted: FactsWanted) -> Answer<'a, Vec<Facts>> {
            self.inner.facts(blobs, wanted)
        }

        fn trace(&self, id: TraceId) -> Answer<'_, Vec<u8>> {
            self.inner.trace(id)
        }

        fn body(&self, blob: BlobId, range: Range<u64>) -> Answer<'_, Vec<u8>> {
            self.inner.body(blob, range)
        }

        fn messages<'a>(
            &'a self,
            wanted: &'a [(BlobId, TraceId)],
        ) -> Answer<'a, Vec<Option<Vec<u8>>>> {
            self.inner.messages(wanted)
        }

        fn instances_of(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
            self.inner.instances_of(message_id)
        }

        fn referring_to(&self, message_id: &str) -> Answer<'_, Vec<Instance>> {
            self.inner.referring_to(message_id)
        }

        fn subscriptions(&self, user: &Login) -> Arc<Subscriptions> {
            self.inner.subscriptions(user)
        }

        fn turns(&self, account: &Account) -> Arc<Turns> {
            self.inner.turns(account)
        }

        fn metadata(&self, user: Option<&Login>) -> Arc<Metadata> {
            self.inner.metadata(user)
        }

        fn grants(&self) -> Arc<Vec<Grant>> {
            self.inner.grants()
        }

        fn watch(&self, id: MailboxId) -> watch::Receiver<ModSeq> {
            self.inner.watch(id)
        }

        fn watch_mailboxes(&self) -> watch::Receiver<u64> {
            self.inner.watch_mailboxes()
        }

        fn attach(&self, bell: &Arc<Bell>, mailboxes: &[MailboxId]) {
            self.inner.attach(bell, mailboxes);
        }

        fn queued(&self, id: QueueId) -> Option<Arc<Queued>> {
            self.inner.queued(id)
        }

        fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>> {
            self.inner.queued_from(first, max)
        }

        fn watch_queue(&self) -> watch::Receiver<QueueId> {
            self.inner.watch_queue()
        }

        fn audited(&self, first: EntryId, since: Timestamp, max: usize) -> Answer<'_, Vec<Record>> {
            self.inner.audited(first, since, max)
        }

        fn audit_tip(&self) -> Tip {
            self.inner.audit_tip()
        }

        fn trashed(&self, trash: MailboxId) -> Answer<'_, BTreeMap<Uid, EntryId>> {
            self.inner.trashed(trash)
        }

        fn absences(&self) -> Arc<Absences> {
            self.inner.absences()
        }

        fn openings(&self) -> Arc<Vec<Opening>> {
            self.inner.openings()
        }

        fn access_known(&self) -> Answer<'_, BTreeMap<Account, UsersRights>> {
            self.inner.access_known()
        }

        fn directory(&self) -> Option<Arc<Published>> {
            self.inner.directory()
        }

        fn tenure(&self, duty: Duty) -> Option<i64> {
            self.inner.tenure(duty)
        }

        fn watch_asks(&self) -> watch::Receiver<Asks> {
            self.inner.watch_asks()
        }

        fn now(&self) -> Timestamp {
            self.inner.now()
        }
    };
}
