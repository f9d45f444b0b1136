//! `no_accept` and strict mode: packets to the addresses are dropped, neighbour discovery apart (RFC 9568 section 6.4.3
//! (650): a master that does not own an address must not accept packets to it).

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use weir_model::vrrp::{Instance, Vrrp};

/// The rules are there as long as the process, not as long as a mastership: a node that is backup does not have the
/// addresses, so there is nothing to drop.
pub(crate) fn put(config: &Vrrp) -> Result<(), String> {
    if !has_rules(config) {
        return Ok(());
    }
    nft(&script(config))
}

/// Whether an instance refuses packets to its addresses.
fn has_rules(config: &Vrrp) -> bool {
    config.instances.iter().any(refuses)
}

/// Whether there is nothing of `old` that `new` does not have: no table, or the same one.
pub(crate) fn is_kept(old: &Vrrp, new: &Vrrp) -> bool {
    !has_rules(old) || (has_rules(new) && table(old) == table(new))
}

/// Removes the table.
pub(crate) fn remove(config: &Vrrp) -> Result<(), String> {
    nft(&format!("table inet {0}\ndelete table inet {0}\n", table(config)))
}

fn refuses(instance: &Instance) -> bool {
    !instance.accept && !instance.is_owner()
}

fn table(config: &Vrrp) -> &str {
    config.globals.nftables_table.as_deref().unwrap_or("weir_vrrp")
}

/// The whole table in one transaction, so that there is no moment without it.
fn script(config: &Vrrp) -> String {
    let table = table(config);
    let addresses = || {
        let instances = config.instances.iter().filter(|one| refuses(one));
        instances.flat_map(|one| one.addresses.iter().chain(&one.excluded)).map(|one| one.address)
    };
    let list = |wanted: fn(&IpAddr) -> bool| {
        addresses().filter(wanted).map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (v4, v6) = (list(IpAddr::is_ipv4), list(IpAddr::is_ipv6));
    let mut text = format!("table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
    text.push_str("  chain in {\n    type filter hook input priority -1; policy accept;\n");
    if !v6.is_empty() {
        let kinds = "nd-neighbor-solicit, nd-neighbor-advert";
        let _ = writeln!(text, "    ip6 daddr {{ {v6} }} icmpv6 type {{ {kinds} }} accept");
        let _ = writeln!(text, "    ip6 daddr {{ {v6} }} drop");
    }
    if !v4.is_empty() {
        let _ = writeln!(text, "    ip daddr {{ {v4} }} drop");
    }
    text.push_str("  }\n}\n");
    text
}

fn nft(script: &str) -> Result<(), String> {
    let advice = "no_accept is not enforced: packets to the addresses are accepted";
    let started = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{advice}; the program nft was not found; install the package nftables")
        }
        _ => format!("{advice}; nft does not start: {error}"),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // What nft does not read it complains of itself.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("{advice}; nft: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{advice}; nft says: {}", text.lines().next().unwrap_or("nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::vrrp::Address;

    fn instance(name: &str, address: &str, accept: bool) -> Instance {
        let mut instance = Instance::new(name, "eth0", 1);
        instance.addresses.push(Address::new(address.parse().expect("an address")));
        instance.accept = accept;
        instance
    }

    #[test]
    fn only_refusing_instances_have_rules() {
        let mut config = Vrrp { instances: vec![instance("a", "192.0.2.1", true)], ..Vrrp::default() };
        assert!(!has_rules(&config));
        config.instances.push(instance("b", "192.0.2.2", false));
        config.instances.push(instance("c", "2001:db8::3", false));
        assert!(has_rules(&config));
        let text = script(&config);
        assert!(text.contains("ip daddr { 192.0.2.2 } drop"), "{text}");
        assert!(text.contains("ip6 daddr { 2001:db8::3 } drop"), "{text}");
        assert!(!text.contains("192.0.2.1"), "{text}");
    }

    #[test]
    fn a_table_of_another_name_does_not_stay() {
        let config = Vrrp { instances: vec![instance("a", "192.0.2.1", false)], ..Vrrp::default() };
        let mut renamed = config.clone();
        renamed.globals.nftables_table = Some("edge".to_owned());
        assert!(is_kept(&config, &config));
        assert!(!is_kept(&config, &renamed));
        assert!(!is_kept(&config, &Vrrp::default()));
        assert!(is_kept(&Vrrp::default(), &config));
    }

    #[test]
    fn an_owner_accepts() {
        let mut owner = instance("a", "192.0.2.1", false);
        owner.priority = Instance::OWNER;
        assert!(!has_rules(&Vrrp { instances: vec![owner], ..Vrrp::default() }));
    }
}
