//! What `[[domain]]` means, and who has which address.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use crate::directory::findings::Findings;
use crate::directory::name;
use crate::directory::written::{Domain as WrittenDomain, Text};
use crate::directory::{Directory, Domain, Routing};
use crate::mail::address::Address;
use crate::mail::id::Login;

/// Longest local part in bytes. RFC 5321 §4.5.3.1.1
const LOCAL_PART_BYTES_MAX: usize = 64;

/// Reads all domains; answers with their catch-alls, for when it is known who has which address.
pub(super) fn domains(
    found: &mut Findings,
    directory: &mut Directory,
    written: Vec<Spanned<WrittenDomain>>,
) -> Vec<(String, Text)> {
    if written.is_empty() {
        let remedy = "add [[domain]] with name = \"example.org\"";
        found.warn(0..0, "no domain is declared, so no mail is taken", remedy);
    }
    let mut catch_alls = Vec::new();
    for entry in written {
        let table = entry.span();
        let domain = entry.into_inner();
        let Some(text) = domain.name else {
            found.missing(table, "name", "write the domain: name = \"example.org\"");
            continue;
        };
        let name = text.get_ref().to_ascii_lowercase();
        if !name::is_domain(&name) {
            let remedy = "write a name like \"example.org\"";
            found.fault(text.span(), format!("{name:?} is not a domain"), remedy);
        } else if directory.domains.contains_key(&name) {
            found.fault(text.span(), format!("{name} is declared twice"), "keep one of the two");
        }
        let upstream = domain.upstream.map(|text| upstream(found, text));
        catch_alls.extend(domain.catch_all.map(|text| (name.clone(), text)));
        directory.domains.insert(name, Domain { upstream, catch_all: None });
    }
    catch_alls
}

fn upstream(found: &mut Findings, text: Text) -> String {
    let at = text.span();
    let server = text.into_inner();
    let rest = server.strip_prefix("smtp://");
    let host = rest.map(|rest| rest.rsplit_once(':').map_or((rest, "25"), |parts| parts));
    if !host.is_some_and(|(host, port)| name::is_domain(host) && port.parse::<u16>().is_ok()) {
        let message = format!("{server:?} is not a server to relay to");
        found.fault(at, message, "write upstream = \"smtp://host:25\"");
    }
    server
}

/// Reads a list of addresses, each of a declared domain.
pub(super) fn addresses(
    found: &mut Findings,
    directory: &Directory,
    written: &[Text],
) -> Vec<Address> {
    written.iter().filter_map(|text| address(found, directory, text)).collect()
}

fn address(found: &mut Findings, directory: &Directory, text: &Text) -> Option<Address> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let well_formed = |a: &Address| {
        a.local().len() <= LOCAL_PART_BYTES_MAX
            && a.local().chars().all(plain)
            && name::is_domain(a.domain())
    };
    let Some(address) = Address::parse(text.get_ref()).filter(well_formed) else {
        let message = format!("{:?} is not an address", text.get_ref());
        found.fault(text.span(), message, "write it plainly: \"support@example.org\"");
        return None;
    };
    if !directory.domains.contains_key(address.domain()) {
        let message = format!("the domain of {address} is not declared");
        let remedy = format!("add [[domain]] with name = {:?}", address.domain());
        found.fault(text.span(), message, &remedy);
        return None;
    }
    Some(address)
}

/// Who has an address.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// A user, as their own.
    User(Login),
    /// An inbox.
    Inbox(String),
    /// A channel, and whether it is meant to have a user's own address.
    Channel(String, Meant),
}

/// Whether a channel is meant to have a user's own address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// `personal = true`
    Yes,
    /// Nothing is said.
    Unsaid,
}

/// All addresses with their holders, in the order in which they were read.
#[derive(Default)]
pub(super) struct Taken(Vec<(Address, Holder, Range<usize>)>);

impl Taken {
    /// Notes that `holder` has `addresses`, written in `written`.
    pub(super) fn add(&mut self, holder: Holder, addresses: &[Address], written: &[Text]) {
        let place = |address: &Address| {
            let same = |text: &&Text| Address::parse(text.get_ref()).as_ref() == Some(address);
            written.iter().find(same).map_or(0..0, Spanned::span)
        };
        self.0.extend(addresses.iter().map(|a| (a.clone(), holder.clone(), place(a))));
    }

    /// Finds addresses that two have who cannot both have it.
    pub(super) fn judge(&self, found: &mut Findings) {
        let mut first: HashMap<String, Vec<&Holder>> = HashMap::new();
        for (address, holder, at) in &self.0 {
            let others = first.entry(address.key()).or_default();
            for other in others.iter() {
                clash(found, (address, at), (other, holder));
            }
            others.push(holder);
        }
    }
}

/// Users come before inboxes, those before channels: so `other` is never the later kind.
fn clash(
    found: &mut Findings,
    (address, at): (&Address, &Range<usize>),
    (other, holder): (&Holder, &Holder),
) {
    let at = at.clone();
    let (message, remedy) = match (other, holder) {
        (one, two) if one == two => {
            (format!("{address} stands there twice"), "write it once".into())
        }
        (Holder::User(user), Holder::Channel(_, Meant::Unsaid)) => {
            let message = format!("the channel uses a personal address: {address} is {user}'s own");
            let remedy = "its mail goes to both; say personal = true if that is meant";
            return found.warn(at, message, remedy);
        }
        (Holder::User(_), Holder::Channel(_, Meant::Yes)) => return,
        (Holder::User(user), Holder::Inbox(_)) => (
            format!("{address} is {user}'s own, and an inbox would show its mail to others"),
            "take it out of one of the two, or make a [[channel]] of it".into(),
        ),
        (Holder::User(user), _) => (
            format!("{address} is {user}'s own already"),
            String::from("give each address to one user"),
        ),
        (Holder::Inbox(name), _) => (
            format!("{address} belongs to the inbox {name:?} already"),
            String::from("give each address to one inbox or channel"),
        ),
        (Holder::Channel(name, _), _) => (
            format!("{address} belongs to the channel {name:?} already"),
            String::from("give each address to one inbox or channel"),
        ),
    };
    found.fault(at, message, &remedy);
}

/// Sets the catch-all of each domain, now that the addresses are known.
pub(super) fn catch_alls(
    found: &mut Findings,
    directory: &mut Directory,
    written: Vec<(String, Text)>,
) {
    for (domain, text) in written {
        let Some(address) = address(found, directory, &text) else { continue };
        if directory.accounts_of(&address).is_none() {
            let message = format!("nobody has {address}, so it cannot take what others have not");
            found.fault(text.span(), message, "name an address of an inbox, channel or user");
        }
        if let Some(domain) = directory.domains.get_mut(&domain) {
            domain.catch_all = Some(address);
        }
    }
}

/// Each domain takes mail for its postmaster. RFC 5321 §4.5.1
pub(super) fn postmasters(found: &mut Findings, directory: &Directory) {
    for domain in directory.domains.keys() {
        let postmaster = Address::new("postmaster", domain);
        if !matches!(directory.route(&postmaster), Routing::Local(_)) {
            let message = format!("nobody takes mail for {postmaster}");
            found.warn(0..0, message, "add the address to an inbox; RFC 5321 §4.5.1 asks for it");
        }
    }
}
