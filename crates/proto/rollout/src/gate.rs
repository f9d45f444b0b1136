//! Judges the answer of a server that was started.

use crate::plan::Gate;

/// So many bytes of a body stand in a message.
const SHOWN: usize = 120;

/// The answer to a probe.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    /// In the order of arrival, values as text.
    pub headers: &'a [(String, String)],
    /// The beginning of it, as far as it was read.
    pub body: &'a [u8],
}

impl Answer<'_> {
    fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Gate {
    /// Whether the answer shows a healthy server with the expected version. `rollback`: the old version is started, so what was
    /// written for the new one does not count; an expectation is for both where it has `{version}` and `version` is known.
    ///
    /// # Errors
    /// What was found and what was expected.
    pub fn judge(&self, answer: Answer<'_>, version: Option<&str>, rollback: bool) -> Result<(), String> {
        if !self.expect_status.has(answer.status) {
            return Err(format!(
                "answered {}{}, expected {}{}",
                answer.status,
                redirect(answer),
                self.expect_status,
                shown(answer.body)
            ));
        }
        for header in &self.expect_header {
            let Some(value) = applicable(header.value.as_deref().unwrap_or_default(), version, rollback)
            else {
                continue;
            };
            if header.value.is_none() && answer.headers(&header.name).next().is_none() {
                return Err(format!(
                    "answered {} without header {}, expected it",
                    answer.status, header.name
                ));
            }
            if header.value.is_some() && !answer.headers(&header.name).any(|found| found == value) {
                let found = answer.headers(&header.name).next();
                let found = found.map_or("no such header".to_owned(), |found| format!("\"{found}\""));
                return Err(format!(
                    "answered {} with {found}, expected {}: {value}",
                    answer.status, header.name
                ));
            }
        }
        let Some(part) = self.expect_body.as_deref().and_then(|part| applicable(part, version, rollback))
        else {
            return Ok(());
        };
        if part.is_empty() || answer.body.windows(part.len()).any(|window| window == part.as_bytes()) {
            return Ok(());
        }
        Err(format!("answered {} without \"{part}\" in the body{}", answer.status, shown(answer.body)))
    }
}

fn applicable(expected: &str, version: Option<&str>, rollback: bool) -> Option<String> {
    match (expected.contains("{version}"), version) {
        (true, Some(version)) => Some(expected.replace("{version}", version)),
        (true, None) => None,
        (false, _) => (!rollback).then(|| expected.to_owned()),
    }
}

fn redirect(answer: Answer<'_>) -> String {
    match answer.headers("location").next() {
        Some(to) if (300..400).contains(&answer.status) => {
            format!(" (a redirect to {to}, which is not followed)")
        }
        _ => String::new(),
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body));
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.trim() {
        "" => String::new(),
        text => format!("; the body begins with \"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn gate(text: &str) -> Gate {
        Plan::parse(&format!("[gate]\ncheck = \"/health\"\n{text}")).expect("a gate").gate
    }

    fn answer<'a>(status: u16, headers: &'a [(String, String)], body: &'a str) -> Answer<'a> {
        Answer { status, headers, body: body.as_bytes() }
    }

    #[test]
    fn a_redirect_is_not_healthy() {
        let headers = [("Location".to_owned(), "/login".to_owned())];
        assert_eq!(
            gate("").judge(answer(302, &headers, ""), None, false),
            Err("answered 302 (a redirect to /login, which is not followed), expected 200-299".to_owned())
        );
        assert_eq!(gate("expect_status = 302").judge(answer(302, &headers, ""), None, false), Ok(()));
    }

    #[test]
    fn the_old_version_is_not_healthy() {
        let gate = gate("expect_header = [\"X-Version: {version}\", \"X-Node\"]\nexpect_body = \"ok\"");
        let headers = [("x-version".to_owned(), "6".to_owned()), ("x-node".to_owned(), "a".to_owned())];
        assert_eq!(
            gate.judge(answer(200, &headers, "ok"), Some("7"), false),
            Err("answered 200 with \"6\", expected X-Version: 7".to_owned())
        );
        assert_eq!(gate.judge(answer(200, &headers, "is ok"), Some("6"), false), Ok(()));
        assert_eq!(
            gate.judge(answer(200, &headers, "starting\n"), Some("6"), false),
            Err("answered 200 without \"ok\" in the body; the body begins with \"starting\"".to_owned())
        );
        assert_eq!(
            gate.judge(answer(200, &headers[..1], "ok"), Some("6"), false),
            Err("answered 200 without header X-Node, expected it".to_owned())
        );
    }

    #[test]
    fn a_rollback_expects_the_old_version() {
        let gate = gate("expect_header = [\"X-Version: {version}\"]\nexpect_body = \"release 7\"");
        let headers = [("X-Version".to_owned(), "6".to_owned())];
        assert_eq!(gate.judge(answer(200, &headers, "release 6"), Some("6"), true), Ok(()));
        assert!(gate.judge(answer(200, &headers, "release 6"), Some("5"), true).is_err());
        assert_eq!(gate.judge(answer(200, &[], ""), None, true), Ok(()));
    }
}
