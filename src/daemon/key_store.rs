//! The key on disk: made on first start, read ever after.
//!
//! The file `key` holds 32 bytes as 64 hex digits, mode 0600. It is all that a restarted daemon needs to carry its
//! calls on, and all that an attacker needs to forge tokens.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const DEFAULT_DIR: &str = "/var/lib/xrtc";
const FILE: &str = "key";
const KEY_LEN: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The directory or the file cannot be used.
    #[error("cannot use the key in {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a key.
    #[error(
        "{0} does not hold a key of 64 hex digits; move it away to have a new one made (running calls end)"
    )]
    Malformed(PathBuf),
    /// Others can read the file.
    #[error("{0} can be read by others; run `chmod 600` on it, or move it away if it may have leaked")]
    Exposed(PathBuf),
}

/// A key and where it lives.
#[derive(Debug)]
pub(super) struct StoredKey {
    /// The secret.
    pub(super) secret: [u8; KEY_LEN],
    /// The file; `None`: memory only, calls do not survive a restart.
    pub(super) path: Option<PathBuf>,
}

/// Loads the key from `state_dir`, or makes one there. Without a `state_dir`, the first of `/var/lib/xrtc`,
/// `$XDG_STATE_HOME/xrtc` and `$HOME/.local/state/xrtc` that can be used; if none can, a key in memory.
///
/// # Errors
/// If a configured directory cannot be used, or a key that is there is not to be trusted.
pub(super) fn load_or_make(state_dir: Option<&Path>) -> Result<StoredKey, KeyError> {
    if let Some(dir) = state_dir {
        return open(dir);
    }
    for dir in default_dirs() {
        match open(&dir) {
            Err(KeyError::Io { path, source }) => {
                tracing::debug!(path = %path.display(), error = %source, "no key here");
            }
            done => return done,
        }
    }
    let secret = fresh().map_err(|source| KeyError::Io {
        path: FILE.into(),
        source,
    })?;
    Ok(StoredKey { secret, path: None })
}

fn default_dirs() -> impl Iterator<Item = PathBuf> {
    let from = |name: &str, below: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(|value| PathBuf::from(value).join(below))
    };
    [
        Some(DEFAULT_DIR.into()),
        from("XDG_STATE_HOME", "xrtc"),
        from("HOME", ".local/state/xrtc"),
    ]
    .into_iter()
    .flatten()
}

fn open(dir: &Path) -> Result<StoredKey, KeyError> {
    let path = dir.join(FILE);
    let fail = |source| KeyError::Io {
        path: path.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail)?;
    match read(&path) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(dir, &path).map_err(fail)?;
            // Read back: another process may have been faster, and its key is the one that counts.
            read(&path)
        }
        done => done,
    }
    .map(|secret| StoredKey {
        secret,
        path: Some(path),
    })
}

fn read(path: &Path) -> Result<[u8; KEY_LEN], KeyError> {
    let fail = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    let mut file = fs::File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.mode() & 0o077 != 0 {
        return Err(KeyError::Exposed(path.into()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fail)?;
    parse_hex(text.trim()).ok_or_else(|| KeyError::Malformed(path.into()))
}

/// Writes beside and links into place: the file appears whole or not at all, and never replaces another.
fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let secret = fresh()?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = dir.join(format!(".{FILE}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(&beside, path));
    let removed = fs::remove_file(&beside);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => removed,
    }
}

fn fresh() -> io::Result<[u8; KEY_LEN]> {
    let mut secret = [0; KEY_LEN];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(secret)
}

fn parse_hex(text: &str) -> Option<[u8; KEY_LEN]> {
    if text.len() != 2 * KEY_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; KEY_LEN];
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xrtc-key-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let dir = Dir::new("once");
        let state = dir.0.join("deep/state");
        let made = load_or_make(Some(&state)).unwrap();
        let found = load_or_make(Some(&state)).unwrap();
        assert_eq!(made.secret, found.secret);
        let path = found.path.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [FILE]);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = Dir::new("exposed");
        let path = load_or_make(Some(&dir.0)).unwrap().path.unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_make(Some(&dir.0)), Err(KeyError::Exposed(_))));
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_kept() {
        let dir = Dir::new("malformed");
        let path = load_or_make(Some(&dir.0)).unwrap().path.unwrap();
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(load_or_make(Some(&dir.0)), Err(KeyError::Malformed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_when_it_was_asked_for() {
        let dir = Dir::new("unusable");
        let file = dir.0.join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            load_or_make(Some(&file.join("state"))),
            Err(KeyError::Io { .. })
        ));
    }
}
