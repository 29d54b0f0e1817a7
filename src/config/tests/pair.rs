//! A certificate with its key, in files that are gone after the test.

use std::path::PathBuf;

/// The directory that they are in.
pub(super) struct Pair(pub(super) PathBuf);

impl Pair {
    /// A self-signed pair for `names`. `test` tells tests apart that run at the same time.
    pub(super) fn new(test: &str, names: &[&str]) -> Self {
        Self::until(test, names, (4096, 1, 1))
    }

    /// The same, valid until the beginning of a day: year, month, day.
    pub(super) fn until(test: &str, names: &[&str], (year, month, day): (i32, u8, u8)) -> Self {
        let dir = std::env::temp_dir().join(format!("xrtc-pair-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.join("crt.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
        Self(dir)
    }

    /// The text with the files' paths in place of `CRT` and `KEY`.
    pub(super) fn name_in(&self, text: &str) -> String {
        let path = |name: &str| self.0.join(name).display().to_string();
        text.replace("CRT", &path("crt.pem"))
            .replace("KEY", &path("key.pem"))
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
