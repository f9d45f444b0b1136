//! `virtual_server` and what belongs to it, BFD and SSL: known by name, without effect.

use crate::keyword::Action::{Later, WithoutEffect};
use crate::keyword::{Action, Blocks, Keyword};

const R: Blocks = Blocks::ROOT;
const VS: Blocks = Blocks::VIRTUAL_SERVER;
const RS: Blocks = Blocks::REAL_SERVER;
const C: Blocks = Blocks::CHECKER;
const U: Blocks = Blocks::URL;
const H: Blocks = Blocks::HOST;
const B: Blocks = Blocks::BFD;
const S: Blocks = Blocks::SSL;
const BOTH: Blocks = VS.or(RS);

const BALANCE: Action = Later("this version does not balance packets yet");
const BFD: Action = WithoutEffect("Weir does not speak BFD");

const fn any(name: &'static str, blocks: Blocks, doc: &'static str) -> Keyword {
    Keyword::line(name, blocks, (0, usize::MAX), "...", doc, BALANCE)
}

const fn checker(name: &'static str, doc: &'static str) -> Keyword {
    Keyword::block(name, RS, (0, 0), C, "", doc, BALANCE)
}

const fn bfd(name: &'static str, doc: &'static str) -> Keyword {
    Keyword::line(name, B, (0, usize::MAX), "...", doc, BFD)
}

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::block(
        "virtual_server",
        R,
        (1, 3),
        VS,
        "ADDRESS [PORT] | fwmark N | group NAME",
        "A service of which packets are balanced.",
        BALANCE,
    ),
    Keyword::block("real_server", VS, (1, 2), RS, "ADDRESS [PORT]", "A server of the service.", BALANCE),
    Keyword::block(
        "virtual_server_group",
        R,
        (1, 1),
        Blocks::NONE,
        "NAME",
        "Addresses of one service.",
        BALANCE,
    ),
    Keyword::block("SSL", R, (0, 0), S, "", "The certificate of SSL_GET.", BALANCE),
    Keyword::line("net_namespace_ipvs", R, (1, 1), "NAME", "The network namespace of LVS.", BALANCE),
    any("password", S, "The password of the key."),
    any("ca", S, "The file of authorities."),
    any("certificate", S, "The file of the certificate."),
    any("key", S, "The file of the key."),
    any("delay_loop", BOTH, "Time between two checks."),
    any("lb_algo", VS, "The scheduler."),
    any("lvs_sched", VS, "The scheduler."),
    any("lb_kind", VS, "How packets are sent on."),
    any("lvs_method", BOTH, "How packets are sent on."),
    any("protocol", VS, "TCP, UDP or SCTP."),
    any("ip_family", VS, "inet or inet6."),
    any("persistence_timeout", VS, "How long a client keeps its server."),
    any("persistence_granularity", VS, "Which clients count as one."),
    any("persistence_engine", VS, "How clients are told apart."),
    any("sorry_server", VS, "Who answers when no server does."),
    any("sorry_server_inhibit", VS, "It stays with weight 0."),
    any("sorry_server_lvs_method", VS, "How packets are sent to it."),
    any("ha_suspend", VS, "Checks run on the master alone."),
    any("ops", VS, "Every packet is scheduled."),
    any("hashed", VS, "A mark of the service."),
    any("flag-1", VS, "A flag of the scheduler."),
    any("flag-2", VS, "A flag of the scheduler."),
    any("flag-3", VS, "A flag of the scheduler."),
    any("sh-port", VS, "A flag of the scheduler."),
    any("sh-fallback", VS, "A flag of the scheduler."),
    any("mh-port", VS, "A flag of the scheduler."),
    any("mh-fallback", VS, "A flag of the scheduler."),
    any("alpha", BOTH.or(C), "Servers start as failed."),
    any("omega", VS, "Servers are told to be down at the stop."),
    any("quorum", VS, "The least weight of live servers."),
    any("hysteresis", VS, "How far above it has to be."),
    any("quorum_up", VS, "Runs when it is reached."),
    any("quorum_down", VS, "Runs when it is lost."),
    any("weight", BOTH, "The share of a server."),
    any("inhibit_on_failure", BOTH, "A failed server stays with weight 0."),
    any("virtualhost", BOTH.or(C).or(U), "The host of a request."),
    any("smtp_alert", BOTH, "Changes are told by mail."),
    any("snmp_name", BOTH, "The name in SNMP."),
    any("retry", BOTH.or(C), "Tries before a failure."),
    any("delay_before_retry", BOTH.or(C), "Time between them."),
    any("warmup", BOTH.or(C), "Time before the first one."),
    any("connect_timeout", BOTH.or(C).or(H), "Time to connect."),
    any("uthreshold", RS, "Most connections."),
    any("lthreshold", RS, "Connections below which it gets more."),
    any("notify_up", RS, "Runs when it is up."),
    any("notify_down", RS, "Runs when it is down."),
    checker("TCP_CHECK", "Connects."),
    checker("UDP_CHECK", "Sends a packet."),
    checker("HTTP_GET", "Asks for a page."),
    checker("SSL_GET", "Asks for a page with TLS."),
    checker("SMTP_CHECK", "Speaks SMTP."),
    checker("DNS_CHECK", "Asks for a name."),
    checker("MISC_CHECK", "Runs a script."),
    checker("BFD_CHECK", "Looks at a BFD session."),
    checker("PING_CHECK", "Sends a ping."),
    checker("FILE_CHECK", "Looks at a number in a file."),
    Keyword::block("url", C, (0, 0), U, "", "A page.", BALANCE),
    Keyword::block("host", C, (0, 0), H, "", "A server to ask.", BALANCE),
    any("path", U, "Its path."),
    any("digest", U, "The digest of its content."),
    any("status_code", U, "The expected codes."),
    any("regex", U, "A pattern of the content."),
    any("regex_no_match", U, "The pattern must not match."),
    any("regex_options", U, "Options of the pattern."),
    any("regex_max_offset", U, "Where it may end."),
    any("regex_min_offset", U, "Where it may start."),
    any("regex_stack", U, "Memory of the pattern."),
    any("tls_compliant", C.or(U), "TLS has to end properly."),
    any("connect_ip", C.or(H), "The address to connect to."),
    any("connect_port", C.or(H), "The port to connect to."),
    any("bindto", C.or(H), "The source address."),
    any("bind_if", C.or(H), "The interface."),
    any("bind_port", C.or(H), "The source port."),
    any("fwmark", C.or(H), "The mark of packets."),
    any("nb_get_retry", C, "The old name of retry."),
    any("http_protocol", C, "The version of HTTP."),
    any("enable_sni", C, "TLS names the host."),
    any("sni_name", C, "The host that it names."),
    any("fast_recovery", C, "One page is enough to be up."),
    any("helo_name", C, "The name in the greeting."),
    any("type", C, "The type of the record."),
    any("name", C, "The name that is asked for."),
    any("misc_path", C, "The script."),
    any("misc_timeout", C, "How long it has."),
    any("misc_dynamic", C, "Its exit code is the weight."),
    any("user", C, "Who runs it."),
    any("payload", C, "What is sent."),
    any("require_reply", C, "What has to come back."),
    any("min_reply_length", C, "The least that has to come back."),
    any("max_reply_length", C, "The most that may come back."),
    any("log_all_failures", C.or(RS), "Every failure is logged."),
    any("track_file", C, "The file."),
    any("weight", C, "What its number is multiplied with."),
    Keyword::block("bfd_instance", R, (1, 1), B, "NAME", "A BFD session.", BFD),
    bfd("neighbor_ip", "The other end."),
    bfd("neighbour_ip", "The other end."),
    bfd("source_ip", "This end."),
    bfd("min_rx", "Least time between packets in."),
    bfd("min_tx", "Least time between packets out."),
    bfd("idle_tx", "Time between packets while it is down."),
    bfd("multiplier", "Packets missed before it is down."),
    bfd("passive", "The other end starts."),
    bfd("ttl", "The hop limit out."),
    bfd("hoplimit", "The hop limit out."),
    bfd("max_hops", "How far packets may have come."),
    bfd("multihop", "The other end is further away."),
    bfd("weight", "What it adds to the priority."),
    bfd("vrrp", "VRRP alone looks at it."),
    bfd("checker", "Checkers alone look at it."),
];
