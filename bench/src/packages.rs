//! What the benchmark needs from Debian: nginx, haproxy and wrk. It installs only what is missing,
//! by name, and lets no packaged service start.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Debian asks this script before a package may start its service (exit 101: it may not).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Makes sure that each program is there; `programs` pairs its name with the package that has it.
pub(crate) fn ensure_installed(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        bail!(
            "missing: {}; install these packages, or run as root on Debian, where they are installed for you",
            missing.join(" ")
        );
    }
    eprintln!("installing {}", missing.join(" "));
    let ours = forbid_services()?;
    let installed = apt(&missing);
    if ours {
        fs::remove_file(POLICY).with_context(|| format!("cannot remove {POLICY} again"))?;
    }
    installed
}

/// True when the policy script was written here and must go again.
fn forbid_services() -> Result<bool> {
    match fs::OpenOptions::new().write(true).create_new(true).open(POLICY) {
        Ok(mut file) => {
            io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")?;
            file.set_permissions(fs::Permissions::from_mode(0o755))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
    }
}

fn apt(packages: &[&str]) -> Result<()> {
    let install = || {
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .context("cannot run apt-get")
    };
    if install()?.status.success() {
        return Ok(());
    }
    // Most often the lists are stale or were never read.
    Command::new("apt-get").args(["update", "--quiet"]).output().context("cannot run apt-get")?;
    let second = install()?;
    ensure!(
        second.status.success(),
        "apt-get install {} failed: {}",
        packages.join(" "),
        String::from_utf8_lossy(&second.stderr)
    );
    Ok(())
}

/// The program's file, looked for where the shell would and in the folders for root's programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(program))
        .find(|file| file.is_file())
}
