//! `upsync_dump_path` in a folder that the worker may not write: the keeper writes it, and nothing but what it is meant for.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use weir_model::{Config, ListenAddress, Peer};

use crate::journal::Journal;

/// Bytes that a list of peers has at most.
const SIZE: u64 = 64 << 20;

/// Writes what a worker sent, if the configuration names the file and the content is a list of `server` lines: it is
/// included where this process reads it as root.
pub(super) fn write(path: &Path, files: Vec<OwnedFd>, config: &Config, journal: &Journal) {
    let upstreams = config.http.iter().flat_map(|http| &http.upstreams);
    let mut dumps =
        upstreams.flat_map(|upstream| &upstream.sources).filter_map(|source| source.dump.as_ref());
    if !dumps.any(|dump| Path::new(dump) == path) {
        return;
    }
    let written = content(files).and_then(|content| {
        weir_net::replace_file(path, content.as_bytes(), 0o644)
            .map_err(|error| weir_log::Errno(&error).to_string())
    });
    // A list may be large, and this process is small otherwise.
    weir_net::give_back_memory();
    if let Err(reason) = written {
        journal.say(weir_log::Level::Error, format_args!("cannot write {}: {reason}", path.display()));
    }
}

fn content(files: Vec<OwnedFd>) -> Result<String, String> {
    let file = files.into_iter().next().ok_or("the worker sent no content")?;
    let mut text = String::new();
    let read = File::from(file).take(SIZE).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    match text.lines().find(|line| !is_server(line)) {
        Some(line) => Err(format!("the worker sent {line:?}, expected server lines")),
        None if text.is_empty() || text.ends_with('\n') => Ok(text),
        None => Err("the worker sent a list that is too large or cut off".to_owned()),
    }
}

/// `server ADDRESS PARAMETER ...;` without anything that a grammar could read in another way.
fn is_server(line: &str) -> bool {
    let Some(words) = line.strip_prefix("server ").and_then(|line| line.strip_suffix(';')) else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .:[]=_-/%".contains(&byte);
    let mut words = words.bytes().all(plain).then(|| words.split(' ')).into_iter().flatten();
    let mut peer = Peer::new(ListenAddress::Unix(String::new()), "");
    words.next().is_some_and(|address| weir_config::server_address(address).is_ok())
        && words.all(|word| weir_config::server_parameter(&mut peer, word).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_server_lines_are_written() {
        assert!(is_server("server 127.0.0.1:80 weight=1 max_fails=2 fail_timeout=10s;"));
        assert!(is_server("server [::1]:80 weight=1 max_fails=2 fail_timeout=10s down backup;"));
        for wrong in [
            "include /etc/shadow;",
            "server 127.0.0.1:80; include x;",
            "server 127.0.0.1:80 weight=1",
            "server 127.0.0.1:80 nothing=1;",
            "server \"127.0.0.1:80\";",
            "server 127.0.0.1:80 { };",
            "",
        ] {
            assert!(!is_server(wrong), "{wrong}");
        }
    }
}
