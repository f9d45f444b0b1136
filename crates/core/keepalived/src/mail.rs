//! `global_defs`: who is told by mail, and through which server.

use weir_model::Micros;
use weir_model::vrrp::Mail;

use crate::global::Defaults;
use crate::keyword::Action::Global;
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, Line};
use crate::scope::Scope;

/// The lines about mail, in any order.
#[derive(Debug, Default)]
pub(crate) struct MailDraft {
    to: Vec<String>,
    from: Option<String>,
    server: Option<String>,
    port: Option<u16>,
    timeout: Option<Micros>,
    helo: Option<String>,
    without_faults: bool,
}

impl MailDraft {
    /// Absent without a receiver.
    pub(crate) fn complete(&mut self) -> Option<Mail> {
        let draft = std::mem::take(self);
        if draft.to.is_empty() {
            return None;
        }
        Some(Mail {
            to: draft.to,
            from: draft.from,
            server: draft.server.unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: draft.port.unwrap_or(25),
            timeout: draft.timeout.unwrap_or(Micros::from_secs(30)),
            helo: draft.helo,
            faults: !draft.without_faults,
        })
    }
}

const G: Blocks = Blocks::GLOBAL;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::list("notification_email", G, "ADDRESS ...", "Who is told by mail.", Global(to)),
    Keyword::line("notification_email_from", G, (1, 1), "ADDRESS", "Who seems to write.", Global(from))
        .default("USER@HOST of the process"),
    Keyword::line("smtp_server", G, (1, 2), "HOST [PORT]", "The server that takes the mail.", Global(server))
        .default("127.0.0.1 25"),
    Keyword::line("smtp_helo_name", G, (1, 1), "NAME", "The name in its greeting.", Global(helo))
        .default("the host's name"),
    Keyword::line("smtp_connect_timeout", G, (1, 1), "SECONDS", "How long it may take.", Global(timeout))
        .default("30"),
    Keyword::flag("smtp_alert", G, "Instances and groups that say nothing send mail.", Global(alert)),
    Keyword::flag("smtp_alert_vrrp", G, "The same, and stronger than smtp_alert.", Global(alert_vrrp)),
    Keyword::flag("no_email_faults", G, "The change to FAULT sends no mail.", Global(no_faults)),
];

fn to(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.mail.to.extend(line.item_words().map(|word| word.text.clone()));
    if line.items().is_empty() {
        scope.warn(line.span(), "notification_email names nobody; no mail is sent");
    }
}

fn from(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.mail.from = line.text(0).map(str::to_owned);
}

fn server(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.mail.server = line.text(0).map(str::to_owned);
    if line.words().len() > 1 {
        defaults.mail.port = line.number(1, 1..=65535, "port 25 is used", scope);
    }
}

fn helo(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.mail.helo = line.text(0).map(str::to_owned);
}

fn timeout(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(seconds) = line.loose_number::<u64>(0, 0..=4294, IGNORED, scope) else { return };
    if seconds == 0 {
        scope.warn(line.span_of(0), "smtp_connect_timeout is at least 1 s; 1 is used");
    }
    defaults.mail.timeout = Some(Micros::from_secs(seconds.max(1)));
}

fn alert(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.smtp_alert = line.flag(scope).or(defaults.smtp_alert);
}

fn alert_vrrp(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.smtp_alert_vrrp = line.flag(scope).or(defaults.smtp_alert_vrrp);
}

fn no_faults(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(value) = line.unread_flag(scope) {
        defaults.mail.without_faults = value;
    }
}
