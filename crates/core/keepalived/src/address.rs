//! A line of `virtual_ipaddress`, `virtual_ipaddress_excluded` or `static_ipaddress`.

use std::net::IpAddr;

use weir_model::vrrp::{Address, Broadcast, Family};
use weir_syntax::keepalived::Statement;
use weir_syntax::{Span, Word};

use crate::line::{self, INTERFACE_LEN};
use crate::names;
use crate::scope::Scope;

/// The bits of an address of a family.
pub(crate) const fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `ADDRESS[/LENGTH]`; the second one is absent when there is no length, or one that is none, which is noted. `None` is
/// no address.
pub(crate) fn prefix(word: &Word, scope: &mut Scope<'_>) -> Option<(IpAddr, Option<u8>)> {
    let Some((address, length)) = word.text.split_once('/') else {
        return Some((word.text.parse().ok()?, None));
    };
    let address: IpAddr = address.parse().ok()?;
    let most = bits(&address);
    let read = length.parse().ok().filter(|read| *read <= most && !length.starts_with('+'));
    if read.is_none() {
        scope.warn(word.span, format!("{length:?} is no prefix length of {address}; {most} is used"));
    }
    Some((address, read))
}

/// A line as it is read.
struct Reading<'a, 's, 'e> {
    words: std::slice::Iter<'a, Word>,
    /// The first word, for messages.
    name: &'a str,
    span: Span,
    address: Address,
    /// `brd +` or `brd -`, which depend on the length.
    broadcast: Option<&'a Word>,
    preferred: bool,
    track_group: Option<&'a Word>,
    scope: &'s mut Scope<'e>,
}

/// What a line says, with the track group of a static address.
pub(crate) struct Line<'a> {
    pub(crate) address: Address,
    pub(crate) track_group: Option<&'a Word>,
}

/// The words that may follow an address.
const OPTIONS: &str = "dev, scope, brd, broadcast, label, peer, home, -nodad, mngtmpaddr, noprefixroute, autojoin, \
                       no_track, preferred_lft";

/// Reads a line; what makes keepalived leave the address out makes it absent.
pub(crate) fn read<'a>(item: &'a Statement, is_static: bool, scope: &mut Scope<'_>) -> Option<Line<'a>> {
    let Some((address, length)) = prefix(&item.name, scope) else {
        let message = format!("{:?} is no IP address; it is ignored", item.name.text);
        scope.advise(item.name.span, message, "it is written: ADDRESS[/LENGTH] [OPTION ...]");
        return None;
    };
    let mut plain = Address::new(address);
    plain.prefix_len = length.unwrap_or(plain.prefix_len);
    let mut reading = Reading {
        words: item.args.iter(),
        name: &item.name.text,
        span: item.span,
        address: plain,
        broadcast: None,
        preferred: false,
        track_group: None,
        scope,
    };
    while let Some(word) = reading.words.next() {
        reading.option(word, is_static)?;
    }
    reading.finish()
}

