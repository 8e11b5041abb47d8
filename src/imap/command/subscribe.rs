//! SUBSCRIBE and UNSUBSCRIBE: a user's own choice of what to be shown. What may be seen is
//! subscribed until the user says otherwise. RFC 3501 §6.3.6, §6.3.7

use super::Call;
use crate::imap::{Completion, Refusal, names};
use crate::store::change::Change;

/// SUBSCRIBE. The mailbox must exist, so that forbidden and absent ones are refused alike.
pub async fn subscribe(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let (_, mailbox) = call.find(&name)?;
    let user = call.session.user.clone();
    let (account, folder) = (mailbox.account.clone(), mailbox.folder.clone());
    call.commit(vec![Change::Subscribed { user, account, folder, subscribed: true }]).await?;
    Ok(Completion::ok("Subscribed"))
}

/// UNSUBSCRIBE. The choice survives; a mailbox that has been deleted can still be unsubscribed.
pub async fn unsubscribe(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let target = names::resolve(call.context, call.session, &name);
    let target = target.ok_or_else(Refusal::no_such_mailbox)?;
    let user = call.session.user.clone();
    let (account, folder) = (target.account, target.folder);
    let choice = (account.clone(), folder.clone());
    let is_chosen = call.context.store.subscriptions(&user).get(&choice) == Some(&true);
    if target.mailbox.is_none() && !is_chosen {
        return Err(Refusal::no_such_mailbox());
    }
    call.commit(vec![Change::Subscribed { user, account, folder, subscribed: false }]).await?;
    Ok(Completion::ok("Unsubscribed"))
}
