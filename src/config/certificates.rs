//! Reads certificates and private keys, and judges what they are good for: serving TLS, or verifying others.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};
use webpki::EndEntityCert;

use super::model::TlsFiles;
use super::validity;

/// Longer files are no PEM chains.
const MAX_BYTES: u64 = 1 << 20;
/// How long before its end a certificate is worth a word.
const NOTICE: Duration = Duration::from_secs(14 * 86_400);

/// A chain with its key, and the names that it is for.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// For the handshake.
    pub key: Arc<CertifiedKey>,
    /// The DNS names of its subject, lower case; some may begin with `*.`.
    pub names: Vec<String>,
    /// Its `notAfter`; `None` if that cannot be read.
    pub expires: Option<SystemTime>,
}

/// Why a pair of files is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is the certificate's fault.
    #[error("{file}: {why}", file = file.display())]
    Crt {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is the key's fault.
    #[error("{file}: {why}", file = file.display())]
    Key {
        /// The key's file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The two are not of one pair.
    #[error("{key} is not the key of {crt}", key = key.display(), crt = crt.display())]
    Mismatch {
        /// The certificate's file.
        crt: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl Certificate {
    /// Reads a pair. Blocks on the file system.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing of its kind, or the two do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, CertificateError> {
        let TlsFiles { crt, key } = files;
        let crt_error = |why: String| CertificateError::Crt {
            file: crt.clone(),
            why,
        };
        let key_error = |why: String| CertificateError::Key {
            file: key.clone(),
            why,
        };
        let chain = chain(crt).map_err(crt_error)?;
        let names = chain
            .first()
            .map_or_else(|| Ok(Vec::new()), names)
            .map_err(crt_error)?;
        let expires = chain.first().and_then(|own| validity::not_after(own));
        let private = PrivateKeyDer::from_pem_slice(&read(key).map_err(key_error)?).map_err(|_| {
            key_error("holds no private key in PEM form (an encrypted one is no use)".to_owned())
        })?;
        let key =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
                TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertificateError::Mismatch {
                    crt: crt.clone(),
                    key: key.clone(),
                },
                other => key_error(format!("no usable private key: {other}")),
            })?;
        Ok(Self {
            key: Arc::new(key),
            names,
            expires,
        })
    }
}

/// What is to be said of a certificate that expires soon, or has.
#[must_use]
pub fn expiry_notice(file: &Path, expires: Option<SystemTime>, now: SystemTime) -> Option<String> {
    let expires = expires?;
    let when = humantime::format_rfc3339_seconds(expires);
    let file = file.display();
    if expires <= now {
        Some(format!("certificate {file} expired at {when}"))
    } else if expires <= now + NOTICE {
        Some(format!("certificate {file} expires at {when}"))
    } else {
        None
    }
}

/// Reads certificates that sign others. Blocks on the file system.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn load_roots(path: &Path) -> Result<RootCertStore, CertificateError> {
    let error = |why| CertificateError::Crt {
        file: path.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in chain(path).map_err(error)? {
        let added = roots.add(certificate);
        added.map_err(|reason| error(format!("no valid certificate: {reason}")))?;
    }
    Ok(roots)
}

/// At least one certificate.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("no valid PEM: {error}"))?;
    if chain.is_empty() {
        return Err("holds no certificate in PEM form".to_owned());
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| -> io::Result<usize> {
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(bytes)
    };
    match read(&mut bytes) {
        Ok(len) if len as u64 <= MAX_BYTES => Ok(bytes),
        Ok(_) => Err(format!("is longer than {MAX_BYTES} bytes")),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let certificate =
        EndEntityCert::try_from(certificate).map_err(|error| format!("no valid certificate: {error:?}"))?;
    Ok(certificate
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect())
}
