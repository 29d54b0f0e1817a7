//! TLS as another implementation sees it: what `openssl s_client` finds out about the front door.
//!
//! What OpenSSL is not built to offer any more is offered byte by byte in `hello.rs`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;
use xrtc::config::TlsFiles;

use crate::door::{Door, Pki, Setup};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
/// Lets OpenSSL offer versions and suites that its own rules forbid.
const ANYTHING: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/// All that `openssl` says, on either output, when it is given `input`.
async fn openssl(args: &[&str], input: &'static str) -> String {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let run = move || {
        let mut child = Command::new("openssl")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        // A client that is refused may leave before it has read anything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        [output.stdout, output.stderr].concat()
    };
    String::from_utf8_lossy(&spawn_blocking(run).await.unwrap()).into_owned()
}

async fn s_client(door: &Door, options: &[&str], input: &'static str) -> String {
    let addr = door.addr.to_string();
    let always = ["s_client", "-connect", &addr, "-servername", "a.example"];
    openssl(&[&always, options].concat(), input).await
}

async fn serving(certificates: Vec<TlsFiles>) -> Door {
    let setup = Setup {
        certificates,
        ..Setup::default()
    };
    setup.start().await
}

fn found(told: &str, what: &str) {
    assert!(told.contains(what), "no {what:?} in {told}");
}

#[tokio::test]
async fn versions() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = s_client(&door, &[version, "-ign_eof"], GET).await;
        found(&told, &format!("New, {name}, Cipher is "));
        found(&told, "HTTP/1.1 200 ");
    }
    for version in ["-tls1", "-tls1_1"] {
        let told = s_client(&door, &[version, "-cipher", ANYTHING], GET).await;
        // Which alert it is depends on what else is missing.
        found(&told, "SSL alert number ");
        found(&told, "Cipher is (NONE)");
    }
}

#[tokio::test]
async fn a_session_is_resumed_without_early_data() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    let early = pki.path("early");
    std::fs::write(&early, GET).unwrap();
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = pki.path(name);
        let keep = [version, "-ign_eof", "-sess_out", text(&session)];
        found(&s_client(&door, &keep, GET).await, "New, ");
        let resume = [version, "-ign_eof", "-sess_in", text(&session)];
        let told = s_client(&door, &resume, GET).await;
        found(&told, &format!("Reused, {name}, "));
        found(&told, "HTTP/1.1 200 ");
        if name == "TLSv1.3" {
            let told = s_client(
                &door,
                &[&resume[..], &["-early_data", text(&early)]].concat(),
                GET,
            )
            .await;
            found(&told, "Early data was not sent");
            found(&told, "Max Early Data: 0");
        }
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_served() {
    let pki = Pki::new();
    let door = serving(vec![pki.make("a", &["a.example"])]).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let told = s_client(&door, &[version, "-alpn", "imap"], "").await;
        found(&told, "alert no application protocol");
        let told = s_client(&door, &[version, "-alpn", "imap,h2"], "").await;
        found(&told, "ALPN protocol: h2");
    }
}

#[tokio::test]
async fn the_whole_chain_is_shown() {
    let pki = Pki::new();
    let (files, root) = pki.make_chain("a.example").await;
    let door = serving(vec![files, pki.make("other", &["other.example"])]).await;
    let options = [
        "-CAfile",
        text(&root),
        "-verify_return_error",
        "-verify_hostname",
        "a.example",
    ];
    let told = s_client(&door, &options, "").await;
    found(&told, "Verify return code: 0 (ok)");
    let told = openssl(
        &["s_client", "-connect", &door.addr.to_string(), "-noservername"],
        "",
    )
    .await;
    found(&told, "CN = a.example");
    let told = s_client(&door, &["-servername", "other.example", "-showcerts"], "").await;
    assert!(!told.contains("CN = a.example"), "{told}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Pki {
    /// Makes a self-signed pair with an RSA key, which OpenSSL can and the library of [`Pki::make`] cannot.
    pub(crate) async fn make_rsa(&self, name: &str, host: &str) -> TlsFiles {
        let files = self.files(name);
        let subject = format!("/CN={host}");
        let names = format!("subjectAltName=DNS:{host}");
        let made = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-addext", &names,
        ];
        done(
            &[
                &made[..],
                &["-out", text(&files.crt), "-keyout", text(&files.key)],
            ]
            .concat(),
        )
        .await;
        files
    }

    /// Makes a pair whose certificate is signed by an intermediate one, which comes with it; and the root's.
    async fn make_chain(&self, host: &str) -> (TlsFiles, PathBuf) {
        let (root, middle, leaf) = (self.files("root"), self.files("middle"), self.files("leaf"));
        for (own, issuer, name) in [
            (&root, None, "root"),
            (&middle, Some(&root), "middle"),
            (&leaf, Some(&middle), host),
        ] {
            let subject = format!("/CN={name}");
            let names = format!("subjectAltName=DNS:{name}");
            let authority = if own.crt == leaf.crt {
                "CA:FALSE"
            } else {
                "CA:TRUE"
            };
            let basic = format!("basicConstraints=critical,{authority}");
            let mut args = vec![
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ];
            args.extend(["-subj", &subject, "-addext", &names, "-addext", &basic]);
            args.extend(["-out", text(&own.crt), "-keyout", text(&own.key)]);
            if let Some(issuer) = issuer {
                args.extend(["-CA", text(&issuer.crt), "-CAkey", text(&issuer.key)]);
            }
            done(&args).await;
        }
        let chain = [&leaf.crt, &middle.crt].map(|path| std::fs::read(path).unwrap());
        std::fs::write(&leaf.crt, chain.concat()).unwrap();
        (leaf, root.crt)
    }
}

async fn done(args: &[&str]) {
    let told = openssl(args, "").await;
    assert!(!told.contains("rror"), "openssl {args:?}: {told}");
}
