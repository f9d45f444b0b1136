//! `smtp_alert`: a mail for each change of state, by plain SMTP, in a thread of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, header};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message, SmtpTransport, Transport};
use weir_log::Level;
use weir_model::vrrp::{Mail, Vrrp};
use weir_vrrp::{Notice, NoticeState, Subject};

use super::writer::Log;

/// Letters that wait; more are dropped.
const WAITING: usize = 128;
/// How often a letter is tried.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// What a mail says, and to whom.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    settings: Arc<Mail>,
    subject: String,
    body: &'static str,
}

/// Turns notices into letters for the thread that sends them.
pub(super) struct Mailer {
    letters: SyncSender<Letter>,
    settings: Option<Arc<Mail>>,
    router_id: String,
    /// What was last mailed of each subject: the same state is not mailed twice.
    told: HashMap<Subject, NoticeState>,
    log: Log,
}

impl Mailer {
    /// Starts the thread; it ends, and drops `alive`, when the mailer is dropped, after a last try of each letter.
    pub(super) fn start(
        config: &Vrrp,
        router_id: String,
        host: String,
        log: Log,
        alive: Sender<()>,
    ) -> std::io::Result<Self> {
        let (letters, inbox) = sync_channel(WAITING);
        let post = Post { host, failing: false, log: log.clone() };
        thread::Builder::new().name("weir-mail".into()).spawn(move || {
            post.run(&inbox);
            drop(alive);
        })?;
        let mut mailer = Self { letters, settings: None, router_id, told: HashMap::new(), log };
        mailer.reload(config);
        Ok(mailer)
    }

    pub(super) fn reload(&mut self, config: &Vrrp) {
        self.settings = config.globals.mail.clone().map(Arc::new);
        if let Some(id) = &config.globals.router_id {
            self.router_id.clone_from(id);
        }
    }

    /// Sends what there is to tell; never waits.
    pub(super) fn push(&mut self, notice: &Notice) {
        let Some(settings) = self.settings.as_ref().filter(|_| notice.mail) else { return };
        let Some((what, body)) = words(&notice.subject, notice.state) else { return };
        let unwanted = notice.state == NoticeState::Fault && !settings.faults;
        if unwanted || self.told.insert(notice.subject.clone(), notice.state) == Some(notice.state) {
            return;
        }
        let (kind, name) = match &notice.subject {
            Subject::Instance(name) => ("Instance", name),
            Subject::Group(name) => ("Group", name),
        };
        let subject = format!("[{}] VRRP {kind} {name} - {what}", self.router_id);
        let letter = Letter { settings: settings.clone(), subject, body };
        if let Err(TrySendError::Full(letter) | TrySendError::Disconnected(letter)) =
            self.letters.try_send(letter)
        {
            self.log.say(Level::Error, format!("mail {:?} dropped: {WAITING} others wait", letter.subject));
        }
    }
}

/// keepalived's words for a state, in the subject and in the text; events have none.
fn words(subject: &Subject, state: NoticeState) -> Option<(&'static str, &'static str)> {
    let group = matches!(subject, Subject::Group(_));
    Some(match (state, group) {
        (NoticeState::Master, false) => {
            ("Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <=")
        }
        (NoticeState::Backup, false) => {
            ("Entering BACKUP state", "=> VRRP Instance is no longer owning VRRP VIPs <=")
        }
        (NoticeState::Fault, false) => {
            ("Entering FAULT state", "=> VRRP Instance is no longer owning VRRP VIPs <=")
        }
        (NoticeState::Stop, false) => ("Stopping", "=> VRRP Instance stopping <="),
        (NoticeState::Deleted, false) => ("Deleted", "=> VRRP Deleted at reload <="),
        (NoticeState::Master, true) => {
            ("Entering MASTER state", "=> All VRRP group instances are now in MASTER state <=")
        }
        (NoticeState::Backup, true) => {
            ("Entering BACKUP state", "=> All VRRP group instances are now in BACKUP state <=")
        }
        (NoticeState::Fault, true) => {
            ("Entering FAULT state", "=> All VRRP group instances are now in FAULT state <=")
        }
        (NoticeState::Stop, true) => ("Stopping", "=> All VRRP group instances are now stopping <="),
        _ => return None,
    })
}

