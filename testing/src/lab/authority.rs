//! A certificate authority of the test's own, and a server's certificate by it: what browsers check is then checked.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::{Error, Result, WorkDir};

const NAME: &str = "xrtc test lab";

/// The files of an authority and of one server.
#[derive(Debug)]
pub struct Authority {
    root: PathBuf,
    /// The server's certificate, PEM.
    pub crt: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// Makes them for a server with these addresses.
    pub fn new(work: &WorkDir, addresses: &[IpAddr]) -> Result<Self> {
        let made = Self {
            root: work.join("authority.crt"),
            crt: work.join("server.crt"),
            key: work.join("server.key"),
        };
        let failed = |error: rcgen::Error| Error::new(error.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root =
            CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().map_err(failed)?;
        let server = CertificateParams::new(names)
            .and_then(|params| params.signed_by(&key, &root))
            .map_err(failed)?;
        fs::write(&made.root, root.pem())?;
        fs::write(&made.crt, server.pem())?;
        fs::write(&made.key, key.serialize_pem())?;
        Ok(made)
    }

    /// Enters it in a certificate database of NSS, which Chromium has in its user's home and Firefox in its profile.
    pub(super) fn install(&self, database: &Path) -> Result<()> {
        fs::create_dir_all(database)?;
        let certutil = |args: &[&str]| -> Result<()> {
            let mut command = Command::new("certutil");
            command.arg("-d").arg(format!("sql:{}", database.display()));
            let output = command.args(args).stdin(Stdio::null()).output()?;
            if output.status.success() {
                return Ok(());
            }
            let reason = String::from_utf8_lossy(&output.stderr);
            Err(Error::new(format!("certutil: {}", reason.trim())))
        };
        certutil(&["-N", "--empty-password"])?;
        let root = self.root.to_string_lossy();
        certutil(&["-A", "-n", NAME, "-t", "C,,", "-i", &root])
    }
}