impl<'a> Reading<'a, '_, '_> {
    /// The word behind an option; without one the address is left out.
    fn value(&mut self, option: &Word) -> Option<&'a Word> {
        let value = self.words.next();
        if value.is_none() {
            let message = format!("{} has no value; {} is ignored", option.text, self.name);
            self.scope.warn(option.span, message);
        }
        value
    }

    fn warn(&mut self, word: &Word, message: String) {
        self.scope.warn(word.span, message);
    }

    fn option(&mut self, option: &'a Word, is_static: bool) -> Option<()> {
        match option.text.as_str() {
            "dev" => self.device(option)?,
            "scope" => self.scope_of(option)?,
            "broadcast" | "brd" => self.brd(option)?,
            "label" => self.label(option)?,
            "peer" => self.peer(option)?,
            "home" => self.address.home = true,
            // keepalived adds IPv6 addresses without a check for duplicates; this asks for one.
            "-nodad" => self.address.nodad = false,
            "mngtmpaddr" => self.address.mngtmpaddr = true,
            "noprefixroute" => self.address.noprefixroute = true,
            "autojoin" => self.address.autojoin = true,
            "no_track" => self.address.track = false,
            "preferred_lft" => self.lifetime(option)?,
            "track_group" if is_static => self.track_group = Some(self.value(option)?),
            "use_vmac" if !is_static => {
                self.warn(option, "use_vmac of a single address is not supported; it is ignored".to_owned());
            }
            other => {
                let message = format!("an address has no option {other:?}; it is ignored");
                self.scope.advise(option.span, message, format!("options are {OPTIONS}"));
            }
        }
        Some(())
    }

    fn device(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        if self.address.interface.is_some() {
            self.warn(word, format!("dev stands here for the second time; {} is ignored", self.name));
            return None;
        }
        self.address.interface = Some(line::interface(word, self.scope)?);
        Some(())
    }

    fn scope_of(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        match names::scope_number(&word.text) {
            Some(number) => self.address.scope = number,
            None => {
                let message = format!("{:?} is no scope; it is ignored", word.text);
                self.scope.advise(word.span, message, "scopes are global, site, link, host and numbers");
            }
        }
        Some(())
    }

    fn brd(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        if self.address.address.is_ipv6() {
            self.warn(word, format!("IPv6 has no broadcast; {} is ignored", self.name));
            return None;
        }
        match word.text.as_str() {
            "+" | "-" => self.broadcast = Some(word),
            text => match text.parse() {
                Ok(address @ IpAddr::V4(_)) => self.address.broadcast = Broadcast::Given(address),
                _ => {
                    self.warn(word, format!("{text:?} is no broadcast address; {} is ignored", self.name));
                    return None;
                }
            },
        }
        Some(())
    }

    fn label(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        if word.text.len() > INTERFACE_LEN {
            let message = format!(
                "label {:?} is longer than {INTERFACE_LEN} bytes; {} is ignored",
                word.text, self.name
            );
            self.warn(word, message);
            return None;
        }
        self.address.label = Some(word.text.clone());
        Some(())
    }

    fn peer(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        match prefix(word, self.scope) {
            _ if self.address.peer.is_some() => {
                self.warn(word, "the peer was said before; this one is ignored".to_owned());
            }
            Some((peer, length)) if Family::of(&peer) == Family::of(&self.address.address) => {
                if self.address.prefix_len != bits(&self.address.address) {
                    let message = format!("the length of {} gives way to that of its peer", self.name);
                    self.warn(word, message);
                }
                let length = length.unwrap_or(bits(&peer));
                self.address.prefix_len = length;
                self.address.peer = Some((peer, length));
            }
            _ => self
                .warn(word, format!("{:?} is no peer address for {}; it is ignored", word.text, self.name)),
        }
        Some(())
    }

    fn lifetime(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        if word.text == "forever" {
            self.preferred = true;
            self.address.preferred = None;
        } else if let Some(seconds) = line::leading_number(word, "preferred_lft", self.scope)
            && let Ok(seconds) = u32::try_from(seconds)
        {
            self.preferred = true;
            self.address.preferred = Some(seconds);
        } else {
            self.warn(word, format!("{:?} is neither seconds nor forever; it is ignored", word.text));
        }
        Some(())
    }

    fn finish(mut self) -> Option<Line<'a>> {
        if let Some(word) = self.broadcast {
            let length = self.address.prefix_len;
            if length > 30 {
                self.warn(
                    word,
                    format!("a network of length {length} has no broadcast address; brd is ignored"),
                );
            } else {
                let ones = word.text == "+";
                self.address.broadcast = if ones { Broadcast::Ones } else { Broadcast::Zeros };
            }
        }
        if self.address.peer.is_some() && self.address.broadcast != Broadcast::None {
            let message = format!("{} has a peer and a broadcast address; the latter is ignored", self.name);
            if let Some(word) = self.broadcast {
                self.warn(word, message);
            }
            self.address.broadcast = Broadcast::None;
        }
        if self.address.address.is_ipv6() {
            self.only_v6();
        }
        Some(Line { address: self.address, track_group: self.track_group })
    }

    /// A /128 is deprecated from the start, so that it is never chosen as source.
    fn only_v6(&mut self) {
        if self.address.scope != 0 || self.address.label.is_some() {
            let message = format!("scope and label of {} are ignored: IPv6 addresses have none", self.name);
            self.scope.warn(self.span, message);
        }
        let address = &mut self.address;
        address.scope = 0;
        address.label = None;
        if !self.preferred {
            address.preferred = (address.prefix_len == 128).then_some(0);
        }
    }
}
