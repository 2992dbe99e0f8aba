//! Builds the TLS acceptor from the settings.
//!
//! Must not know HTTP, nor how bytes are moved.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::http::ClientStream;
use crate::http::tls::TlsAcceptor;
use crate::toolkit::config::fault::Fault;
use crate::toolkit::config::settings::{Pem, TlsSettings};
use crate::toolkit::tls::certificate::Certificate;
use crate::toolkit::tls::client;
use crate::toolkit::tls::names;
use crate::toolkit::tls::pem::{certificates, private_key};
use crate::toolkit::tls::settings_error::SettingsError;
use crate::toolkit::tls::transport::TlsTransport;

impl TlsAcceptor for ServerConfig {
    fn accept(
        self: Arc<Self>,
        socket: Arc<TcpStream>,
        until: Instant,
    ) -> io::Result<Box<dyn ClientStream>> {
        let accepted = TlsTransport::accept(self, socket, until).map_err(io::Error::other)?;
        Ok(Box::new(accepted))
    }
}

/// The acceptor for these settings, and warnings about settings that were ignored.
pub(crate) fn acceptor(settings: &TlsSettings) -> Result<(Arc<ServerConfig>, Vec<String>), Fault> {
    let mut warnings = Vec::new();
    let provider = Arc::new(names::provider(settings, &mut warnings)?);
    let key = certified_key(&settings.cert, &settings.key, &provider);
    let key = key.map_err(|error| Fault::from(error).in_pair())?;
    let verifier = client::verifier(settings, &provider, &mut warnings)?;
    let versions = names::versions(settings, &mut warnings);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|_| SettingsError::NoCipherSuite)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = settings.prefer_server_cipher_suites;
    // Sessions are not resumed. The decision about a client's certificate must not outlive its handshake or a replaced
    // configuration, and any client could fill memory with sessions. Handshakes are rare, because Prometheus keeps its
    // connections.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((Arc::new(config), warnings))
}

