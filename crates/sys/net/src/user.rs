//! Users, groups and giving up root.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd;

/// An entry of the user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// login name
    pub name: String,
    /// user id
    pub uid: u32,
    /// id of the user's own group
    pub gid: u32,
    /// home directory
    pub home: PathBuf,
}

/// Looks a user up by name; `None`: there is no such user.
pub fn lookup_user(name: &str) -> io::Result<Option<User>> {
    let user = unistd::User::from_name(name)?;
    Ok(user.map(|u| User { name: u.name, uid: u.uid.as_raw(), gid: u.gid.as_raw(), home: u.dir }))
}

/// Looks a group's id up by name; `None`: there is no such group.
pub fn lookup_group(name: &str) -> io::Result<Option<u32>> {
    Ok(unistd::Group::from_name(name)?.map(|g| g.gid.as_raw()))
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Becomes `user` for good, with `gid` as group and the user's further groups; for all threads.
pub fn drop_privileges(user: &User, gid: u32) -> io::Result<()> {
    let name = CString::new(user.name.as_str()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let gid = unistd::Gid::from_raw(gid);
    unistd::initgroups(&name, gid)?;
    unistd::setgid(gid)?;
    unistd::setuid(unistd::Uid::from_raw(user.uid))?;
    Ok(())
}
