//! Certificates, for HTTP and for syslog.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::secret::read_file;
use crate::config::TlsOptions;
use crate::sink::Failure;

/// What the files hold that the options name.
#[derive(Debug)]
pub(super) struct Certificates {
    roots: Vec<CertificateDer<'static>>,
    client: Option<Client>,
}

/// What this side shows of itself.
struct Client {
    chain: Vec<CertificateDer<'static>>,
    key_pem: Vec<u8>,
}

/// Without the key.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Certificates {
    pub(super) fn load(options: &TlsOptions) -> Result<Self, Failure> {
        let roots = match &options.ca_file {
            Some(path) => read_certificates(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let client = match (&options.certificate_file, &options.key_file) {
            (Some(certificate), Some(key)) => {
                let key_pem = read_file(key)?;
                PrivateKeyDer::from_pem_slice(&key_pem)
                    .map_err(|error| not_pem(key, "private key", &error.to_string()))?;
                Some(Client { chain: read_certificates(certificate)?, key_pem })
            }
            _ => None,
        };
        let loaded = Self { roots, client };
        if let (Some(certificate), Some(key)) = (&options.certificate_file, &options.key_file) {
            // ureq panics where they do not belong together.
            loaded.for_rustls().map_err(|failure| Failure {
                attempt: format!("cannot use {} with the key {}", certificate.display(), key.display()),
                ..failure
            })?;
        }
        Ok(loaded)
    }

    /// For a connection of our own.
    pub(super) fn for_rustls(&self) -> Result<Arc<ClientConfig>, Failure> {
        let failure = |error: rustls::Error| Failure {
            attempt: "cannot prepare TLS".to_owned(),
            source: error.into(),
            remedy: "see whether `certificate_file` and `key_file` belong together".to_owned(),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.roots.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failure)?
            .with_root_certificates(roots);
        let config = match &self.client {
            Some(Client { chain, key_pem }) => {
                let key = PrivateKeyDer::from_pem_slice(key_pem)
                    .map_err(|error| failure(rustls::Error::General(error.to_string())))?;
                builder.with_client_auth_cert(chain.clone(), key).map_err(failure)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    /// For HTTP.
    pub(super) fn for_ureq(&self) -> ureq::tls::TlsConfig {
        use ureq::tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, parse_pem};
        let owned = |der: &CertificateDer<'_>| Certificate::from_der(der).to_owned();
        let client = self.client.as_ref().and_then(|client| {
            let chain: Vec<_> = client.chain.iter().map(owned).collect();
            // It was read from there before.
            let key = parse_pem(&client.key_pem).find_map(|item| match item {
                Ok(PemItem::PrivateKey(key)) => Some(key),
                _ => None,
            });
            key.map(|key| ClientCert::new_with_certs(&chain, key))
        });
        TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(self.roots.iter().map(owned).collect())))
            .client_cert(client)
            .build()
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = read_file(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(not_pem(path, "certificate", "there is none in it")),
        Err(error) => Err(not_pem(path, "certificate", &error.to_string())),
    }
}

fn not_pem(path: &Path, what: &str, why: &str) -> Failure {
    Failure {
        attempt: format!("cannot read a {what} from {}", path.display()),
        source: why.into(),
        remedy: format!("it must be a PEM file with a `-----BEGIN` line for a {what}"),
    }
}
