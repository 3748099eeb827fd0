//! An authority of one test, and what it signed: certificates of a server at 127.0.0.1, of one elsewhere, of a client.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// PEM files in a scratch folder: `ca.pem`, and `.pem` and `.key` of `server`, `elsewhere` and `client`.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them all, for a month.
    pub fn new() -> Self {
        let made = Self(TempDir::new().unwrap());
        // No two have one name: a certificate of another authority is then of an unknown one, not badly signed.
        let subject = format!("/CN=authority-{:08x}", rand::random::<u32>());
        made.openssl(&format!("req -x509 -newkey rsa:2048 -nodes -days 30 -subj {subject} -keyout ca.key -out ca.pem"));
        made.sign("server", "subjectAltName=IP:127.0.0.1");
        made.sign("elsewhere", "subjectAltName=DNS:elsewhere.example");
        made.sign("client", "extendedKeyUsage=clientAuth");
        made
    }

    /// Where one of them is.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// What is in it.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn sign(&self, name: &str, extension: &str) {
        std::fs::write(self.path("extension"), extension).unwrap();
        self.openssl(&format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile extension -out {name}.pem"
        ));
    }

    fn openssl(&self, words: &str) {
        let folder: &Path = self.0.path();
        let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
        let output = output.expect("openssl is not on PATH: `make test` installs it");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
