//! The machine that a configuration is loaded on: its files, its resolver, its name.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weir_config::Environment;
use weir_syntax::Source;

use crate::load;

/// This host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// It is going to serve: the users that are named have to exist.
    Serving,
    /// A file is looked at here and may serve elsewhere.
    Looking,
}

impl Source for Machine {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = Vec::new();
        let absolute = pattern.starts_with('/');
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        descend(if absolute { "/" } else { "" }, &parts, &mut found);
        found.sort();
        found
    }

    fn is_executable(&self, path: &str) -> bool {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    }
}

impl weir_keepalived::Environment for Machine {
    fn routing_table(&self, name: &str) -> Option<u32> {
        let text = std::fs::read_to_string("/etc/iproute2/rt_tables").ok()?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let mut pairs = lines.filter_map(|line| line.split_once(char::is_whitespace));
        pairs.find(|(_, known)| known.trim() == name)?.0.trim().parse().ok()
    }
}

impl Environment for Machine {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for found in (host, 0).to_socket_addrs()? {
            if !addresses.contains(&found.ip()) {
                addresses.push(found.ip());
            }
        }
        Ok(addresses)
    }

    fn hostname(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().to_lowercase()
    }

    fn effective_uid(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn account(&self, user: &str, group: &str) -> Result<(), String> {
        if *self == Machine::Looking {
            return Ok(());
        }
        load::known_user(user)?;
        load::known_group(group).map(drop)
    }
}

/// What the grammar of keepalived.conf has to know of this host.
pub(crate) fn settings(config_id: Option<String>) -> weir_syntax::keepalived::Settings {
    weir_syntax::keepalived::Settings {
        config_id,
        node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        environment: std::env::vars().collect(),
    }
}

/// Adds the paths below `folder` that match the remaining parts of a pattern.
fn descend(folder: &str, parts: &[&str], found: &mut Vec<String>) {
    let Some((part, rest)) = parts.split_first() else {
        found.push(folder.to_owned());
        return;
    };
    let join = |name: &str| {
        if folder.is_empty() || folder.ends_with('/') {
            format!("{folder}{name}")
        } else {
            format!("{folder}/{name}")
        }
    };
    if !part.contains(['*', '?', '[']) {
        let path = join(part);
        if Path::new(&path).exists() {
            descend(&path, rest, found);
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { "." } else { folder }) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // As glob(3): a leading dot is matched by a dot only.
        if (!name.starts_with('.') || part.starts_with('.')) && matches(part, &name) {
            descend(&join(&name), rest, found);
        }
    }
}

/// Whether a name matches a pattern of `*`, `?`, `[a-z]` and `[!a-z]`.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the last star has to take one letter more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('[') => class(&pattern[p..], name[n]),
            Some('?') => Some(1),
            Some(letter) if *letter == name[n] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                n += 1;
            }
            (None, Some((after, taken))) => {
                p = after;
                n = taken + 1;
                star = Some((after, n));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

/// The width of a `[...]` at the start of the pattern, if it holds the letter.
fn class(pattern: &[char], letter: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let mut held = false;
    let mut at = first;
    while at < end {
        if at + 2 < end && pattern[at + 1] == '-' {
            held |= (pattern[at]..=pattern[at + 2]).contains(&letter);
            at += 3;
        } else {
            held |= pattern[at] == letter;
            at += 1;
        }
    }
    (held != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let yes = [
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a*b*c", "axxbyyc"),
            ("?.conf", "a.conf"),
            ("[0-9][!a]*", "1b"),
            ("[abc]", "c"),
            ("*a*", "banana"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        let no = [("*.conf", "a.conf~"), ("?", ""), ("[0-9]", "a"), ("[!a]", "a"), ("a", "ab"), ("[a", "a")];
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_found_in_order() {
        let dir = tempfile::tempdir().expect("a folder");
        let base = dir.path().to_str().expect("plain").to_owned();
        std::fs::create_dir(dir.path().join("sites")).expect("a folder inside");
        for name in ["b.conf", "a.conf", ".hidden.conf", "a.txt", "sites/x.conf"] {
            std::fs::write(dir.path().join(name), "").expect("write");
        }
        assert_eq!(
            Machine::Looking.glob(&format!("{base}/*.conf")),
            [format!("{base}/a.conf"), format!("{base}/b.conf")]
        );
        assert_eq!(Machine::Looking.glob(&format!("{base}/*/x.*")), [format!("{base}/sites/x.conf")]);
        assert!(Machine::Looking.glob(&format!("{base}/none/*.conf")).is_empty());
    }
}
