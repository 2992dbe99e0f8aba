//! A build without TLS: every setting is refused.
//!
//! Has the API of `acceptor`; must not know HTTP.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::error::UnusableSetting;
use crate::http::ClientStream;
use crate::http::tls::{HandshakeFailed, TlsAcceptor};
use crate::toolkit::config::settings::TlsSettings;

#[derive(Clone, Debug)]
pub(crate) enum Acceptor {}

pub(crate) fn acceptor(
    _settings: &TlsSettings,
) -> Result<(Acceptor, Vec<String>), UnusableSetting> {
    Err(UnusableSetting::new(
        "tls_server_config",
        "this iperf3-exporter was built without TLS; one that was built with the cargo feature `tls`, which is on by \
         default, has it",
    ))
}

impl Acceptor {
    /// Never called.
    pub(crate) fn boxed(&self) -> Box<dyn TlsAcceptor> {
        match *self {}
    }
}

impl TlsAcceptor for Acceptor {
    fn accept(
        &self,
        _socket: Arc<TcpStream>,
        _until: Instant,
    ) -> Result<Box<dyn ClientStream>, HandshakeFailed> {
        match *self {}
    }
}
