//! How a store is reached: endpoints, token, TLS.

use weir_model::source::ClientTls;
use weir_model::{Endpoint, Secret, Store};

use crate::address::Authority;
use crate::args::Args;
use crate::directive::Problem;
use crate::scope::Scope;
use crate::secret;

/// The parameters that [`Access`] takes.
pub(super) const PARAMETERS: [&str; 6] =
    ["token=", "token_file=", "ca=", "certificate=", "certificate_key=", "server_name="];

/// What the parameters of a line say about the way to a store.
#[derive(Default)]
pub(super) struct Access {
    token: Option<Secret>,
    ca: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    server_name: Option<String>,
    /// The first parameter that is of use with TLS only.
    tls: Option<usize>,
    /// The first parameter.
    any: Option<usize>,
}

impl Access {
    /// Takes word `i` when it is one of [`PARAMETERS`].
    pub(super) fn take(&mut self, args: &Args<'_>, i: usize, scope: &Scope<'_>) -> Result<bool, Problem> {
        let Some((key, value)) = args.text(i).split_once('=') else { return Ok(false) };
        let span = args.word(i).span;
        let file = || secret::readable(scope.conf_path(value), "certificate", span, scope);
        if key.starts_with("token") && self.token.is_some() {
            return Err(Problem::new("a token is given twice").at(span));
        }
        let duplicate = match key {
            "token" => self.token.replace(secret::token(value, span)?).is_some(),
            "token_file" => self.token.replace(secret::token_file(value, span, scope)?).is_some(),
            "ca" => self.ca.replace(file()?).is_some(),
            "certificate" => self.certificate.replace(file()?).is_some(),
            "certificate_key" => {
                let path = secret::readable(scope.conf_path(value), "certificate key", span, scope)?;
                self.key.replace(path).is_some()
            }
            "server_name" if value.is_empty() => return Err(args.invalid_parameter(i)),
            "server_name" => self.server_name.replace(value.to_owned()).is_some(),
            _ => return Ok(false),
        };
        if duplicate {
            return Err(args.invalid_parameter(i).help("it stands twice on this line"));
        }
        self.any.get_or_insert(i);
        if !key.starts_with("token") {
            self.tls.get_or_insert(i);
        }
        Ok(true)
    }

    /// For sources that are no store.
    pub(super) fn none(&self, args: &Args<'_>) -> Result<(), Problem> {
        match self.any {
            Some(i) => Err(invalid(args, i).help("this source has neither token nor certificate")),
            None => Ok(()),
        }
    }

    pub(super) fn store(self, endpoints: Endpoints, args: &Args<'_>) -> Result<Store, Problem> {
        let Endpoints { list, tls } = endpoints;
        if let Some(i) = self.tls.filter(|_| !tls) {
            return Err(args.invalid_parameter(i).help("TLS is spoken to a store behind https:// only"));
        }
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(certificate), None) => {
                let text = format!(r#"no "certificate_key" is defined for certificate "{certificate}""#);
                return Err(Problem::new(text));
            }
            (None, Some(key)) => {
                return Err(Problem::new(format!(r#"no "certificate" is defined for key "{key}""#)));
            }
        };
        let tls = tls.then_some(ClientTls { ca: self.ca, identity, server_name: self.server_name });
        Ok(Store { endpoints: list, token: self.token, tls })
    }
}

/// `invalid parameter "key="`: the value may be a token, and messages go to logs.
pub(super) fn invalid(args: &Args<'_>, i: usize) -> Problem {
    let text = args.text(i);
    let key = text.find('=').map_or(text, |equals| &text[..=equals]);
    Problem::new(format!(r#"invalid parameter "{key}""#)).at(args.word(i).span)
}

/// The same with the parameters that are known.
pub(super) fn unknown(args: &Args<'_>, i: usize, known: &[&str]) -> Problem {
    Problem { message: invalid(args, i).message, ..args.unknown_parameter(i, known) }
}

/// Where a store answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) list: Vec<Endpoint>,
    /// Behind `https://`.
    pub(super) tls: bool,
}

/// The ports of a store that names none, without and with TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports(pub(super) u16, pub(super) u16);

/// Takes the scheme off.
pub(super) fn scheme(text: &str) -> (bool, &str) {
    match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://").unwrap_or(text)),
    }
}

impl Endpoints {
    /// `HOST[:PORT][,HOST[:PORT]...]`, `registry`, `unix:PATH`, behind an optional scheme. The error is nginx's words
    /// without the place.
    pub(super) fn parse(text: &str, ports: Ports) -> Result<Self, &'static str> {
        let (tls, text) = scheme(text);
        Self::list(text, tls, ports)
    }

    /// The same behind the scheme.
    pub(super) fn list(text: &str, tls: bool, ports: Ports) -> Result<Self, &'static str> {
        let port = if tls { ports.1 } else { ports.0 };
        let list = text.split(',').map(|one| endpoint(one, port)).collect::<Result<Vec<_>, _>>()?;
        if tls && list.iter().any(|one| !matches!(one, Endpoint::Host { .. })) {
            return Err("TLS towards this machine itself (leave https:// out)");
        }
        Ok(Self { list, tls })
    }
}

/// An address without the user and password that somebody put before it.
pub(super) fn shown(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

fn endpoint(text: &str, port: u16) -> Result<Endpoint, &'static str> {
    if text.contains('@') {
        return Err("user and password (they are written token=USER:PASSWORD)");
    }
    if text == "registry" {
        return Ok(Endpoint::Embedded);
    }
    Ok(match Authority::parse(text, false)? {
        Authority::Unix { path, .. } if path.starts_with('/') => Endpoint::Unix(path.to_owned()),
        Authority::Unix { .. } => return Err("relative path of the unix domain socket"),
        Authority::Inet { host, port: named, .. } => {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Endpoint::Host { host, port: named.unwrap_or(port) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let host = |host: &str, port| Endpoint::Host { host: host.to_owned(), port };
        let parse = |text| Endpoints::parse(text, Ports(8500, 8501));
        let plain = |list| Ok(Endpoints { list, tls: false });
        assert_eq!(parse("consul.test"), plain(vec![host("consul.test", 8500)]));
        assert_eq!(parse("[::1]:81,10.0.0.1"), plain(vec![host("::1", 81), host("10.0.0.1", 8500)]));
        assert_eq!(parse("registry,http"), plain(vec![Endpoint::Embedded, host("http", 8500)]));
        assert_eq!(parse("unix:/run/c.sock"), plain(vec![Endpoint::Unix("/run/c.sock".to_owned())]));
        assert_eq!(parse("https://a.test"), Ok(Endpoints { list: vec![host("a.test", 8501)], tls: true }));
        assert_eq!(parse("a.test,"), Err("no host"));
        assert_eq!(parse("unix:c.sock"), Err("relative path of the unix domain socket"));
        assert_eq!(parse("https://registry"), Err("TLS towards this machine itself (leave https:// out)"));
    }
}