/// The server's certificate chain with its key, which must match the first certificate.
fn certified_key(
    cert: &Pem,
    key: &Pem,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, SettingsError> {
    let chain = certificates(cert)?;
    let signing = provider.key_provider.load_private_key(private_key(key)?);
    let signing = signing.map_err(|_| SettingsError::UnsupportedKey(key.place.clone()))?;
    // Rustls cannot do this check for version 1 certificates, although it serves them. OpenSSL makes such certificates
    // if it is given no extensions.
    let first = chain.first().and_then(|der| Certificate::read(der));
    let first = first.ok_or_else(|| SettingsError::UnreadableCertificate(cert.place.clone()))?;
    if signing
        .public_key()
        .is_some_and(|public| !first.has_key(&public))
    {
        return Err(SettingsError::OtherKey {
            key: key.place.clone(),
            cert: cert.place.clone(),
        });
    }
    Ok(CertifiedKey::new(chain, signing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolkit::config::settings::ClientAuth;
    use crate::toolkit::tls::tests::{file, meet, pem, plain_client, settings};

    fn pair(cert: &str, key: &str) -> Result<Arc<ServerConfig>, Fault> {
        let settings = TlsSettings {
            cert: pem("cert", file(cert)),
            key: pem("key_file \"/x/server.key\"", file(key)),
            ..settings()
        };
        acceptor(&settings).map(|(acceptor, warnings)| {
            assert_eq!(warnings, Vec::<String>::new());
            acceptor
        })
    }

    #[test]
    fn keys_are_accepted_in_every_format() {
        for (cert, key) in [
            ("server.pem", "server.key"),
            ("server.pem", "server.sec1.key"),
            ("rsa.pem", "rsa.key"),
            ("rsa.pem", "rsa.pkcs1.key"),
            ("ed25519.pem", "ed25519.key"),
            // Version 1, which has no extensions.
            ("v1.pem", "server.key"),
        ] {
            let acceptor =
                pair(cert, key).unwrap_or_else(|fault| panic!("{cert} {key}: {fault:?}"));
            let refusal = meet(acceptor, plain_client()).refusal;
            assert!(refusal.is_none(), "{cert} {key}: {refusal:?}");
        }
    }

    #[test]
    fn other_content_of_the_files_is_skipped() {
        let cert = [
            b"some text\n".to_vec(),
            file("server.key"),
            file("server.pem"),
            file("ca.pem"),
        ];
        let key = [
            file("parameters.pem"),
            file("server.pem"),
            file("server.sec1.key"),
        ];
        let settings = TlsSettings {
            cert: pem("cert", cert.concat()),
            key: pem("key", key.concat()),
            ..settings()
        };
        let (acceptor, _) = acceptor(&settings).unwrap();
        let refusal = meet(acceptor, plain_client()).refusal;
        assert!(refusal.is_none(), "{refusal:?}");
    }

    #[test]
    fn a_fault_in_a_certificate_or_a_key_is_reported_with_its_place() {
        let damaged = String::from_utf8(file("server.key"))
            .unwrap()
            .replace('M', "!");
        let key = |bytes: &[u8]| {
            let settings = TlsSettings {
                key: pem("key", bytes.to_vec()),
                ..settings()
            };
            acceptor(&settings).unwrap_err().text
        };
        assert_eq!(
            key(b""),
            "tls_server_config.key: it contains no private key"
        );
        assert_eq!(
            key(&file("server.pem")),
            "tls_server_config.key: it contains no private key"
        );
        assert_eq!(
            key(damaged.as_bytes()),
            "tls_server_config.key: damaged PEM"
        );
        let place = "tls_server_config.key_file \"/x/server.key\": ";
        let encrypted = format!("{place}encrypted private keys are not supported");
        let other =
            "this private key does not match the first certificate of tls_server_config.cert";
        for (cert, file, expected) in [
            ("rsa.pem", "rsa.encrypted.key", encrypted.clone()),
            ("server.pem", "server.encrypted.key", encrypted),
            ("server.pem", "client.key", format!("{place}{other}")),
            ("server.pem", "rsa.key", format!("{place}{other}")),
            ("v1.pem", "client.key", format!("{place}{other}")),
            (
                "server.key",
                "server.key",
                "tls_server_config.cert: it contains no certificate".into(),
            ),
        ] {
            let error = pair(cert, file).unwrap_err().text;
            assert_eq!(error, expected, "{cert} {file}");
        }
        let unsupported = "unsupported private key, want RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519";
        assert_eq!(
            pair("server.pem", "p521.key").unwrap_err().text,
            format!("{place}{unsupported}")
        );
    }

    #[test]
    fn the_first_fault_is_reported_in_the_order_certificate_key_pair_authorities() {
        let bad = |cert: &str, key: &str| TlsSettings {
            cert: pem("cert", file(cert)),
            key: pem("key", file(key)),
            client_ca: Some(pem("client_ca", Vec::new())),
            client_auth: ClientAuth::RequireAny,
            ..settings()
        };
        for (cert, key, field) in [
            ("parameters.pem", "parameters.pem", "cert"),
            ("server.pem", "parameters.pem", "key"),
            ("server.pem", "client.key", "key"),
            ("server.pem", "server.key", "client_ca"),
        ] {
            let error = acceptor(&bad(cert, key)).unwrap_err().text;
            assert!(
                error.starts_with(&format!("tls_server_config.{field}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn only_http_1_1_is_negotiated_and_no_session_is_resumed() {
        let (acceptor, _) = acceptor(&settings()).unwrap();
        let mut client = plain_client();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let resumption = rustls::client::Resumption::in_memory_sessions(8);
        client.resumption =
            resumption.tls12_resumption(rustls::client::Tls12Resumption::SessionIdOrTickets);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let mut one = crate::toolkit::tls::tests::client(
                "",
                &[version],
                rustls::crypto::ring::default_provider(),
            );
            one.resumption = client.resumption.clone();
            for _ in 0..2 {
                let (socket, accepted) = crate::toolkit::tls::tests::sockets();
                let acceptor = acceptor.clone();
                let server = std::thread::spawn(move || {
                    TlsTransport::accept(
                        acceptor,
                        accepted,
                        Instant::now() + crate::toolkit::tls::tests::LONG,
                    )
                });
                let mut stream = crate::toolkit::tls::tests::connect(one.clone(), socket);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock).unwrap();
                }
                assert_eq!(
                    stream.conn.handshake_kind(),
                    Some(rustls::HandshakeKind::Full)
                );
                assert!(server.join().unwrap().is_ok());
            }
        }
        let refusal = meet(acceptor.clone(), client.clone()).refusal;
        assert!(refusal.is_none(), "{refusal:?}");
        client.alpn_protocols = vec![b"h2".to_vec()];
        assert_eq!(
            meet(acceptor, client).refusal.unwrap().to_string(),
            "peer doesn't support any known protocol"
        );
    }
}
