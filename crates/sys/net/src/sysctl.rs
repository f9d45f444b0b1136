//! Kernel settings below /proc/sys. Those of `net/` are those of the calling thread's network namespace.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::errno_text;

/// Writes a setting, for example `net/ipv4/conf/eth0.100/arp_ignore`; the dots of an interface's name are its own.
pub fn write_sysctl(path_below_proc_sys: &str, value: &str) -> io::Result<()> {
    let path = full(path_below_proc_sys)?;
    // One write, and no file is made: /proc has what it has.
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
        io::Write::write_all(&mut file, value.as_bytes())
    };
    write().map_err(|e| failed(&format!("write \"{value}\" to"), &path, &e))
}

/// Reads a setting, without the line end.
pub fn read_sysctl(path_below_proc_sys: &str) -> io::Result<String> {
    let path = full(path_below_proc_sys)?;
    let text = std::fs::read_to_string(&path).map_err(|e| failed("read", &path, &e))?;
    Ok(text.trim_end().to_owned())
}

fn full(below: &str) -> io::Result<PathBuf> {
    let plain = Path::new(below).components().all(|c| matches!(c, Component::Normal(_)));
    if below.is_empty() || !plain {
        let text = format!("setting \"{below}\"; expected a path below /proc/sys without \"..\"");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(Path::new("/proc/sys").join(below))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {} failed ({})", path.display(), errno_text(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below() {
        for path in ["", "..", "/etc/passwd", "net/../../etc/passwd"] {
            let error = read_sysctl(path).expect_err("not a setting");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().starts_with(&format!("setting \"{path}\"; expected")), "{error}");
        }
    }

    #[test]
    fn errors_name_the_file() {
        let error = write_sysctl("net/ipv4/conf/no-such-interface/arp_ignore", "1").expect_err("not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "write \"1\" to /proc/sys/net/ipv4/conf/no-such-interface/arp_ignore failed \
             (2: No such file or directory)"
        );
    }

    #[test]
    fn settings_are_read() {
        assert_eq!(read_sysctl("kernel/ostype").expect("a setting"), "Linux");
    }
}
