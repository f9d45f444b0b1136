//! The timeline as a picture that needs nothing beside itself.

use std::time::Duration;

use crate::probe::{Outcome, Request};
use crate::record::Record;
use crate::timeline::letter;

const LEFT: f64 = 150.0;
const WIDTH: f64 = 900.0;
const ROW: f64 = 26.0;
/// Of the palette of Okabe and Ito, which every kind of sight can tell apart; readable on white and on black.
const HELD: &str = "#0072b2";
const FAILED: &str = "#d55e00";
const ANSWERED: &str = "#009e73";
const EVENT: &str = "#cc79a7";
const INK: &str = "#808080";

/// Draws a record.
pub fn draw(record: &Record) -> String {
    let mut picture = Picture { body: String::new(), y: 50.0, duration: record.duration };
    picture.text(10.0, 22.0, 15, &format!("{} - {}", record.name, record.subject));
    for vip in &record.vips {
        picture.heading(&vip.address.to_string());
        for host in record.hosts.iter().filter(|host| vip.intervals.iter().any(|i| i.host == **host)) {
            picture.label(host);
            for interval in vip.intervals.iter().filter(|i| i.host == *host) {
                let to = interval.to.unwrap_or(record.duration);
                let title =
                    format!("{host}: {:.3} s to {:.3} s", interval.from.as_secs_f64(), to.as_secs_f64());
                picture.bar(interval.from, to, HELD, &title);
            }
            picture.y += ROW;
        }
    }
    for probe in &record.probes {
        picture.heading(&format!("{} from {}", probe.to, probe.from));
        picture.label("answered");
        runs(&probe.requests, true).iter().for_each(|(from, to, count)| {
            picture.bar(*from, *to, ANSWERED, &format!("{count} answered"));
        });
        picture.y += ROW;
        picture.label("failed");
        runs(&probe.requests, false).iter().for_each(|(from, to, count)| {
            picture.bar(*from, *to, FAILED, &format!("{count} failed"));
        });
        picture.y += ROW;
    }
    picture.events(record);
    picture.finish()
}

/// Requests of one kind that were sent in a row: begin, end, count.
fn runs(requests: &[Request], good: bool) -> Vec<(Duration, Duration, u32)> {
    let mut sorted: Vec<&Request> = requests.iter().collect();
    sorted.sort_by_key(|request| request.sent);
    let mut runs: Vec<(Duration, Duration, u32)> = Vec::new();
    let mut open = false;
    for request in sorted {
        if (request.outcome == Outcome::Answered) != good {
            open = false;
            continue;
        }
        match runs.last_mut().filter(|_| open) {
            Some((_, to, count)) => (*to, *count) = (request.sent, *count + 1),
            None => runs.push((request.sent, request.sent, 1)),
        }
        open = true;
    }
    runs
}

struct Picture {
    body: String,
    /// The top of the next row.
    y: f64,
    duration: Duration,
}

impl Picture {
    fn x(&self, at: Duration) -> f64 {
        LEFT + WIDTH * at.div_duration_f64(self.duration).min(1.0)
    }

    fn text(&mut self, x: f64, y: f64, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.body.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{INK}\">{text}</text>\n"
        ));
    }

    fn heading(&mut self, text: &str) {
        self.text(10.0, self.y + 14.0, 12, text);
        self.y += 20.0;
    }

    fn label(&mut self, text: &str) {
        self.text(24.0, self.y + 15.0, 12, text);
    }

    fn bar(&mut self, from: Duration, to: Duration, colour: &str, title: &str) {
        let (x, y) = (self.x(from), self.y + 3.0);
        let (width, height) = ((self.x(to) - x).max(1.0), ROW - 8.0);
        self.body.push_str(&format!(
            "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" fill=\"{colour}\"><title>{title}</title></rect>\n"
        ));
    }

    fn events(&mut self, record: &Record) {
        let bottom = self.y + 8.0;
        for (index, mark) in record.events.iter().enumerate() {
            let x = self.x(mark.at);
            self.body.push_str(&format!(
                "<line x1=\"{x:.2}\" y1=\"40\" x2=\"{x:.2}\" y2=\"{bottom:.1}\" stroke=\"{EVENT}\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>\n"
            ));
            self.text(x + 3.0, 48.0, 11, &letter(index).to_string());
        }
        self.axis(bottom);
        self.y = bottom + 40.0;
        for (index, mark) in record.events.iter().enumerate() {
            self.text(
                LEFT,
                self.y,
                12,
                &format!("{}  {:.3} s  {}", letter(index), mark.at.as_secs_f64(), mark.text),
            );
            self.y += 18.0;
        }
    }

    fn axis(&mut self, y: f64) {
        let end = LEFT + WIDTH;
        self.body.push_str(&format!(
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"{INK}\"/>\n"
        ));
        let every = self.duration.as_secs().div_ceil(20).max(1);
        for second in (0..=self.duration.as_secs()).step_by(usize::try_from(every).unwrap_or(1)) {
            let x = self.x(Duration::from_secs(second));
            let tick = y + 5.0;
            self.body.push_str(&format!(
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{tick:.1}\" stroke=\"{INK}\"/>\n"
            ));
            self.text(x - 4.0, y + 18.0, 11, &format!("{second} s"));
        }
    }

    fn finish(self) -> String {
        let (width, height) = (LEFT + WIDTH + 40.0, self.y + 20.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" \
             height=\"{height:.0}\" font-family=\"sans-serif\">\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_a_row_are_one_bar() {
        let request = |ms, outcome| Request {
            sent: Duration::from_millis(ms),
            done: Duration::from_millis(ms),
            outcome,
            by: None,
            node: None,
        };
        let all = [
            request(0, Outcome::Answered),
            request(2, Outcome::Refused),
            request(1, Outcome::Answered),
            request(3, Outcome::Answered),
        ];
        let counts: Vec<u32> = runs(&all, true).iter().map(|run| run.2).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(runs(&all, false).len(), 1);
    }
}
