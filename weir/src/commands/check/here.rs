//! This machine as the rules ask about it.

use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use weir_lint::ScriptFault;
use weir_model::vrrp::{Globals, Script};
use weir_netlink::Netlink;

/// Interfaces and addresses as they were when the command began.
pub(crate) struct Here {
    interfaces: Vec<String>,
    addresses: Vec<IpAddr>,
    name: String,
}

impl Here {
    /// Absent where the kernel does not say what it has.
    pub(crate) fn look() -> Option<Self> {
        let mut netlink = Netlink::open().ok()?;
        let interfaces = netlink.links().ok()?.into_iter().map(|link| link.name).collect();
        let addresses = netlink.addresses().ok()?.into_iter().map(|one| one.address).collect();
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Some(Self { interfaces, addresses, name })
    }
}

impl weir_lint::Machine for Here {
    fn has_interface(&self, name: &str) -> bool {
        self.interfaces.iter().any(|interface| interface == name)
    }

    fn has_address(&self, address: &IpAddr) -> bool {
        self.addresses.contains(address)
    }

    fn host_name(&self) -> &str {
        &self.name
    }

    fn is_readable_by_all(&self, path: &str) -> bool {
        // The folders above decide as well; a file that is open to all is worth a word all the same.
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.mode() & 0o004 != 0)
    }

    fn script(&self, script: &Script, globals: &Globals) -> Result<(), ScriptFault> {
        let name = script.argv.first().map_or("", String::as_str);
        // `<FILE`: the shell opens it.
        if name.starts_with('<') {
            return Ok(());
        }
        let unusable = |text: String| Err(ScriptFault::Unusable(text));
        let Some(path) = find(name) else {
            return unusable(format!("{name} is in no folder of PATH; write its full path"));
        };
        let file = match std::fs::metadata(&path) {
            Ok(file) => file,
            Err(error) => return unusable(format!("{name}: {error}")),
        };
        if !is_program(&file) {
            return unusable(format!("{name} is no executable file"));
        }
        match open_part(&path) {
            None => Ok(()),
            Some(part) if globals.enable_script_security => unusable(format!(
                "enable_script_security forbids to run {name} as root: {} is writable by everybody",
                part.display()
            )),
            Some(part) => Err(ScriptFault::Exposed(format!(
                "everybody can change what {name} does: {} is writable by everybody",
                part.display()
            ))),
        }
    }
}

fn is_program(file: &Metadata) -> bool {
    file.is_file() && file.mode() & 0o111 != 0
}

/// The file of a name: bare ones are looked up in `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.into_iter().find(|file| std::fs::metadata(file).is_ok_and(|file| is_program(&file)))
}

/// The part of a path that everybody can write. A folder where only owners may remove files is safe.
fn open_part(path: &Path) -> Option<PathBuf> {
    let real = std::fs::canonicalize(path).ok()?;
    let part = real.ancestors().find(|part| {
        std::fs::metadata(part)
            .is_ok_and(|meta| meta.mode() & 0o002 != 0 && !(meta.is_dir() && meta.mode() & 0o1000 != 0))
    });
    part.map(Path::to_owned)
}
