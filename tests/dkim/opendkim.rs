//! opendkim as the judge, in its test mode, with our keys in a file in place of the DNS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use postfach::outbound::dkim::SigningKey;

/// A folder with its configuration and the public keys; removed in the end.
pub(crate) struct Judge(PathBuf);

impl Judge {
    /// `None` where opendkim is not installed, which is said.
    pub(crate) fn new(name: &str, keys: &[SigningKey]) -> Option<Judge> {
        if Command::new("opendkim").arg("-V").output().is_err() {
            eprintln!("skipped: opendkim is not installed");
            return None;
        }
        let folder = format!("postfach-opendkim-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        let records: String = keys
            .iter()
            .map(|key| {
                let record = key.pair.record().expect("public");
                format!("{}._domainkey.{} {record}\n", key.selector, key.domain)
            })
            .collect();
        let dns = folder.join("dns");
        fs::write(&dns, records).expect("written");
        let config = format!(
            "Mode v\nTestDNSData file:{}\nAlwaysAddARHeader yes\nAuthservID judge\n",
            dns.display()
        );
        fs::write(folder.join("conf"), config).expect("written");
        Some(Judge(folder))
    }

    /// What it says about the first signature.
    pub(crate) fn verdict(&self, message: &[u8]) -> String {
        let path = self.0.join("message");
        fs::write(&path, message).expect("written");
        let mut command = Command::new("opendkim");
        command.arg("-x").arg(self.0.join("conf")).arg("-t").arg(&path);
        let output = command.output().expect("it runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