/// The thread's side.
struct Post {
    host: String,
    /// The last try of a letter failed, and that was logged.
    failing: bool,
    log: Log,
}

impl Post {
    fn run(mut self, inbox: &Receiver<Letter>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match inbox.recv() {
                    Ok(letter) => waiting.push_back(letter),
                    Err(_) => return,
                }
            }
            let Some(letter) = waiting.pop_front() else { continue };
            self.deliver(&letter, inbox, &mut waiting);
        }
    }

    /// Tries a letter a few times. In the pauses others gather behind it.
    fn deliver(&mut self, letter: &Letter, inbox: &Receiver<Letter>, waiting: &mut VecDeque<Letter>) {
        let message = match message(letter, &self.host) {
            Ok(message) => message,
            Err(error) => return self.fail(letter, &error),
        };
        for attempt in 1..=TRIES {
            let error = match transport(letter, &self.host).send_raw(&message.0, &message.1) {
                Ok(_) => return self.succeed(),
                Err(error) => error,
            };
            if error.is_permanent() || attempt == TRIES || !gather(inbox, waiting) {
                return self.fail(letter, &said(&error));
            }
        }
    }

    fn succeed(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.log.say(Level::Notice, "mail is delivered again".into());
        }
    }

    /// The first failure of a row is told, and only that.
    fn fail(&mut self, letter: &Letter, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let Mail { server, port, .. } = &*letter.settings;
            let text =
                format!("mail {:?} not delivered by {server} port {port}, dropped: {why}", letter.subject);
            self.log.say(Level::Error, text);
        }
    }
}

/// Waits for the next try. `false`: everything ends, so there is no time for one.
fn gather(inbox: &Receiver<Letter>, waiting: &mut VecDeque<Letter>) -> bool {
    let end = Instant::now() + PAUSE;
    loop {
        match inbox.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(letter) => waiting.push_back(letter),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// An error with its cause, which is what the server said.
fn said(error: &lettre::transport::smtp::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.filter(|c| !error.to_string().ends_with(c.as_str())).unwrap_or_default())
}

fn transport(letter: &Letter, host: &str) -> SmtpTransport {
    let mail = &letter.settings;
    let name = mail.helo.clone().unwrap_or_else(|| host.to_owned());
    SmtpTransport::builder_dangerous(&mail.server)
        .port(mail.port)
        .hello_name(ClientId::Domain(name))
        .timeout(Some(mail.timeout.duration()))
        .build()
}

/// The envelope and the text with its headers: Date, From, Subject, X-Mailer, To.
fn message(letter: &Letter, host: &str) -> Result<(Envelope, Vec<u8>), String> {
    let mail = &letter.settings;
    let from = mail.from.clone().unwrap_or_else(|| format!("{}@{host}", user()));
    let from = address(&from)?;
    let to = mail.to.iter().map(|to| address(to)).collect::<Result<Vec<_>, _>>()?;
    let boxes: Mailboxes = to.iter().cloned().map(|to| Mailbox::new(None, to)).collect();
    let mailer = HeaderValue::new(HeaderName::new_from_ascii_str("X-Mailer"), "Weir".to_owned());
    let message = Message::builder()
        .date_now()
        .from(Mailbox::new(None, from.clone()))
        .mailbox(header::To::from(boxes))
        .subject(&letter.subject)
        .raw_header(mailer)
        .body(format!("{}\r\n", letter.body))
        .map_err(|e| e.to_string())?;
    let envelope = Envelope::new(Some(from), to).map_err(|e| e.to_string())?;
    Ok((envelope, message.formatted()))
}

fn address(text: &str) -> Result<Address, String> {
    // `Name <user@host>` is accepted as keepalived's files have it.
    let bare = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>')).trim();
    bare.parse().map_err(|e| format!("{text:?} is no mail address, expected user@host: {e}"))
}

/// Who runs this process, as a sender.
fn user() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned())
}

#[cfg(test)]
mod tests;
