//! LSUB: what the user wants to be shown. RFC 3501 §6.3.9

use super::Call;
use super::list_options::{self, PATTERN_BYTES_MAX};
use crate::imap::hierarchy::{self, Kind, Node, parents};
use crate::imap::names::DELIMITER;
use crate::imap::wire::pattern::Pattern;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal};
use crate::mail::fold;

/// LSUB. A `%` that stops above something subscribed tells of the parent, with \Noselect.
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let reference = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let start = call.arguments.clone();
    let pattern = list_options::pattern(&mut call.arguments)?;
    call.arguments.end()?;
    if pattern.len() + reference.len() > PATTERN_BYTES_MAX {
        return Err(start.expected("a pattern of at most 4096 bytes"));
    }
    let pattern = format!("{reference}{pattern}");
    let composed = fold::composed(&pattern).map(|pattern| Pattern::new(&pattern));
    let is_open = pattern.ends_with('%');
    let pattern = Pattern::new(&pattern);
    let is_meant =
        |name: &str| pattern.matches(name) || composed.as_ref().is_some_and(|p| p.matches(name));
    let nodes = hierarchy::nodes(call.context, call.session);
    let subscribed: Vec<&Node> = nodes.iter().filter(|node| node.subscribed).collect();
    let mut told: Vec<&str> = Vec::new();
    for node in &subscribed {
        if is_meant(&node.name) {
            let is_mailbox = matches!(&node.kind, Kind::Mailbox(named) if named.rights.has('r'));
            write_name(call, &node.name, if is_mailbox { "" } else { "\\Noselect" });
        } else if is_open {
            for parent in parents(&node.name).filter(|p| is_meant(p)) {
                if !told.contains(&parent) && !subscribed.iter().any(|s| s.name == parent) {
                    told.push(parent);
                    write_name(call, parent, "\\Noselect");
                }
            }
        }
        call.out.flush_if_full().await?;
    }
    Ok(Completion::ok("Listed"))
}

fn write_name(call: &mut Call<'_, '_>, name: &str, attributes: &str) {
    let name = call.session.spelled(name);
    call.out.line(format_args!("* LSUB ({attributes}) \"{DELIMITER}\" {name}"));
}
