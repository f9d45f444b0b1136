//! The address of a server, and where its parts stand in commands.

use std::net::IpAddr;

/// `host:port`, of characters that mean nothing to a shell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    /// Both, as the store has them.
    pub(crate) text: &'a str,
    /// Without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

impl<'a> Address<'a> {
    /// # Errors
    /// It is none, or has characters that a command must not get.
    pub(crate) fn new(text: &'a str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no address of a server; expected HOST:PORT of letters, digits and .-_ as 10.0.0.1:8080"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(bare) if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => bare,
            Some(_) => return Err(wrong()),
            None => host,
        };
        let is_v6 = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (is_v6 && c == ':');
        if host.is_empty() || host.starts_with('-') || !host.chars().all(safe) {
            return Err(wrong());
        }
        Ok(Self { text, host, port })
    }

    /// `{server}`, `{host}` and `{port}` of a command, a host or a name are exchanged.
    pub(crate) fn fill(&self, template: &str) -> String {
        self.filled(template, self.host)
    }

    /// The same for a URL, where an IPv6 address stands in brackets.
    pub(crate) fn fill_url(&self, template: &str) -> String {
        self.filled(template, &bracketed(self.host))
    }

    fn filled(&self, template: &str, host: &str) -> String {
        template
            .replace("{server}", self.text)
            .replace("{host}", host)
            .replace("{port}", &self.port.to_string())
    }
}

/// A host as it stands before a port.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_address_stand_in_templates() {
        let address = Address::new("10.0.0.1:8080").expect("an address");
        assert_eq!(address.fill("run {server} on {host} at {port}"), "run 10.0.0.1:8080 on 10.0.0.1 at 8080");
        let address = Address::new("[2001:db8::1]:80").expect("an address");
        assert_eq!(address.fill("root@{host}"), "root@2001:db8::1");
        assert_eq!(address.fill_url("tcp://{host}:2375"), "tcp://[2001:db8::1]:2375");
    }

    #[test]
    fn what_a_shell_would_understand_is_no_address() {
        for text in [
            "a;b:80",
            "$(id):80",
            "-oProxyCommand=x:80",
            "a b:80",
            ":80",
            "a",
            "a:b",
            "a:70000",
            "[a]:80",
            "a:b:80",
        ] {
            let error = Address::new(text).expect_err("no address");
            assert!(error.contains("is no address of a server; expected HOST:PORT"), "{text}: {error}");
        }
    }
}
