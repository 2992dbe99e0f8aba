//! TLS: from settings to connections.
//!
//! Owns the crate `rustls`. Must not know HTTP or YAML. Without the cargo feature `tls` only `off` is built, which
//! refuses every setting.

#[cfg(feature = "tls")]
mod acceptor;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod names;
#[cfg(not(feature = "tls"))]
mod off;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod reasons;
#[cfg(feature = "tls")]
mod settings_error;
#[cfg(feature = "tls")]
mod transport;

#[cfg(feature = "tls")]
pub(crate) use self::acceptor::acceptor;
#[cfg(not(feature = "tls"))]
pub(crate) use self::off::acceptor;

// For the tests of the front end.
#[cfg(feature = "tls")]
#[cfg(test)]
pub(crate) use self::tests::file as test_file;

// Shared by the tests of this folder: certificates, and rustls as the client.
#[cfg(feature = "tls")]
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig,
        SignatureScheme, StreamOwned, SupportedProtocolVersion,
    };

    use super::acceptor;
    use super::reasons::HandshakeError;
    use super::transport::TlsTransport;
    use crate::http::ClientStream as _;
    use crate::openssl;
    use crate::toolkit::config::settings::{ClientAuth, Pem, TlsSettings, TlsVersion};

    /// Longer than anything takes that does not hang.
    pub(super) const LONG: Duration = Duration::from_secs(60);

    /// The certificates, with openssl's extensions for each. A name after the colon is the signer's.
    const CERTIFICATES: [(&str, &[&str]); 28] = [
        (
            "ca",
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign",
            ],
        ),
        ("other", &["basicConstraints=critical,CA:TRUE"]),
        ("server:ca", &["subjectAltName=DNS:localhost"]),
        (
            "client:ca",
            &[
                "basicConstraints=CA:FALSE",
                "extendedKeyUsage=clientAuth",
                "subjectAltName=DNS:client.example,IP:192.0.2.7,IP:2001:db8::7,email:a@example.org,\
                 URI:spiffe://example/one,RID:1.2.3.4,otherName:1.2.3;UTF8:x,dirName:dn",
            ],
        ),
        ("nameless:ca", &["basicConstraints=CA:FALSE"]),
        (
            "for-servers:ca",
            &["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"],
        ),
        (
            "unknown:other",
            &[
                "basicConstraints=CA:FALSE",
                "subjectAltName=DNS:client.example",
            ],
        ),
        ("middle:ca", &["basicConstraints=critical,CA:TRUE"]),
        ("below:middle", &["basicConstraints=CA:FALSE"]),
        (
            "self",
            &[
                "basicConstraints=critical,CA:TRUE",
                "subjectAltName=DNS:test3",
            ],
        ),
        (
            "self-for-servers",
            &["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth"],
        ),
        (
            "self-any",
            &[
                "basicConstraints=CA:FALSE",
                "extendedKeyUsage=anyExtendedKeyUsage",
            ],
        ),
        (
            "self-critical",
            &["basicConstraints=CA:FALSE", "1.2.3.4=critical,ASN1:NULL"],
        ),
        // Signed by a certificate that may not sign.
        (
            "forged:self-any",
            &[
                "basicConstraints=CA:FALSE",
                "subjectAltName=DNS:client.example",
            ],
        ),
        // Authorities with a path length, and certificates at that many levels below them.
        ("ca-0", &["basicConstraints=critical,CA:TRUE,pathlen:0"]),
        ("leaf-0-0:ca-0", &["basicConstraints=CA:FALSE"]),
        ("middle-0-1:ca-0", &["basicConstraints=critical,CA:TRUE"]),
        ("leaf-0-1:middle-0-1", &["basicConstraints=CA:FALSE"]),
        ("ca-1", &["basicConstraints=critical,CA:TRUE,pathlen:1"]),
        ("leaf-1-0:ca-1", &["basicConstraints=CA:FALSE"]),
        ("middle-1-1:ca-1", &["basicConstraints=critical,CA:TRUE"]),
        ("leaf-1-1:middle-1-1", &["basicConstraints=CA:FALSE"]),
        (
            "middle-1-2:middle-1-1",
            &["basicConstraints=critical,CA:TRUE"],
        ),
        ("leaf-1-2:middle-1-2", &["basicConstraints=CA:FALSE"]),
        (
            "ca-for-servers",
            &[
                "basicConstraints=critical,CA:TRUE",
                "extendedKeyUsage=serverAuth",
            ],
        ),
        (
            "below-for-servers:ca-for-servers",
            &["basicConstraints=CA:FALSE"],
        ),
        (
            "ca-for-clients",
            &[
                "basicConstraints=critical,CA:TRUE",
                "extendedKeyUsage=clientAuth",
            ],
        ),
        (
            "below-for-clients:ca-for-clients",
            &["basicConstraints=CA:FALSE"],
        ),
    ];

    /// More openssl commands: files in other formats, of other kinds, and with faults.
    const COMMANDS: [&str; 15] = [
        "req -x509 -config openssl.cnf -nodes -days 30 -newkey rsa:2048 -keyout rsa.key -out rsa.pem -subj /CN=rsa",
        "rsa -in rsa.key -traditional -out rsa.pkcs1.key",
        "ec -in server.key -out server.sec1.key",
        "rsa -in rsa.key -traditional -aes128 -passout pass:geheim -out rsa.encrypted.key",
        "pkcs8 -topk8 -in server.key -passout pass:geheim -out server.encrypted.key",
        "ecparam -name prime256v1 -out parameters.pem",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.key",
        "genpkey -algorithm ed25519 -out ed25519.key",
        "req -x509 -config openssl.cnf -days 30 -key ed25519.key -out ed25519.pem -subj /CN=ed25519",
        "req -new -config openssl.cnf -key server.key -out v1.csr -subj /CN=v1",
        "x509 -req -in v1.csr -CA ca.pem -CAkey ca.key -days 30 -out v1.pem",
        "ec -in server.key -out v1.key",
        "req -x509 -config openssl.cnf -days 30 -key p521.key -out ca-p521.pem -subj /CN=p521 \
         -addext basicConstraints=CA:TRUE",
        "req -x509 -config openssl.cnf -days 30 -key server.key -out below-p521.pem -subj /CN=below \
         -addext basicConstraints=CA:FALSE -CA ca-p521.pem -CAkey p521.key",
        "ec -in server.key -out below-p521.key",
    ];

    /// The files that openssl has made so far. Files are made on demand: most tests need two or three.
    struct Files(BTreeMap<String, Vec<u8>>);

    impl Files {
        fn get(&mut self, name: &str) -> Vec<u8> {
            if !self.0.contains_key(name) {
                self.make(name);
            }
            self.0[name].clone()
        }

        /// Makes a file, and first the files that it depends on.
        fn make(&mut self, file: &str) {
            let certificate = CERTIFICATES.iter().find_map(|(names, extensions)| {
                let (name, signer) = names
                    .split_once(':')
                    .map_or((*names, None), |(name, signer)| (name, Some(signer)));
                let (own, _) = file.rsplit_once('.')?;
                (own == name).then_some((name, signer, extensions))
            });
            if let Some((name, signer, extensions)) = certificate {
                let signers =
                    signer.map(|signer| ["pem", "key"].map(|kind| format!("{signer}.{kind}")));
                let made = ["pem", "key"].map(|kind| format!("{name}.{kind}"));
                self.run(signers.iter().flatten(), made.iter(), |folder| {
                    openssl::certificate(folder, name, signer, extensions).unwrap();
                });
                return;
            }
            let words = COMMANDS
                .iter()
                .map(|command| command.split(' ').collect::<Vec<_>>());
            let files = |words: &[&str], options: &[&str]| -> Vec<String> {
                let pairs = words.windows(2).filter(|pair| options.contains(&pair[0]));
                pairs.map(|pair| pair[1].to_owned()).collect()
            };
            let (words, made) = words
                .map(|words| {
                    let made = files(&words, &["-out", "-keyout"]);
                    (words, made)
                })
                .find(|(_, made)| made.iter().any(|made| made == file))
                .unwrap_or_else(|| panic!("nothing makes {file}"));
            let needed = files(&words, &["-in", "-key", "-CA", "-CAkey"]);
            self.run(needed.iter(), made.iter(), |folder| {
                openssl::run(folder, &words).unwrap();
            });
        }

        /// Runs openssl in a folder with the files that it needs, and keeps those that it makes.
        fn run<'a>(
            &mut self,
            needed: impl Iterator<Item = &'a String>,
            made: impl Iterator<Item = &'a String>,
            openssl: impl FnOnce(&Path),
        ) {
            let needed: Vec<_> = needed.map(|name| (name, self.get(name))).collect();
            let folder = std::env::temp_dir().join(format!("tls-tests-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in needed {
                fs::write(folder.join(name), bytes).unwrap();
            }
            openssl(&folder);
            for name in made {
                let bytes = fs::read(folder.join(name)).unwrap();
                self.0.insert(name.clone(), bytes);
            }
            fs::remove_dir_all(&folder).unwrap();
        }
    }

    /// A file made by openssl, the same in all tests of this process.
    pub(crate) fn file(name: &str) -> Vec<u8> {
        static FILES: Mutex<Files> = Mutex::new(Files(BTreeMap::new()));
        FILES.lock().unwrap().get(name)
    }

    pub(super) fn pem(place: &str, bytes: Vec<u8>) -> Pem {
        Pem {
            place: format!("tls_server_config.{place}"),
            bytes,
        }
    }

    /// A server without special settings.
    pub(super) fn settings() -> TlsSettings {
        TlsSettings {
            cert: pem("cert", file("server.pem")),
            key: pem("key", file("server.key")),
            client_ca: None,
            client_auth: ClientAuth::None,
            client_allowed_sans: None,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            cipher_suites: None,
            curve_preferences: None,
            prefer_server_cipher_suites: true,
        }
    }

    /// Trusts any server: the tests check how the server treats the client.
    #[derive(Debug)]
    struct Trusting(Arc<CryptoProvider>);

    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    /// A client that sends the chain `NAME.pem`, `NEXT.pem` … for the text `NAME NEXT …`, or no certificate.
    pub(super) fn client(
        shown: &str,
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
    ) -> ClientConfig {
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(Arc::clone(&provider))));
        let mut names = shown.split_whitespace().peekable();
        let Some(first) = names.peek().copied() else {
            return builder.with_no_client_auth();
        };
        let chain = names
            .map(|name| CertificateDer::from_pem_slice(&file(&format!("{name}.pem"))).unwrap())
            .collect();
        let key = PrivateKeyDer::from_pem_slice(&file(&format!("{first}.key"))).unwrap();
        let key = provider.key_provider.load_private_key(key).unwrap();
        // Not `with_client_auth_cert`: it refuses certificates that the server should see here.
        let shown = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        builder.with_client_cert_resolver(Arc::new(shown))
    }

    pub(super) fn plain_client() -> ClientConfig {
        client("", rustls::ALL_VERSIONS, ring::default_provider())
    }

    /// Both ends of a connection.
    pub(super) fn sockets() -> (TcpStream, Arc<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        client.set_read_timeout(Some(LONG)).unwrap();
        (client, Arc::new(server))
    }

    /// Runs on a stack as small as that of the front end's threads: a handshake must fit there.
    pub(super) fn on_small_stack<T: Send + 'static>(
        run: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(run)
            .unwrap()
    }

    pub(super) fn connect(
        client: ClientConfig,
        socket: TcpStream,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let name = "localhost".try_into().unwrap();
        StreamOwned::new(
            ClientConnection::new(Arc::new(client), name).unwrap(),
            socket,
        )
    }

    /// The result of a handshake: why the server rejected the client, what was agreed, and the client's error.
    pub(super) struct Met {
        pub(super) refusal: Option<HandshakeError>,
        /// Version, cipher suite and key exchange group.
        pub(super) agreed: String,
        pub(super) client_error: String,
    }

    /// Runs a handshake, and sends a word each way.
    pub(super) fn meet(config: Arc<ServerConfig>, client: ClientConfig) -> Met {
        let (socket, accepted) = sockets();
        let server = on_small_stack(move || -> Result<(), HandshakeError> {
            let mut transport = TlsTransport::accept(config, accepted, Instant::now() + LONG)?;
            let mut word = [0; 4];
            assert_eq!(transport.read(&mut word, Instant::now() + LONG).unwrap(), 4);
            transport.write_all(&word, Instant::now() + LONG).unwrap();
            transport.close();
            Ok(())
        });
        let mut stream = connect(client, socket);
        let mut echo = Vec::new();
        let talk = stream
            .write_all(b"word")
            .and_then(|()| stream.read_to_end(&mut echo).map(|_| ()));
        let tls = &stream.conn;
        let agreed = format!(
            "{:?} {:?} {:?}",
            tls.protocol_version(),
            tls.negotiated_cipher_suite().map(|suite| suite.suite()),
            tls.negotiated_key_exchange_group()
                .map(SupportedKxGroup::name)
        );
        // The server waits a moment for a client that it rejects, so that the client can read the alert.
        stream.sock.shutdown(std::net::Shutdown::Both).ok();
        let refusal = server.join().unwrap().err();
        assert_eq!(talk.is_ok(), refusal.is_none(), "{talk:?} {refusal:?}");
        assert_eq!(refusal.is_none(), echo == b"word");
        Met {
            refusal,
            agreed,
            client_error: talk.map_or_else(|error| error.to_string(), |()| String::new()),
        }
    }

    /// Runs a handshake with these settings and client certificates, for both versions. Returns the server's reason if
    /// it rejected the client.
    pub(super) fn outcome(settings: &TlsSettings, shown: &str) -> String {
        let (acceptor, _) = acceptor(settings).unwrap();
        let outcomes = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
            let client = client(shown, &[version], ring::default_provider());
            let met = meet(acceptor.clone(), client);
            let Some(refusal) = met.refusal else {
                return "in".to_owned();
            };
            // The client gets an alert, not a connection reset.
            assert!(met.client_error.contains("alert"), "{}", met.client_error);
            refusal.to_string()
        });
        assert_eq!(outcomes[0], outcomes[1]);
        outcomes[0].clone()
    }
}
