//! LIST: the names that a user sees, with what is below them. RFC 3501 §6.3.8, RFC 5258, RFC 5819,
//! RFC 6154, RFC 8440, RFC 9590

use std::collections::HashSet;

use super::list_options::{self, Options};
use super::{Call, acl, metadata, status};
use crate::imap::hierarchy::{self, Kind, Node, parents};
use crate::imap::names::{DELIMITER, OTHER_USERS, PRIVATE, SHARED};
use crate::imap::output::Output;
use crate::imap::wire::pattern::Pattern;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Context, Refusal, Session, seen_mode, virtual_mailbox};
use crate::mail::fold;

/// LIST.
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let options = list_options::parse(call.context, &mut call.arguments)?;
    status::note_condstore(call, &options.return_status);
    if !options.extended && options.patterns.iter().all(String::is_empty) {
        tell_delimiter(call, &options.reference);
        return Ok(Completion::ok("Listed"));
    }
    let nodes = hierarchy::nodes(call.context, call.session);
    let asked = Asked::of(&options);
    let below = Below::of(&options, (&asked, &nodes));
    let attributes = Attributes::of(call.context, &options);
    for node in nodes.iter().filter(|node| asked.has(node)) {
        let child_info = options.recursive_match && below.selected.contains(node.name.as_str());
        let is_shown = is_selected(&options, node)
            // a parent that is not selected itself tells of children that are not shown
            || child_info && below.hidden.contains(node.name.as_str());
        if is_shown {
            let name = call.session.spelled(&node.name);
            let (attributes, child_info) = (attributes.of_node(node), told(&options, child_info));
            call.out.line(format_args!("* LIST ({attributes}) \"{DELIMITER}\" {name}{child_info}"));
            // RFC 5819 §2, RFC 8440 §4, RFC 9590 §4: not of one that is shown for its children only
            if is_selected(&options, node) {
                write_my_rights(call, &options, (&name, node));
                write_metadata(call, &options, node);
                write_status(call, &options, (&name, node)).await?;
            }
            call.out.flush_if_full().await?;
        }
    }
    Ok(Completion::ok("Listed"))
}

/// Names with something selected below them, for RECURSIVEMATCH. RFC 5258 §3.5
#[derive(Default)]
struct Below<'n> {
    /// All of them.
    selected: HashSet<&'n str>,
    /// Those of which at least one is not asked for itself.
    hidden: HashSet<&'n str>,
}

