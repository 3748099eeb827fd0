//! A whole system as a process that is not expected to become ready, where `process::Running` would wait for it.

use std::process::{Child, Command, Stdio};

use super::process::{Setup, binary, free_port};

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
}
