//! Kafka, Redis and S3 of one test alone, which may kill them: other tests go on with the shared ones.

use std::fs;
use std::path::{Path, PathBuf};

use crate::services::Services;

/// A running set of services; ended when it goes out of scope.
pub struct OwnServices {
    folder: PathBuf,
    /// Where they are.
    pub services: Services,
}

impl OwnServices {
    /// Starts a set in a folder within that of the shared services, so that their end is the end of this one, too.
    /// `None` where there are no shared ones.
    pub async fn start() -> Option<Self> {
        let shared = Services::find()?;
        let folder = std::env::var("TWOFOLD_TEST_SERVICES").expect("it stands beside the addresses");
        let folder = Path::new(&folder).join(format!("own-{}", shared.name));
        fs::create_dir_all(&folder).unwrap();
        // From here on a panic ends what was started.
        let mut own = Self { folder, services: shared };
        own.run(&["up"]).await;
        let text = fs::read_to_string(own.folder.join("env")).unwrap();
        let find = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        own.services = Services::read(|name| find(name).map(str::to_owned));
        Some(own)
    }

    /// `services.sh COMMAND [NAME]` on this set: `restart kafka`, `kill s3`, `start s3`.
    pub async fn run(&self, command: &[&str]) {
        let output = tokio::process::Command::new(script()).args(command).arg(&self.folder).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "services.sh {command:?}: {said}");
    }

    /// Where Redis keeps its data.
    pub fn redis_folder(&self) -> PathBuf {
        self.folder.join("redis")
    }
}

impl Drop for OwnServices {
    fn drop(&mut self) {
        let ended = std::process::Command::new(script()).arg("down").arg(&self.folder).status();
        if ended.is_ok_and(|ended| ended.success()) && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("scripts/services.sh")
}