impl<'n> Below<'n> {
    fn of(options: &Options, (asked, nodes): (&Asked, &'n [Node])) -> Below<'n> {
        let mut below = Below::default();
        if !options.recursive_match {
            return below;
        }
        for node in nodes.iter().filter(|node| is_selected(options, node)) {
            below.selected.extend(parents(&node.name));
            if !asked.has(node) {
                below.hidden.extend(parents(&node.name));
            }
        }
        below
    }
}

/// An empty pattern asks for the delimiter and the root of the reference. RFC 3501 §6.3.8
fn tell_delimiter(call: &mut Call<'_, '_>, reference: &str) {
    let root = [PRIVATE, OTHER_USERS, SHARED].into_iter().find(|root| {
        reference.strip_prefix(root).is_some_and(|below| below.starts_with(DELIMITER))
    });
    let root = root.map_or_else(String::new, |root| format!("{root}{DELIMITER}"));
    call.out.line(format_args!("* LIST (\\Noselect) \"{DELIMITER}\" {}", utf7::quoted(&root)));
}

/// The patterns, with the reference before each; what is not composed is looked for in both forms,
/// as a name is. RFC 9051 §5.1
struct Asked(Vec<Pattern>);

impl Asked {
    fn of(options: &Options) -> Asked {
        let full = |p: &String| format!("{}{p}", options.reference);
        let full: Vec<String> =
            options.patterns.iter().filter(|p| !p.is_empty()).map(full).collect();
        let composed = full.iter().filter_map(|p| fold::composed(p));
        Asked(composed.chain(full.iter().cloned()).map(|p| Pattern::new(&p)).collect())
    }

    fn has(&self, node: &Node) -> bool {
        self.0.iter().any(|pattern| pattern.matches(&node.name))
    }
}

/// Whether the selection options let a name pass; without any, all that is there.
fn is_selected(options: &Options, node: &Node) -> bool {
    let subscribed = !options.select_subscribed || node.subscribed;
    let special = !options.select_special_use || !node.uses.is_empty();
    let is_there = options.select_subscribed || !matches!(node.kind, Kind::Gone);
    subscribed && special && is_there
}

/// What is told of children that are selected. RFC 5258 §3.5
fn told(options: &Options, child_info: bool) -> &'static str {
    match (child_info, options.select_subscribed, options.select_special_use) {
        (false, _, _) => "",
        (true, true, false) => " (\"CHILDINFO\" (\"SUBSCRIBED\"))",
        (true, false, _) => " (\"CHILDINFO\" (\"SPECIAL-USE\"))",
        (true, true, true) => " (\"CHILDINFO\" (\"SUBSCRIBED\" \"SPECIAL-USE\"))",
    }
}

/// A name that is told unasked, with what it was called before. RFC 5465 §5.4
pub(in crate::imap) fn write_unasked(
    (context, session): (&Context, &Session),
    node: &Node,
    old: Option<&str>,
    out: &mut Output<'_>,
) {
    let options = Options { extended: true, return_subscribed: true, ..Options::default() };
    let attributes = Attributes::of(context, &options).of_node(node);
    write_named(session, (&attributes.to_string(), &node.name), old, out);
}

/// A name, with another that it was called by, or is called by the client. RFC 9051 §6.3.9.7
pub(in crate::imap) fn write_named(
    session: &Session,
    (attributes, name): (&str, &str),
    old: Option<&str>,
    out: &mut Output<'_>,
) {
    let old = old.filter(|old| *old != name);
    let old = old.map(|old| format!(" (\"OLDNAME\" ({}))", session.spelled(old)));
    let (name, old) = (session.spelled(name), old.unwrap_or_default());
    out.line(format_args!("* LIST ({attributes}) \"{DELIMITER}\" {name}{old}"));
}

/// A name that is none any more. RFC 5465 §5.4
pub(in crate::imap) fn write_nonexistent(session: &Session, name: &str, out: &mut Output<'_>) {
    write_bare(session, ("\\NonExistent", name), out);
}

/// A mailbox that the user sees, and may not read. RFC 5465 §3.1
pub(in crate::imap) fn write_no_access(session: &Session, name: &str, out: &mut Output<'_>) {
    write_bare(session, ("\\NoAccess", name), out);
}

/// One that was told so before, and may be read now. RFC 5465 §5.9
pub(in crate::imap) fn write_plain(session: &Session, name: &str, out: &mut Output<'_>) {
    write_bare(session, ("", name), out);
}

fn write_bare(session: &Session, (attributes, name): (&str, &str), out: &mut Output<'_>) {
    write_named(session, (attributes, name), None, out);
}

/// Which attributes are told, of any name.
struct Attributes {
    non_existent: bool,
    children: bool,
    special_use: bool,
    subscribed: bool,
}

impl Attributes {
    fn of(context: &Context, options: &Options) -> Attributes {
        Attributes {
            non_existent: options.extended,
            children: context.capabilities.has("CHILDREN"),
            special_use: context.capabilities.has("SPECIAL-USE"),
            subscribed: options.select_subscribed || options.return_subscribed,
        }
    }

    fn of_node(&self, node: &Node) -> String {
        let mut attributes = Vec::new();
        match &node.kind {
            // RFC 5819 §2
            Kind::Mailbox(named) if !named.rights.has('r') => attributes.push("\\Noselect"),
            Kind::Mailbox(_) => (),
            Kind::Parent | Kind::Gone => {
                attributes.extend(self.non_existent.then_some("\\NonExistent"));
                attributes.push("\\Noselect");
            }
        }
        if self.children {
            attributes.push(if node.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        if self.special_use {
            attributes.extend(&node.uses);
        }
        if self.subscribed && node.subscribed {
            attributes.push("\\Subscribed");
        }
        attributes.join(" ")
    }
}

/// RFC 8440 §3: nothing is said about names that are no mailboxes.
fn write_my_rights(call: &mut Call<'_, '_>, options: &Options, (name, node): (&str, &Node)) {
    if let (Kind::Mailbox(named), true) = (&node.kind, options.return_my_rights) {
        acl::write_my_rights(call, name, named.rights);
    }
}

/// RFC 9590 §3: nothing is said about what cannot be looked up.
fn write_metadata(call: &mut Call<'_, '_>, options: &Options, node: &Node) {
    if let (Kind::Mailbox(named), false) = (&node.kind, options.return_metadata.is_empty()) {
        metadata::write_listed(call, named, &options.return_metadata);
    }
}

/// RFC 5819 §2: nothing is said about names that cannot be selected.
async fn write_status(
    call: &mut Call<'_, '_>,
    options: &Options,
    (name, node): (&str, &Node),
) -> Result<(), Refusal> {
    let Kind::Mailbox(named) = &node.kind else { return Ok(()) };
    if options.return_status.is_empty() || !named.rights.has('r') {
        return Ok(());
    }
    let seen = seen_mode(&call.session.directory, &named.mailbox.account);
    if virtual_mailbox::freshen(call.context, call.session, &named.mailbox).await.is_err() {
        return Ok(());
    }
    let status = call.context.store.status(named.mailbox.id, &call.session.user, seen).await;
    // a mailbox deleted at this moment has no counts
    let Ok(status) = status else { return Ok(()) };
    let counts = status::written(call.context, &options.return_status, (named.mailbox.id, &status));
    call.out.line(format_args!("* STATUS {name} ({counts})"));
    Ok(())
}
