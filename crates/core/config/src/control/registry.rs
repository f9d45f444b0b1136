//! `registry`: the embedded registry with Consul's API.

use std::net::Ipv4Addr;

use weir_model::{ListenAddress, Process, Registry};
use weir_syntax::Directive as Node;

use super::{address, check_open, inet, span_of, tokens};
use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::lower::{Target, run};
use crate::scope::Scope;

const INSIDE: Directive = Directive { module: "weir", contexts: Contexts::REGISTRY, ..Directive::NEW };

/// Consul's ports of the HTTP API and of DNS.
const HTTP_PORT: u16 = 8500;
const DNS_PORT: u16 = 8600;

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "registry",
        contexts: Contexts::MAIN,
        arguments: Arity::None,
        block: true,
        doc: "Runs a registry of services and keys with Consul's API inside this process.",
        action: Action::Block(Block::Registry),
        ..INSIDE
    },
    Directive {
        name: "listen",
        repeat: true,
        syntax: "ADDRESS[:PORT] | PORT | unix:PATH",
        default: "127.0.0.1:8500",
        doc: "An address of the HTTP API; one that other machines reach needs a write token.",
        action: Action::Registry(|registry, args, scope| {
            registry.listen.extend(address(args, Some(HTTP_PORT), scope)?);
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "dns",
        repeat: true,
        syntax: "ADDRESS[:PORT] | PORT",
        doc: "An address at which names of services are answered, over UDP and TCP.",
        action: Action::Registry(|registry, args, scope| {
            registry.dns.extend(inet(args, Some(DNS_PORT), scope)?);
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "data",
        syntax: "FOLDER",
        default: "the folder registry below state_path",
        doc: "The folder of the database.",
        action: Action::Registry(|registry, args, scope| {
            registry.data = scope.path(args.text(0));
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "datacenter",
        syntax: "NAME",
        default: "dc1",
        doc: "The name of the datacenter.",
        action: Action::Registry(|registry, args, _| {
            let name = args.text(0);
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                return Err(args.invalid_value(0).help("lower case letters, digits, - and _ are expected"));
            }
            name.clone_into(&mut registry.datacenter);
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "node",
        syntax: "NAME",
        default: "the machine's name",
        doc: "The name of the node that has the services of this registry.",
        action: Action::Registry(|registry, args, _| {
            let name = args.text(0);
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                return Err(args.invalid_value(0).help("letters, digits, -, _ and . are expected"));
            }
            registry.node = Some(name.to_owned());
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "address",
        syntax: "ADDRESS",
        default: "127.0.0.1",
        doc: "The IP address of the node, for services that name none.",
        action: Action::Registry(|registry, args, _| {
            let text = args.text(0).trim_start_matches('[').trim_end_matches(']');
            registry.address =
                text.parse().map_err(|_| args.invalid_value(0).help("an IP address is expected"))?;
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "token",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "[write=TOKEN | write_file=FILE] [read=TOKEN | read_file=FILE]",
        doc: "What a client has to show to write, and to read; without one everybody who can connect may.",
        action: Action::Registry(|registry, args, scope| {
            tokens(&mut registry.write_token, &mut registry.read_token, args, scope)
        }),
        ..INSIDE
    },
    Directive {
        name: "ssl_certificate",
        syntax: "FILE",
        doc: "The certificate of the HTTP API in PEM, with those of its issuers.",
        action: Action::Registry(|registry, args, scope| {
            let path = readable(args, "certificate", scope)?;
            registry.tls.get_or_insert_default().0 = path;
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "ssl_certificate_key",
        syntax: "FILE",
        doc: "The key of the certificate in PEM.",
        action: Action::Registry(|registry, args, scope| {
            let path = readable(args, "certificate key", scope)?;
            registry.tls.get_or_insert_default().1 = path;
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "only_passing",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether DNS leaves out services with a warning, as it does critical ones.",
        action: Action::Registry(|registry, args, _| {
            registry.only_passing = args.flag(0)?;
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "dns_ttl",
        syntax: "TIME",
        default: "0s",
        doc: "How long a DNS answer may be kept.",
        action: Action::Registry(|registry, args, _| {
            registry.dns_ttl = args.time(0)?;
            Ok(())
        }),
        ..INSIDE
    },
];

fn readable(args: &Args<'_>, what: &str, scope: &Scope<'_>) -> Result<String, Problem> {
    crate::secret::readable(scope.conf_path(args.text(0)), what, args.word(0).span, scope)
}

/// Lowers the block. `process` has its `state_path` already.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node, process: &mut Process) {
    let mut registry = Registry::default();
    scope.enter();
    let body = node.block.as_deref().unwrap_or_default();
    run(scope, body, Contexts::REGISTRY, &mut Target::Registry(&mut registry));
    scope.leave();
    if registry.listen.is_empty() {
        registry.listen.push(ListenAddress::Inet((Ipv4Addr::LOCALHOST, HTTP_PORT).into()));
    }
    if registry.data.is_empty() {
        registry.data = format!("{}/registry", process.state_path.trim_end_matches('/'));
    }
    if let Some((certificate, key)) = &registry.tls {
        let half = match (certificate.as_str(), key.as_str()) {
            ("", key) => {
                Some(("ssl_certificate_key", format!(r#"no "ssl_certificate" is defined for key "{key}""#)))
            }
            (certificate, "") => Some((
                "ssl_certificate",
                format!(r#"no "ssl_certificate_key" is defined for certificate "{certificate}""#),
            )),
            _ => None,
        };
        if let Some((line, text)) = half {
            let problem = Problem::new(text).at(span_of(node, line));
            scope.error_at_end(node, problem);
        }
    }
    check_open(scope, node, &registry.listen, registry.write_token.as_ref(), "a registry");
    process.registry = Some(registry);
}
