//! NAMESPACE. RFC 2342 §5

use super::Call;
use crate::imap::names::{DELIMITER, OTHER_USERS, SHARED};
use crate::imap::{Completion, Refusal};

/// NAMESPACE: the same for everybody. `Private/` is a part of the personal namespace.
pub fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    call.arguments.end()?;
    call.out.line(format_args!(
        "* NAMESPACE ((\"\" \"{DELIMITER}\")) ((\"{OTHER_USERS}/\" \"{DELIMITER}\")) \
         ((\"{SHARED}/\" \"{DELIMITER}\"))"
    ));
    Ok(Completion::ok("Namespaces listed"))
}
