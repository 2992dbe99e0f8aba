//! The tests' certificates, made by `openssl`, a password hash, and clients that use them.

use std::process::Command;

use crate::harness::TempDir;
use crate::openssl;

/// A folder with a certificate authority, a server certificate for `localhost` and 127.0.0.1, and what a test adds.
pub struct Pki {
    dir: TempDir,
}

/// A hash of the password `secret` with cost 4, the lowest: tests need no strong hash.
pub const HASH: &str = "$2b$04$ZLCbat/BiFw6jsVyKvyjtuS83R5HV8HjPnvRIMCQN8xIs8JBhlQG2";

/// The extension of a client certificate.
pub const FOR_CLIENTS: &str = "extendedKeyUsage=clientAuth";

impl Pki {
    pub fn new() -> Self {
        let pki = Self {
            dir: TempDir::new(),
        };
        pki.make(
            "ca",
            None,
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign",
            ],
        );
        pki.issue(
            "server",
            &[
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "extendedKeyUsage=serverAuth",
            ],
        );
        pki
    }

    /// `NAME.pem` and `NAME.key`, signed by the authority.
    pub fn issue(&self, name: &str, extensions: &[&str]) {
        self.make(name, Some("ca"), extensions);
    }

    /// `NAME.pem` and `NAME.key`, signed by itself.
    pub fn self_signed(&self, name: &str, extensions: &[&str]) {
        self.make(name, None, extensions);
    }

    fn make(&self, name: &str, signer: Option<&str>, extensions: &[&str]) {
        openssl::certificate(self.dir.path(), name, signer, extensions).unwrap();
    }

    /// The path of a file in the folder.
    pub fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }

    /// Writes a file; its path.
    pub fn write(&self, file: &str, text: &str) -> String {
        self.dir.write(file, text).display().to_string()
    }

    /// Replaces a file atomically, as a certificate renewal does.
    pub fn replace(&self, file: &str, by: &str) {
        let draft = self.path("draft");
        std::fs::copy(self.path(by), &draft).unwrap();
        std::fs::rename(draft, self.path(file)).unwrap();
    }

    /// Writes the web configuration; the flag that names it.
    pub fn web(&self, text: &str) -> String {
        format!("--web.config.file={}", self.write("web.yml", text))
    }

    /// `curl` with this authority; the response, or why there was none.
    pub fn curl(&self, arguments: &[&str]) -> Curled {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--max-time",
                "60",
            ])
            .args([
                "--cacert",
                &self.path("ca.pem"),
                "--write-out",
                "\n%{http_code}",
            ])
            .args(arguments)
            .output()
            .expect("curl is needed: make test installs it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or(("", &text));
        Curled {
            code: code.parse().unwrap_or(0),
            body: body.to_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The result of `curl`.
#[derive(Debug)]
pub struct Curled {
    /// The status code; 0 without a response.
    pub code: u16,
    pub body: String,
    /// The error message of `curl`.
    pub error: String,
}

/// A TLS section with the server's certificate.
pub const SERVER: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
