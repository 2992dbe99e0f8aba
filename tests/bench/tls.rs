//! Certificates for the bench, and both ends of TLS: the client's and a bare server's.
//!
//! The client resumes no session, so that each of its handshakes is a full one.

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

use crate::exporter::TempDir;
use crate::openssl;

/// The web configuration for the exporter, and the settings of its client and of a bare server.
#[derive(Clone)]
pub(crate) struct Tls {
    web_config: PathBuf,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// For a binary that supports TLS in its configuration; otherwise its error message.
    pub(crate) fn of(binary: &Path, folder: &TempDir) -> Result<Result<Self, String>, String> {
        let authority = ["basicConstraints=critical,CA:TRUE"];
        let names = ["subjectAltName=DNS:localhost"];
        openssl::certificate(folder.path(), "ca", None, &authority)
            .and_then(|()| openssl::certificate(folder.path(), "server", Some("ca"), &names))
            .map_err(|error| format!("cannot make certificates: {error}"))?;
        let web_config = folder.path().join("web.yml");
        let text =
            "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n".to_owned();
        fs::write(&web_config, text)
            .map_err(|error| format!("cannot write `{}`: {error}", web_config.display()))?;
        let checked = Command::new(binary)
            .arg(flag(&web_config))
            .args(["--config.check", "--web.listen-address=127.0.0.1:0"])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start `{}`: {error}", binary.display()))?;
        if !checked.status.success() {
            let words = String::from_utf8_lossy(&checked.stderr).trim().to_owned();
            return Ok(Err(words));
        }
        let (client, server) = configurations(folder.path())?;
        Ok(Ok(Self {
            web_config,
            client,
            server,
        }))
    }

    /// The exporter's flag.
    pub(crate) fn flag(&self) -> String {
        flag(&self.web_config)
    }

    /// The settings of a client.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    /// The client's side of a handshake.
    pub(crate) fn shake_hands(
        &self,
        mut stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// The server's side.
    pub(crate) fn answer_hands(
        &self,
        mut stream: TcpStream,
    ) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let mut connection =
            ServerConnection::new(Arc::clone(&self.server)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

fn flag(web_config: &Path) -> String {
    format!("--web.config.file={}", web_config.display())
}

fn configurations(folder: &Path) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), String> {
    let certificate = |name: &str| {
        CertificateDer::from_pem_file(folder.join(name)).map_err(|error| cannot(&error))
    };
    let mut roots = RootCertStore::empty();
    roots
        .add(certificate("ca.pem")?)
        .map_err(|error| cannot(&error))?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"));
    let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(&error))?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate("server.pem")?],
            key.map_err(|error| cannot(&error))?,
        )
        .map_err(|error| cannot(&error))?;
    // As in the exporter: no session can be resumed.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((Arc::new(client), Arc::new(server)))
}

fn cannot(error: &dyn Display) -> String {
    format!("cannot set up TLS: {error}")
}
