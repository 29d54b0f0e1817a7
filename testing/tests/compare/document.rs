//! Differences, and the document that tells them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::fields::Fields;
use crate::reasons;

/// One field that not all proxies have alike.
pub(crate) struct Difference {
    case: &'static str,
    field: String,
    /// Of each proxy; `None`: it does not do such things.
    values: Vec<Option<String>>,
}

const HEAD: &str = "| | xrtc | nginx | haproxy | why |\n|---|---|---|---|---|\n";
const ABSENT: &str = "—";

impl Difference {
    /// What is different between what the proxies made of a case.
    pub(crate) fn between(case: &'static str, made: &[Option<Fields>]) -> Vec<Self> {
        let names: BTreeSet<&String> = made.iter().flatten().flat_map(Fields::keys).collect();
        let differences = names.into_iter().filter_map(|name| {
            let values: Vec<Option<String>> = made
                .iter()
                .map(|fields| {
                    let value = fields.as_ref()?.get(name);
                    Some(value.map_or_else(|| ABSENT.to_owned(), Clone::clone))
                })
                .collect();
            let distinct: BTreeSet<&String> = values.iter().flatten().collect();
            (distinct.len() > 1).then(|| Self {
                case,
                field: name.clone(),
                values,
            })
        });
        differences.collect()
    }

    fn row(&self, label: &str, why: &str) -> String {
        let mut row = format!("| {label} |");
        for value in &self.values {
            let text = value.as_deref().unwrap_or("no files");
            // Writing into a String cannot fail.
            let _ = match text {
                ABSENT | "no files" => write!(row, " {text} |"),
                text => write!(row, " `{}` |", text.replace('|', "\\|")),
            };
        }
        let _ = writeln!(row, " {why} |");
        row
    }
}

/// The document, and what is wrong: differences without a reason, reasons without a difference.
pub(crate) fn write(differences: &[Difference], cases: usize) -> (String, Vec<String>) {
    let mut unused: BTreeSet<&str> = reasons::keys().collect();
    let mut problems = Vec::new();
    let (mut everywhere, mut single) = (BTreeSet::new(), String::new());
    let mut before = "";
    for difference in differences {
        let Difference { case, field, values } = difference;
        let Some((key, why)) = reasons::of(case, field) else {
            problems.push(format!("no reason: {case} / {field}: {values:?}"));
            continue;
        };
        unused.remove(key);
        if key == field {
            everywhere.insert(difference.row(field, why));
            continue;
        }
        if *case != before {
            before = case;
            let _ = writeln!(single, "| **{case}** | | | | {why} |");
        }
        single += &difference.row(field, "");
    }
    problems.extend(unused.iter().map(|key| format!("no difference: {key}")));
    let everywhere: String = everywhere.into_iter().collect();
    let document = format!(
        "# xrtc beside nginx and haproxy\n\n\
         The same {cases} requests through all three, each set up as usual, compared field by field: what the client gets \
         (`response`) and what the upstream sees (`request`). What is not listed is the same. `testing/tests/compare` \
         makes this document and fails when it is no longer true; `XRTC_WRITE_COMPARISON=1` writes it anew.\n\n\
         Set-up: nginx with `proxy_http_version 1.1` and `proxy_set_header` for Host, Connection, Upgrade, X-Real-IP, \
         X-Forwarded-For and X-Forwarded-Proto; haproxy with `option forwardfor`; xrtc with two routes and a root.\n\n\
         ## Wherever it occurs\n\nEach combination of values once.\n\n{HEAD}{everywhere}\n\
         ## In single cases\n\n{HEAD}{single}"
    );
    (document, problems)
}
