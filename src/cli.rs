//! The command line: what `xrtc` takes, and `xrtc check`.
//!
//! `xrtc run` itself is the daemon's; here is only what it is asked for.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, CandidateHost, CandidateIps, Config, Route, Service, ServiceKind, UpstreamGroup};
use crate::http::{Asked, Explanation};

/// The exit status for a configuration or command line that is wrong (`EX_USAGE` of sysexits.h).
pub const EX_USAGE: u8 = 64;

/// A reverse proxy for WebRTC services: signalling and media through one TCP port and one UDP port.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "xrtc", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the proxy until SIGINT or SIGTERM.
    ///
    /// Without a configuration it serves a built-in demo on port 6443 (TCP and UDP).
    Run(Run),
    /// Check a configuration and say what it amounts to.
    ///
    /// Nothing is started and no port is opened. Exits with 0, or with 64 and every mistake on standard error.
    Check(Check),
}

/// `xrtc run`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Run {
    /// The configuration [default: ./routes.yml, then /etc/xrtc/routes.yml, then the built-in demo].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or per module as in `info,xrtc::http=debug`.
    #[arg(long, value_name = "LEVEL", env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// How to log: lines for people, or one JSON object per line.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// `xrtc check`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Check {
    /// The configuration.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Say which route takes a request and why: 'GET https://host/path', or for a WebSocket
    /// 'wss://host/path SUBPROTOCOL...'.
    #[arg(long, value_name = "REQUEST")]
    pub explain: Option<Asked>,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `xrtc check`: a summary of the file to `out`, or what it does with the request asked about; its mistakes, or what is
/// odd about it, to `err`. Returns the exit status, 0 or [`EX_USAGE`].
///
/// # Errors
/// Those of writing to `out` and `err`.
pub fn check(args: &Check, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let path: &Path = &args.config;
    match config::load(path) {
        Ok(config) => {
            match &args.explain {
                Some(asked) => write!(out, "{}", Explanation::of(&config, asked))?,
                None => {
                    writeln!(out, "{}: ok", path.display())?;
                    summary(&config, out)?;
                }
            }
            for warning in &config.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            Ok(0)
        }
        Err(errors) => {
            writeln!(err, "{errors}")?;
            Ok(EX_USAGE)
        }
    }
}

fn summary(config: &Config, out: &mut impl Write) -> io::Result<()> {
    for Service {
        name,
        kind,
        addr,
        certificates,
        enable_ice,
        candidate_ips,
        http,
        ..
    } in &config.services
    {
        write!(out, "  service {name}: {} {addr}", kind.as_str())?;
        match certificates.len() {
            0 => {}
            1 => write!(out, ", TLS")?,
            n => write!(out, ", TLS ({n} certificates)")?,
        }
        if http.is_some() && *kind == ServiceKind::Tcp {
            write!(out, ", HTTP")?;
        }
        if *enable_ice {
            write!(out, ", ICE at {}", candidates(candidate_ips))?;
        }
        writeln!(out)?;
        for route in http.iter().flat_map(|http| &http.routes) {
            writeln!(
                out,
                "    route {}",
                describe(route, &config.upstreams[route.upstream])
            )?;
        }
    }
    for UpstreamGroup {
        name, servers, mode, ..
    } in &config.upstreams
    {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        write!(out, "  upstream {name}: {}", servers.join(", "))?;
        match servers.len() {
            0 | 1 => writeln!(out)?,
            _ => writeln!(out, " ({mode})")?,
        }
    }
    Ok(())
}

fn candidates(ips: &CandidateIps) -> String {
    let host = |host: &CandidateHost| match host {
        CandidateHost::Ip(ip) => ip.to_string(),
        CandidateHost::Name(name) => name.clone(),
        CandidateHost::Auto => "auto".to_owned(),
    };
    match ips {
        CandidateIps::Auto => "auto".to_owned(),
        CandidateIps::List(hosts) => hosts.iter().map(host).collect::<Vec<_>>().join(", "),
    }
}

fn describe(route: &Route, upstream: &UpstreamGroup) -> String {
    let hosts = route.hosts.iter().cloned();
    let protos = route.protos.iter().map(|name| format!("ws@{name}"));
    let paths = route.paths.iter().map(|rule| match &rule.rewrite {
        Some(to) => format!("{} (as {to})", rule.prefix),
        None => rule.prefix.clone(),
    });
    let conditions: Vec<String> = hosts.chain(protos).chain(paths).collect();
    let joint = if route.match_all { " and " } else { " or " };
    let mode = if route.icedirect { "icedirect" } else { "hijack" };
    format!(
        "{} ({mode}) -> {}: {}",
        route.tag,
        upstream.name,
        conditions.join(joint)
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn run_check(path: &str) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Check {
            config: Path::new(env!("CARGO_MANIFEST_DIR")).join(path),
            explain: None,
        };
        let status = check(&args, &mut out, &mut err).expect("writing to memory");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status, text(out), text(err))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_and_check_take_their_options() {
        let cli = Cli::try_parse_from([
            "xrtc",
            "run",
            "-c",
            "a.yml",
            "--log",
            "debug",
            "--log-format",
            "json",
        ]);
        let run = Run {
            config: Some("a.yml".into()),
            log: "debug".to_owned(),
            log_format: LogFormat::Json,
        };
        assert_eq!(cli.expect("valid").command, Command::Run(run));
        let cli = Cli::try_parse_from(["xrtc", "check", "--config", "a.yml"]);
        assert_eq!(
            cli.expect("valid").command,
            Command::Check(Check {
                config: "a.yml".into(),
                explain: None,
            })
        );
        assert!(
            Cli::try_parse_from(["xrtc", "check"]).is_err(),
            "check needs a file"
        );
        assert!(Cli::try_parse_from(["xrtc", "run", "--log-format", "xml"]).is_err());
    }

    #[test]
    fn check_sums_up_a_good_file() {
        let (status, out, err) = run_check("deploy/routes.yml");
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(
            out.lines()
                .next()
                .expect("a line")
                .ends_with("deploy/routes.yml: ok"),
            "{out}"
        );
        assert!(
            out.contains("  service tcp: tcp :6443, HTTP, ICE at auto\n    route janus (hijack) -> janus: "),
            "{out}"
        );
        assert!(
            out.contains("  upstream janus: http://127.0.0.1:8088, ws://127.0.0.1:8188 (rr)\n"),
            "{out}"
        );
    }

    #[test]
    fn check_tells_the_mistakes_of_a_bad_file() {
        let (status, out, err) = run_check("Cargo.toml");
        assert_eq!((status, out.as_str()), (EX_USAGE, ""));
        assert!(err.contains("Cargo.toml:2:1: not YAML here"), "{err}");
        assert!(err.ends_with("1 error\n"), "{err}");
        let (status, _, err) = run_check("no such file.yml");
        assert_eq!(status, EX_USAGE);
        assert!(err.contains("no such file.yml: cannot be read: "), "{err}");
    }
}
