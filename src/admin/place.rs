//! For tests: a folder with a config, for a store of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that is removed when the test ends.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(name: &str) -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-admin-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        let config = "hostname = \"mail.example.org\"\ndata_dir = \"data\"\n";
        fs::write(path.join("postfach.toml"), config).expect("written");
        Place(path)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("postfach.toml")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
