//! `\p{...}`: Unicode properties, which in a pattern of bytes hold for the characters below 256.

use regex_automata::meta;
use regex_automata::util::syntax;

use crate::escape::byte_items;
use crate::translate::{Flaw, Reader};

/// Reads what follows `\p` or `\P` and answers the set as the engines write it, to stand alone or in a class.
pub(crate) fn read(reader: &mut Reader<'_>, negated: bool) -> Result<String, Flaw> {
    let start = reader.at();
    let mut negated = negated;
    let name = if reader.take('{') {
        negated ^= reader.take('^');
        let name = reader.take_while(|letter| letter != '}');
        if !reader.take('}') {
            return Err(Flaw::new("malformed \\P or \\p sequence", reader.at()));
        }
        name.to_owned()
    } else {
        reader.next().map(String::from).unwrap_or_default()
    };
    let letter = if negated { 'P' } else { 'p' };
    let source = format!("\\{letter}{{{name}}}");
    let unknown = Flaw::new("unknown property after \\P or \\p", start);
    if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '&' | ' ')) {
        return Err(unknown);
    }
    let property = meta::Builder::new().syntax(syntax::Config::new()).build(&source).map_err(|_| unknown)?;
    if reader.unicode {
        return Ok(source);
    }
    let mut buffer = [0; 4];
    Ok(byte_items(|byte| property.is_match(char::from(byte).encode_utf8(&mut buffer).as_bytes())))
}
