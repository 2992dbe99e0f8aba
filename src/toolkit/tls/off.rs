//! A build without TLS: every setting is refused.
//!
//! Has the API of `acceptor`. Must not know HTTP.

use std::sync::Arc;

use crate::http::tls::TlsAcceptor;
use crate::toolkit::config::fault::Fault;
use crate::toolkit::config::settings::TlsSettings;

pub(crate) fn acceptor(
    _settings: &TlsSettings,
) -> Result<(Arc<dyn TlsAcceptor>, Vec<String>), Fault> {
    Err(Fault::new(
        "tls_server_config: this iperf3-exporter was built without TLS, use a build with the cargo feature `tls`, \
         which is on by default",
    ))
}
