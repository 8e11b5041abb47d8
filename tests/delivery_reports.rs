//! Python's email package, which knows nothing of us, reads the reports in `tests/reports`.

use std::process::Command;

#[test]
fn an_independent_reader_finds_what_each_report_says() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reports/judge.py");
    let output = Command::new("python3").arg(script).output().expect("python3 is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
