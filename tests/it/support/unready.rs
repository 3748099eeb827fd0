//! A whole system as a process that is not expected to become ready, where `process::Running` would wait for it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{DEADLINE, Setup, binary, free_port};

/// Killed when it goes out of scope.
pub struct Unready {
    child: Child,
    pub address: String,
}

impl Drop for Unready {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unready {
    pub fn start(setup: &Setup) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(binary());
        command.arg("up").arg("--pipeline").arg(&setup.pipeline).arg("--data-dir").arg(&setup.data_dir);
        command.args(["--listen", &listen]).envs(setup.settings.iter().cloned());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, address: format!("http://{listen}") }
    }

    /// Status and body of `/readyz`, once it answers.
    pub async fn readiness(&self) -> (u16, Value) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Ok(answer) = reqwest::get(format!("{}/readyz", self.address)).await {
                return (answer.status().as_u16(), answer.json().await.unwrap());
            }
            assert!(Instant::now() < deadline, "nothing answers at {}", self.address);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
