//! `auth_basic`: names and passwords from a file (RFC 7617).

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use weir_http::credentials::basic_credentials;
use weir_log::Errno;
use weir_model::Level;
use weir_model::location::Access;

use super::{Verdict, password};
use crate::exchange::Exchange;

pub(super) async fn check(exchange: &mut Exchange<'_>, access: &Access) -> Verdict {
    let (Some(realm), Some(file)) = (&access.auth_basic, &access.auth_basic_user_file) else {
        return Verdict::Skip;
    };
    let realm = exchange.evaluate(|request, scope, _| request.expanded(scope, realm));
    if realm == b"off" {
        return Verdict::Skip;
    }
    let credentials = basic_credentials(exchange.request.header("authorization"));
    let Some((user, given)) = credentials.filter(|(user, _)| !user.is_empty()) else {
        exchange.log(Level::Info, format_args!("no user/password was provided for basic authentication"));
        return ask(exchange, &realm);
    };
    let file = exchange.evaluate(|request, scope, _| request.expanded(scope, file));
    let path = Path::new(std::ffi::OsStr::from_bytes(&file));
    let shown = String::from_utf8_lossy(&user).into_owned();
    // Read for each request, so that a change needs no reload.
    let known = match std::fs::read(path) {
        Ok(known) => known,
        Err(error) => {
            let missing = error.kind() == ErrorKind::NotFound;
            let level = if missing { Level::Error } else { Level::Crit };
            exchange.log(level, format_args!("open() \"{}\" failed {}", path.display(), Errno(&error)));
            return Verdict::Refuse(if missing { 403 } else { 500 });
        }
    };
    let Some(stored) = find(&known, &user) else {
        exchange.log(Level::Error, format_args!("user \"{shown}\" was not found in \"{}\"", path.display()));
        return ask(exchange, &realm);
    };
    let stored = stored.to_vec();
    let matches = if password::is_quick(&stored) {
        Ok(password::verify(&stored, &given))
    } else {
        // Hashes that are slow on purpose would hold up every other connection of the thread.
        tokio::task::spawn_blocking(move || password::verify(&stored, &given)).await
    };
    match matches {
        Ok(true) => {
            exchange.request.remote_user = Some(user);
            Verdict::Allow
        }
        Ok(false) => {
            exchange.log(Level::Error, format_args!("user \"{shown}\": password mismatch"));
            ask(exchange, &realm)
        }
        Err(error) => {
            exchange
                .log(Level::Crit, format_args!("user \"{shown}\": the password was not checked: {error}"));
            Verdict::Refuse(500)
        }
    }
}

fn ask(exchange: &mut Exchange<'_>, realm: &[u8]) -> Verdict {
    let mut value = b"Basic realm=\"".to_vec();
    value.extend_from_slice(realm);
    value.push(b'"');
    exchange.request.answer.push(b"WWW-Authenticate", &value);
    Verdict::Refuse(401)
}

/// The stored password of a user: `name:password` or `name:password:comment` lines, `#` before a comment.
fn find<'f>(file: &'f [u8], user: &[u8]) -> Option<&'f [u8]> {
    let rest = file
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.starts_with(b"#"))
        .find_map(|line| line.strip_prefix(user)?.strip_prefix(b":"))?;
    rest.split(|byte| matches!(byte, b':' | b'\r')).next()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let file = b"# comment\n#root:x\n\r\nbob:one\nbobby:two:Bobby Tables\r\nann:three\r\nlast:four";
        assert_eq!(find(file, b"bob"), Some(&b"one"[..]));
        assert_eq!(find(file, b"bobby"), Some(&b"two"[..]));
        assert_eq!(find(file, b"ann"), Some(&b"three"[..]));
        assert_eq!(find(file, b"last"), Some(&b"four"[..]));
        assert_eq!(find(file, b"bo"), None);
        assert_eq!(find(file, b"#root"), None);
    }
}
