//! Who may ask: addresses, passwords, subrequests, and where the client's address comes from.

use weir_model::Settings;
use weir_model::location::{AccessRule, Network};

use super::{choice, path_template};
use crate::address::Cidr;
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const HTTP: Directive = Directive { contexts: Contexts::HSL, ..Directive::NEW };
const RULE: Directive = Directive {
    module: "ngx_http_access_module",
    contexts: Contexts::HSL.or(Contexts::LIMIT_EXCEPT),
    repeat: true,
    syntax: "ADDRESS | CIDR | unix: | all",
    ..HTTP
};
const BASIC: Directive = Directive {
    module: "ngx_http_auth_basic_module",
    contexts: Contexts::HSL.or(Contexts::LIMIT_EXCEPT),
    ..HTTP
};
const REAL_IP: Directive = Directive { module: "ngx_http_realip_module", ..HTTP };
const REQUEST: Directive = Directive { module: "ngx_http_auth_request_module", ..HTTP };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "allow",
        doc: "Clients that are let in; the first of the allow and deny lines that matches decides.",
        action: Action::Setting(|settings, args, scope| rule(settings, args, scope, true)),
        ..RULE
    },
    Directive {
        name: "deny",
        doc: "Clients that are refused; the first of the allow and deny lines that matches decides.",
        action: Action::Setting(|settings, args, scope| rule(settings, args, scope, false)),
        ..RULE
    },
    Directive {
        name: "satisfy",
        module: "ngx_http_core_module",
        syntax: "all | any",
        default: "all",
        doc: "Whether all ways to control access must agree, or one is enough.",
        action: Action::Setting(|settings, args, _| {
            settings.access.satisfy_any = choice(args, 0, &["all", "any"])? == 1;
            Ok(())
        }),
        ..HTTP
    },
    Directive {
        name: "auth_delay",
        module: "ngx_http_core_module",
        syntax: "TIME",
        default: "0",
        doc: "The wait before a refusal with status 401.",
        action: set!(access.auth_delay, time),
        ..HTTP
    },
    Directive {
        name: "auth_basic",
        syntax: "REALM | off",
        default: "off",
        doc: "The realm for which a name and a password are asked.",
        action: Action::Setting(|settings, args, scope| {
            let realm = scope.template(args.word(0))?;
            settings.access.auth_basic = Some(realm).filter(|_| args.text(0) != "off");
            Ok(())
        }),
        ..BASIC
    },
    Directive {
        name: "auth_basic_user_file",
        syntax: "FILE",
        doc: "The file of names and hashed passwords.",
        action: Action::Setting(|settings, args, scope| {
            let full = scope.conf_path(args.text(0));
            settings.access.auth_basic_user_file = Some(path_template(args, args.text(0), &full, scope)?);
            Ok(())
        }),
        ..BASIC
    },
    Directive {
        name: "auth_request",
        syntax: "URI | off",
        default: "off",
        doc: "The URI of a subrequest whose status decides.",
        action: Action::Setting(|settings, args, _| {
            let uri = Some(args.text(0).to_owned());
            settings.access.auth_request = uri.filter(|uri| uri != "off" && !uri.is_empty());
            Ok(())
        }),
        ..REQUEST
    },
    Directive {
        name: "auth_request_set",
        arguments: Arity::Exactly(2),
        repeat: true,
        syntax: "$VARIABLE VALUE",
        doc: "A variable that is set when the subrequest is done.",
        action: Action::Setting(|settings, args, scope| {
            let variable = scope.variables.settable(args.word(0))?;
            let value = scope.template(args.word(1))?;
            if scope.first("auth_request_set") {
                settings.access.auth_request_set.clear();
            }
            settings.access.auth_request_set.push((variable, value));
            Ok(())
        }),
        ..REQUEST
    },
    Directive {
        name: "set_real_ip_from",
        repeat: true,
        syntax: "ADDRESS | CIDR | HOST | unix:",
        doc: "Proxies in front that are trusted to name the client.",
        action: Action::Setting(real_ip_from),
        ..REAL_IP
    },
    Directive {
        name: "real_ip_header",
        syntax: "FIELD | X-Real-IP | X-Forwarded-For | proxy_protocol",
        default: "X-Real-IP",
        doc: "The header field in which a trusted proxy names the client.",
        action: Action::Setting(|settings, args, _| {
            settings.access.real_ip.header = args.text(0).to_ascii_lowercase();
            Ok(())
        }),
        ..REAL_IP
    },
    Directive {
        name: "real_ip_recursive",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether trusted addresses at the end of the field are passed over.",
        action: set!(access.real_ip.recursive, flag),
        ..REAL_IP
    },
];

fn rule(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>, allow: bool) -> Result<(), Problem> {
    let who = match args.text(0) {
        "all" => Network::All,
        "unix:" => Network::Unix,
        text => match Cidr::parse(text) {
            Some(cidr) => network(cidr, args, scope),
            None => {
                let help = "an address, a network such as 10.0.0.0/8, unix: or all is expected";
                return Err(args.invalid_parameter(0).help(help));
            }
        },
    };
    if scope.first("allow and deny") {
        settings.access.rules.clear();
    }
    settings.access.rules.push(AccessRule { allow, who });
    Ok(())
}

fn network(cidr: Cidr, args: &Args<'_>, scope: &mut Scope<'_>) -> Network {
    if cidr.meaningless {
        let message = format!("low address bits of {} are meaningless", args.text(0));
        let help = format!("the network is {}/{}", cidr.address, cidr.bits);
        scope.warn(Problem::new(message).at(args.word(0).span).help(help));
    }
    Network::Net(cidr.address, cidr.bits)
}

fn real_ip_from(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.first("set_real_ip_from") {
        settings.access.real_ip.from.clear();
    }
    let from = &mut settings.access.real_ip.from;
    let text = args.text(0);
    if text == "unix:" {
        from.push(Network::Unix);
    } else if let Some(cidr) = Cidr::parse(text) {
        from.push(network(cidr, args, scope));
    } else {
        let what = format!(r#"set_real_ip_from "{text}""#);
        for address in scope.resolve(text, &what, args.word(0).span)? {
            from.push(Network::Net(address, if address.is_ipv4() { 32 } else { 128 }));
        }
    }
    Ok(())
}
