//! Comparing words takes a while, and the threads that do it are few: others run in between. Knows
//! no runtime.

use std::future::poll_fn;
use std::task::Poll;

use crate::store::Facts;

/// So many bytes of text are compared before others run.
const BYTES: usize = 128 * 1024;

/// What was compared since others ran last.
#[derive(Default)]
pub(super) struct Breath {
    bytes: usize,
}

impl Breath {
    /// After a message with these texts was looked at: lets others run, if it is time.
    pub(super) async fn after(&mut self, facts: &Facts) {
        let texts = [&facts.header_text, &facts.body_text];
        self.bytes += texts.into_iter().flatten().map(String::len).sum::<usize>();
        if self.bytes < BYTES {
            return;
        }
        self.bytes = 0;
        let mut has_run = false;
        poll_fn(|context| {
            if std::mem::replace(&mut has_run, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_run_after_so_many_bytes() {
        let mut breath = Breath::default();
        let facts = Facts { body_text: Some("A".repeat(BYTES / 2)), ..Facts::default() };
        let is_ready = |breath: &mut Breath| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut after = std::pin::pin!(breath.after(&facts));
            after.as_mut().poll(&mut context).is_ready()
        };
        assert!(is_ready(&mut breath));
        assert!(!is_ready(&mut breath));
        assert!(is_ready(&mut breath), "counted anew");
    }
}
