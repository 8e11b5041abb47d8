//! Who a submitted message is from, by its own header, and whether its sender may say so.
//! RFC 6409 §6.1

use super::answer::Referred;
use super::named::named;
use super::{Submitter, not_yours};
use crate::delivery::Refused;
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::message::{Envelope, EnvelopeAddress, field_values};
use crate::smtp::Reply;

/// The fields that say who speaks. RFC 5322 §3.6.2, §3.6.6
const SPEAKERS: [&str; 4] = ["From", "Sender", "Resent-From", "Resent-Sender"];

/// The author's address (the first, where there are several) and the accounts as which the user
/// may send from it. Everybody who is named as speaking must be allowed.
pub(super) fn author(
    by: &Submitter<'_>,
    header: &[u8],
    envelope: &Envelope,
) -> Result<(Address, Vec<Account>), Refused> {
    let malformed = |text| Refused::Policy(Reply::new(550, "5.6.0", text));
    match field_values(header, &["From"]).len() {
        0 => return Err(malformed("The message has no From field; name your address in it")),
        1 => {}
        _ => return Err(malformed("The message has more than one From field")),
    }
    let authors = addresses(&envelope.from);
    let senders = addresses(&envelope.sender);
    let (Some(authors), Some(senders)) = (authors, senders) else {
        return Err(malformed("From or Sender holds something that is no address"));
    };
    let Some(author) = authors.first().cloned() else {
        return Err(malformed("The From field names no address"));
    };
    let speakers = field_values(header, &SPEAKERS);
    let named: Option<Vec<_>> = speakers.iter().map(|value| named(value)).collect();
    let Some(named) = named else {
        return Err(malformed("From or Sender can be read in more than one way"));
    };
    let may = |address: &Address| !by.directory.sends_as(by.user, address).is_empty();
    if !authors.iter().chain(&senders).chain(named.iter().flatten()).all(may) {
        return Err(Refused::Policy(not_yours(by.directory, by.user)));
    }
    let accounts = by.directory.sends_as(by.user, &author);
    Ok((author, accounts))
}

/// All addresses of a field; `None` when one of them is none. The marks of a group are passed over.
fn addresses(list: &[EnvelopeAddress]) -> Option<Vec<Address>> {
    list.iter().filter(|address| address.host.is_some()).map(EnvelopeAddress::address).collect()
}

/// In whose name it is filed. An address may be both a person's and a channel's: an answer belongs
/// where the mail it answers is, anything new to the person.
pub(super) fn account(accounts: &[Account], referred: &Referred) -> Account {
    let conversation = accounts.iter().find(|account| referred.is_in(account));
    let personal = accounts.iter().find(|account| matches!(account, Account::User(_)));
    let chosen = conversation.or(personal).or(accounts.first());
    chosen.expect("`author` refuses an address that belongs to no account").clone()
}
