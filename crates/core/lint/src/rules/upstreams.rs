//! Sources and checks of upstreams, and the tokens of stores.

use std::collections::BTreeMap;

use weir_config::Loaded;
use weir_model::{Check, Http, Millis, Probe, Upstream};
use weir_syntax::Severity::{Error, Warning};
use weir_syntax::{Directive, Span, Word};

use crate::report::Report;
use crate::scene::Scene;
use crate::{Node, Place, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "upsync-dump-shared",
        severity: Error,
        doc: "Two upstreams write their servers into one file.",
        find: shared_dumps,
    },
    Rule {
        id: "upsync-dump-temporary",
        severity: Warning,
        doc: "The servers that a store named are kept in a folder for temporary files, which every user may write to.",
        find: temporary_dumps,
    },
    Rule {
        id: "check-timeout",
        severity: Warning,
        doc: "A check may take as long as its interval, so that a server that hangs is checked less often than that.",
        find: timeouts,
    },
    Rule {
        id: "check-slow",
        severity: Warning,
        doc: "A server that is not ready at its first check stays out for a minute or more.",
        find: slow,
    },
    Rule {
        id: "token-exposed",
        severity: Warning,
        doc: "A token stands in a file that every user of the machine can read.",
        find: tokens,
    },
];

/// Each file of a proxy once, with the first node that has it.
fn proxies<'a>(scene: &Scene<'a>) -> Vec<(&'a Node<'a>, &'a Loaded)> {
    let mut found: Vec<(&Node<'a>, &Loaded)> = Vec::new();
    for node in scene.nodes {
        for loaded in &node.nginx {
            if !found.iter().any(|(_, other)| std::ptr::eq(*other, *loaded)) {
                found.push((node, loaded));
            }
        }
    }
    found
}

fn upstreams(loaded: &Loaded) -> impl Iterator<Item = &Upstream> {
    let http: Option<&Http> = loaded.config.http.as_ref();
    http.into_iter().flat_map(|http| &http.upstreams)
}

/// The line of an `upstream` block with the first of these names that is there, the block itself where none is.
fn place<'a>(loaded: &'a Loaded, upstream: &str, names: &[&str]) -> Place<'a> {
    let span = block(&loaded.tree.items, upstream).map(|block| {
        let lines = || block.block.iter().flatten();
        let line = names.iter().find_map(|name| lines().find(|line| line.name.text == *name));
        line.map_or_else(|| head(block), |line| line.span)
    });
    Place { files: &loaded.tree.files, span }
}

fn head(block: &Directive) -> Span {
    block.args.first().map_or(block.name.span, |word| block.name.span.to(word.span))
}

fn block<'a>(items: &'a [Directive], upstream: &str) -> Option<&'a Directive> {
    items.iter().find_map(|one| {
        let named = one.args.first().is_some_and(|word| word.text == upstream);
        match one.name.text == "upstream" && named {
            true => Some(one),
            false => block(one.block.as_deref()?, upstream),
        }
    })
}

fn dumps(loaded: &Loaded) -> impl Iterator<Item = (&Upstream, &str)> {
    upstreams(loaded).flat_map(|upstream| {
        let dumps = upstream.sources.iter().filter_map(|source| source.dump.as_deref());
        dumps.map(move |path| (upstream, path))
    })
}

/// Not `upsync` itself: a token may stand in it, and findings show their line.
const DUMP: &[&str] = &["upsync_dump_path"];

fn shared_dumps<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (node, loaded) in proxies(scene) {
        let mut writers: BTreeMap<&str, &Upstream> = BTreeMap::new();
        for (upstream, path) in dumps(loaded) {
            let Some(first) = writers.get(path) else {
                writers.insert(path, upstream);
                continue;
            };
            let message =
                format!("{} and {} write their servers into one file, {path}", first.name, upstream.name);
            report
                .add(&[node], place(loaded, &upstream.name, DUMP), message)
                .see(place(loaded, &first.name, DUMP), format_args!("{} writes it as well", first.name))
                .help("give each upstream an upsync_dump_path of its own: an include reads the other's servers otherwise");
        }
    }
}

