//! Telling a keepalived.conf from an nginx.conf by what it says.

use super::keywords::is_root;

/// Whether a text is a keepalived.conf: the first thing that only one of the two grammars has decides.
///
/// A keyword of keepalived's top level, `$NAME=`, `@id`, `~SEQ`, `~LST`, a line that starts with `!` and an `include`
/// without `;` speak for keepalived; a `;` at the end of a line or in front of a `}` and a block of nginx's top level
/// speak for nginx. Without any of them lines in blocks that nothing ends are keepalived's: every keyword may be mistyped.
/// A text with nothing of all that is not taken for keepalived's.
#[must_use]
pub fn is_keepalived(text: &str) -> bool {
    let (mut depth, mut signs) = (0_usize, false);
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('!') {
            signs = true;
            continue;
        }
        let outline = outline(line);
        let mut words = outline.split([' ', '\t', '{', '}', ';']).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let keyword = if first.starts_with('@') { words.next().unwrap_or_default() } else { first };
        if depth == 0 && is_root(keyword) && !outline.ends_with(';') {
            return true;
        }
        if is_nginx(&outline) || (depth == 0 && NGINX_BLOCKS.contains(&first)) {
            return false;
        }
        signs |=
            if depth == 0 { is_sign(first) } else { !first.is_empty() && !outline.ends_with(['{', '}']) };
        for letter in outline.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    signs
}

const NGINX_BLOCKS: [&str; 4] = ["events", "http", "mail", "stream"];

/// A line without its comment and without what stands in quotes.
fn outline(line: &str) -> String {
    let mut outline = String::with_capacity(line.len());
    let mut quote = None;
    let mut letters = line.chars().peekable();
    let mut fresh = true;
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => {
                letters.next();
            }
            (_, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => {}
            ('"', None) => quote = Some(letter),
            ('\'', None) if fresh => quote = Some(letter),
            ('#', None) if fresh => break,
            ('!', None) if fresh && letters.peek().is_none_or(|next| next.is_whitespace()) => break,
            _ => outline.push(letter),
        }
        fresh = letter.is_whitespace() || matches!(letter, ';' | '{' | '}');
    }
    outline.truncate(outline.trim_end().len());
    outline
}

fn is_nginx(outline: &str) -> bool {
    outline.ends_with(';') || outline.split(';').skip(1).any(|behind| behind.trim_start().starts_with('}'))
}

/// What nginx's top level has not.
fn is_sign(first: &str) -> bool {
    let definition = first.strip_prefix('$').is_some_and(|name| name.contains('='));
    let include = matches!(first, "include" | "includer" | "includem" | "includew" | "includeb" | "includea");
    definition || include || first.starts_with('@') || first.starts_with("~SEQ") || first.starts_with("~LST")
}

#[cfg(test)]
mod tests {
    use super::is_keepalived;

    #[test]
    fn files_of_keepalived() {
        for text in [
            "global_defs {\n router_id a\n}",
            "\n# a\n! b; c;\n\nvrrp_instance V1\n{\n}",
            "! only a note",
            "$A=1 2",
            "$A= \\\n x;y \\\n z",
            "include conf.d/*.conf",
            "include conf.d/*.conf # those; of the site",
            "includem a.conf\n",
            "@one $A=2",
            "@one vrrp_instance A {",
            "glob_defs {\n router_id a\n}\nvrrp_instance V {\n}",
            "vrrp_script a { script \"x;\" } # a;",
            "~LST(A,1,2) include $A",
            "glob_defs {\n router_id a\n}\nvrrp_instanc V {\n}",
            "\"vrrp_x\"\nvirtual_server 10.1.1.1 80 { ! first;",
        ] {
            assert!(is_keepalived(text), "{text}");
        }
    }

    #[test]
    fn files_that_are_not() {
        for text in [
            "",
            "# vrrp_instance V {\n",
            "events {}\nhttp { server { listen 80; } }",
            "user www;\ninclude a.conf;",
            "include\n  vrrp_instance;\n",
            "include a.conf; # one",
            "http {\n  map $a $b {\n    x{2} 1;\n  }\n}\nvrrp_instance V {\n}",
            "http { if ($a !~ 'x;') { return 1; } }",
            "events { }\n",
            "events {\n}\nhttp {\n server {\n  listen 80\n }\n}\n",
            "htp {\n log_format a\n  b;\n}\n",
            "keepalived /etc/keepalived/keepalived.conf;\n",
            "vrrp_instance;",
            "stream { server { listen 1; proxy_pass a; } }",
        ] {
            assert!(!is_keepalived(text), "{text}");
        }
    }
}
