//! Prints how fast xrtc, nginx and haproxy serve HTTP and WebSockets, side by side. `make bench-http` runs it.
//!
//! Each proxy is one process with one thread of its kind on the first processor; the load and the upstream, the same
//! for all, are on the second. The proxies are measured in turn, round after round; medians count. What carries over
//! to other machines are the ratios. Nothing is asserted.
//!
//! `bench_http [--rounds N] [--seconds N] [ROW...]`: rows by their beginning, all of them without any.

mod load;
mod proxies;
mod rows;
mod table;
mod websocket;

use std::env;
use std::time::Duration;

use load::Sample;
use proxies::{Proxy, Scene};
use rows::Row;
use table::Table;
use xrtc_testing::lab::{Error, Result, WorkDir, report};

/// What the command line asks for.
struct Plan {
    rounds: usize,
    run: Duration,
    wanted: Vec<String>,
}

impl Plan {
    fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self {
            rounds: 5,
            run: Duration::from_secs(3),
            wanted: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let number = arguments.next().and_then(|text| text.parse().ok());
                number
                    .filter(|number| *number > 0)
                    .ok_or_else(|| Error::new(format!("{argument} takes a number")))
            };
            match argument.as_str() {
                "--rounds" => plan.rounds = number()?,
                "--seconds" => plan.run = Duration::from_secs(number()? as u64),
                row => plan.wanted.push(row.to_owned()),
            }
        }
        Ok(plan)
    }

    fn wants(&self, row: &Row) -> bool {
        self.wanted.is_empty()
            || self
                .wanted
                .iter()
                .any(|wanted| row.name.starts_with(wanted.as_str()))
    }
}

fn main() -> Result<()> {
    if let Some(outcome) = websocket::role(env::args().skip(1)) {
        return outcome;
    }
    let plan = Plan::of(env::args().skip(1))?;
    let work = WorkDir::new()?;
    let scene = Scene::start(&work)?;
    let mut table = Table::new();
    for row in rows::ALL.iter().filter(|row| plan.wants(row)) {
        let proxies: Vec<&Proxy> = scene
            .proxies
            .iter()
            .filter(|proxy| row.is_served_by(proxy))
            .collect();
        let mut samples = vec![Vec::new(); proxies.len()];
        for _ in 0..plan.rounds {
            for (proxy, samples) in proxies.iter().zip(&mut samples) {
                samples.push(measure(row, proxy, &work, plan.run)?);
            }
        }
        let medians = proxies
            .iter()
            .zip(samples)
            .map(|(proxy, samples)| (proxy.name, Sample::median(samples)));
        report(table.line(row.name, medians.collect()));
    }
    report(table.legend());
    Ok(())
}

fn measure(row: &Row, proxy: &Proxy, work: &WorkDir, run: Duration) -> Result<Sample> {
    let before = proxy.process.cpu_seconds()?;
    let (served, seconds) = row
        .load
        .run(proxy, work, run)
        .map_err(|error| error.during(proxy.name))?;
    let used = proxy.process.cpu_seconds()? - before;
    if served == 0 {
        return Err(Error::new(format!("{}: nothing was served", proxy.name)));
    }
    Ok(Sample {
        rate: served as f64 / seconds,
        cpu: used / served as f64,
    })
}
