//! Files with `server` lines.

use std::io;

use weir_config::server_parameter;
use weir_model::Peer;
use weir_syntax::{Directive, Source, SourceFile, parse_all};

use crate::entry::{Document, Entry};

/// Whether a file of the folder is read: neither a hidden one nor what editors and copying programs leave behind.
#[must_use]
pub fn is_read(name: &str) -> bool {
    !name.starts_with('.') && ![".tmp", ".swp", ".part", "~"].iter().any(|end| name.ends_with(end))
}

/// Reads `server ADDRESS PARAMETERS;` lines in nginx's grammar. A port that is absent is 80, as in nginx. A line that is
/// wrong is rejected by file and line; the others live.
///
/// # Errors
/// When the text ends within a line or is no such grammar: then it was perhaps not written to its end, and nothing of it
/// is believed.
pub fn file(name: &str, bytes: &[u8], template: &Peer) -> Result<Document, String> {
    let parsed = parse_all(None, name, "", &OneFile { name, bytes });
    let files = &parsed.tree.files;
    if let Some(flaw) = parsed.flaw {
        return Err(flaw.nginx_line(files));
    }
    let mut document = Document::default();
    for line in &parsed.tree.items {
        match server(line, template) {
            Ok(entry) => document.entries.push(entry),
            Err(why) => document.reject(&place(files, line), why),
        }
    }
    Ok(document)
}

fn server(line: &Directive, template: &Peer) -> Result<Entry, String> {
    let name = &line.name.text;
    if name != "server" || line.block.is_some() {
        return Err(format!(r#"unexpected "{name}", expected: server ADDRESS PARAMETERS;"#));
    }
    let mut words = line.args.iter().map(|word| word.text.as_str());
    let address = words.next().ok_or("no address, expected: server ADDRESS PARAMETERS;")?;
    let mut entry = Entry::parse(address, Some(80), template)?;
    for word in words {
        server_parameter(&mut entry.peer, word)?;
    }
    Ok(entry)
}

fn place(files: &[SourceFile], line: &Directive) -> String {
    let file = files.get(line.span.file as usize);
    file.map_or_else(String::new, |file| format!("{}:{}", file.path, file.line(line.span.start)))
}

/// `include` leads nowhere from here.
struct OneFile<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl Source for OneFile<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path == self.name {
            Ok(self.bytes.to_vec())
        } else {
            Err(io::Error::other("include is not followed from a folder of servers"))
        }
    }

    fn glob(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}