fn temporary_dumps<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (node, loaded) in proxies(scene) {
        let temporary =
            |path: &str| ["/tmp/", "/var/tmp/", "/dev/shm/"].iter().any(|one| path.starts_with(one));
        for (upstream, path) in dumps(loaded).filter(|(_, path)| temporary(path)) {
            let message = format!("the servers of {} are kept in {path}", upstream.name);
            report
                .add(&[node], place(loaded, &upstream.name, DUMP), message)
                .note("every user can put a file of that name there first, and the folder is emptied now and then")
                .help("add upsync_dump_path with a file in a folder of the worker's user");
        }
    }
}

const CHECK: &[&str] = &["check"];

fn checks(loaded: &Loaded) -> impl Iterator<Item = (&Upstream, &Check)> {
    upstreams(loaded).flat_map(|upstream| upstream.checks.iter().map(move |check| (upstream, check)))
}

fn timeouts<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (node, loaded) in proxies(scene) {
        for (upstream, check) in checks(loaded).filter(|(_, check)| check.timeout >= check.interval) {
            let (timeout, interval) = (seconds(check.timeout), seconds(check.interval));
            let message =
                format!("a check of {} may take {timeout} and comes every {interval}", upstream.name);
            let out = seconds(Millis(check.timeout.0.saturating_mul(check.fall.into())));
            report
                .add(&[node], place(loaded, &upstream.name, CHECK), message)
                .note(format!("a server that hangs is taken out after about {out}"))
                .help(match check.probe {
                    Probe::Request { .. } | Probe::Grpc { .. } => {
                        "add timeout= to health_check, or a shorter proxy_read_timeout to its location"
                    }
                    _ => "choose a timeout below the interval",
                });
        }
    }
}

/// A minute: longer than most deployments wait for a server.
const LONG: Millis = Millis(60_000);

fn slow<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (node, loaded) in proxies(scene) {
        for (upstream, check) in checks(loaded).filter(|(_, check)| check.default_down) {
            let out = Millis(check.interval.0.saturating_mul(check.rise.into()));
            if out < LONG {
                continue;
            }
            let (interval, rise) = (seconds(check.interval), check.rise);
            let message = format!(
                "a server of {} that is not ready at its first check gets nothing for {}",
                upstream.name,
                seconds(out)
            );
            report
                .add(&[node], place(loaded, &upstream.name, CHECK), message)
                .note(format!(
                    "the check comes every {interval}, and {rise} passes in a row bring a server up"
                ))
                .help("choose a shorter interval, or default_down=false");
        }
    }
}

/// `500 ms`, `3 s`.
fn seconds(span: Millis) -> String {
    match span.0 {
        millis if millis % 1000 == 0 => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

fn tokens<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (node, machine) in scene.local() {
        for loaded in &node.nginx {
            let mut told = Vec::new();
            for (word, file) in words(&loaded.tree.items) {
                let files = &loaded.tree.files;
                let Some(path) = (match file {
                    Some(file) => Some(below(files.first().map_or("", |main| &main.path), file)),
                    None => files.get(word.span.file as usize).map(|file| file.path.clone()),
                }) else {
                    continue;
                };
                if told.contains(&path) || !machine.is_readable_by_all(&path) {
                    continue;
                }
                let message = format!("every user of {} can read the token in {path}", node.name);
                let place = Place { files, span: file.map(|_| word.span) };
                let help = match file {
                    Some(_) => format!("chmod o-r {path}"),
                    None => "put the token into a file of its own (token_file=, write_file=, read_file=) with mode 0600"
                        .to_owned(),
                };
                report.add(&[node], place, message).help(help);
                told.push(path);
            }
        }
    }
}

/// The words that hold a token, and those that name the file of one.
fn words(items: &[Directive]) -> Vec<(&Word, Option<&str>)> {
    let mut found = Vec::new();
    for line in items {
        found.extend(line.args.iter().filter_map(|word| {
            let (key, value) = word.text.split_once('=')?;
            match (line.name.text.as_str(), key) {
                ("upsync" | "source", "token") | ("token", "write" | "read") => Some((word, None)),
                ("upsync" | "source", "token_file") | ("token", "write_file" | "read_file") => {
                    Some((word, Some(value)))
                }
                _ => None,
            }
        }));
        found.extend(words(line.block.as_deref().unwrap_or_default()));
    }
    found
}

/// A path of the operator below the folder of the main file; absolute ones stay.
fn below(main: &str, path: &str) -> String {
    match main.rfind('/') {
        Some(slash) if !path.starts_with('/') => format!("{}{path}", &main[..=slash]),
        _ => path.to_owned(),
    }
}
