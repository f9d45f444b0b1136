//! The timeline as text: a row for each address and host, a column for each step of time.

use std::time::Duration;

use crate::capture::PacketKind;
use crate::probe::{Outcome, Request};
use crate::record::{Record, Vip};

/// Draws a record, at most `columns` steps wide.
pub fn text(record: &Record, columns: usize) -> String {
    let columns = columns.max(20);
    let step = record.duration.div_f64(columns as f64);
    let label = record.hosts.iter().map(String::len).max().unwrap_or(0).max(8);
    let mut out =
        format!("{} - {}, one column is {:.0} ms\n\n", record.name, record.subject, step.as_secs_f64() * 1e3);
    let line = |name: &str, cells: String| format!("{name:label$} |{cells}|\n");
    out.push_str(&line("seconds", axis(record.duration, columns)));
    for vip in &record.vips {
        out.push_str(&format!("{}\n", vip.address));
        for host in record.hosts.iter().filter(|host| vip.intervals.iter().any(|i| i.host == **host)) {
            let cells =
                (0..columns).map(|column| holds(vip, host, step.mul_f64(column as f64), step)).collect();
            out.push_str(&line(host, cells));
        }
    }
    for probe in &record.probes {
        out.push_str(&format!("{} from {}\n", probe.to, probe.from));
        let mut cells = vec![Vec::new(); columns];
        for request in &probe.requests {
            if let Some(cell) = cells.get_mut(column(request.sent, record.duration, columns)) {
                cell.push(request);
            }
        }
        out.push_str(&line("answers", cells.iter().map(|cell| answers(cell)).collect()));
    }
    let mut marks = vec![' '; columns];
    for (index, mark) in record.events.iter().enumerate() {
        if let Some(cell) = marks.get_mut(column(mark.at, record.duration, columns)) {
            *cell = letter(index);
        }
    }
    out.push_str(&line("events", marks.into_iter().collect()));
    out.push_str("\n# holds the address, + for a part of the column; . answered, x failed, / some of both\n");
    out.push_str(&legend(record));
    out
}

fn legend(record: &Record) -> String {
    let mut out = String::new();
    let seconds = Duration::as_secs_f64;
    for (index, mark) in record.events.iter().enumerate() {
        out.push_str(&format!("{} {:8.3} s  {}\n", letter(index), seconds(&mark.at), mark.text));
    }
    for vip in &record.vips {
        let account = &vip.account;
        let for_ever = if account.doubled_at_end { " and on" } else { "" };
        out.push_str(&format!(
            "{}: without a host {:.3} s (at most {:.3} s at once), on two {:.3} s{for_ever}, moves {}, at the end on {}\n",
            vip.address,
            seconds(&account.without),
            seconds(&account.longest_without),
            seconds(&account.doubled),
            account.moves,
            if account.holders.is_empty() { "none".to_owned() } else { account.holders.join(" and ") }
        ));
    }
    for probe in &record.probes {
        let t = &probe.tally;
        out.push_str(&format!(
            "{}: sent {}, answered {}, refused {}, timed out {}, reset {}, unreachable {}, wrong {}, unsent {}; \
             longest silence {:.3} s, slowest answer {:.3} s\n",
            probe.to, t.sent, t.answered, t.refused, t.timed_out, t.reset, t.unreachable, t.wrong, t.unsent,
            seconds(&t.gap), seconds(&t.slowest)
        ));
    }
    out + &packets(record)
}

/// Changes in who advertises what; not every packet.
fn packets(record: &Record) -> String {
    let mut out = String::new();
    let mut last = std::collections::BTreeMap::new();
    for packet in &record.packets {
        if let PacketKind::Advertisement { source, version, vrid, priority } = &packet.kind
            && last.insert((*source, *vrid), *priority) != Some(*priority)
        {
            let at = packet.at.as_secs_f64();
            out.push_str(&format!(
                "  {at:8.3} s  {source} advertises router {vrid}, priority {priority}, version {version}\n"
            ));
        }
    }
    let garp = record.packets.iter().filter(|p| matches!(p.kind, PacketKind::GratuitousArp { .. })).count();
    if !record.packets.is_empty() {
        out.push_str(&format!("packets: {} heard, {garp} of them gratuitous ARP\n", record.packets.len()));
    }
    out
}

pub(crate) fn letter(index: usize) -> char {
    ('A'..='Z').cycle().nth(index).unwrap_or('?')
}

fn column(at: Duration, all: Duration, columns: usize) -> usize {
    (at.div_duration_f64(all) * columns as f64) as usize
}

/// The seconds, where there is room for them.
fn axis(duration: Duration, columns: usize) -> String {
    let mut cells = vec![' '; columns];
    for second in 0..=duration.as_secs() {
        let at = column(Duration::from_secs(second), duration, columns);
        let text = second.to_string();
        let free = |i: usize| cells.get(i).is_some_and(|cell| *cell == ' ');
        if (at.saturating_sub(1)..=at + text.len()).skip(usize::from(at == 0)).take(text.len() + 1).all(free)
        {
            for (offset, digit) in text.chars().enumerate() {
                if let Some(cell) = cells.get_mut(at + offset) {
                    *cell = digit;
                }
            }
        }
    }
    cells.into_iter().collect()
}

fn holds(vip: &Vip, host: &str, from: Duration, step: Duration) -> char {
    let to = from + step;
    let part: Duration = vip
        .intervals
        .iter()
        .filter(|i| i.host == host)
        .map(|i| i.to.unwrap_or(to).min(to).saturating_sub(i.from.max(from)))
        .sum();
    // Rounding leaves nanoseconds.
    if part + Duration::from_micros(1) >= step {
        '#'
    } else if part > Duration::ZERO {
        '+'
    } else {
        ' '
    }
}

fn answers(requests: &[&Request]) -> char {
    let good = requests.iter().filter(|r| r.outcome == Outcome::Answered).count();
    match (good, requests.len()) {
        (_, 0) => ' ',
        (good, all) if good == all => '.',
        (0, _) => 'x',
        _ => '/',
    }
}
