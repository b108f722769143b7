//! The TOML file: reading it with every mistake found, and printing one.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::input_keys::{FORWARD, INPUT};
use super::keys::{Key, TOP};
use super::mount_keys::MOUNT;
use super::{Config, Forward, Input, Mount, Value};

/// One mistake in a configuration file. Its author's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1; 0 when it is not in the file.
    pub line: usize,
    /// The key at fault; empty for a syntax error.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            f.write_str(&self.message)
        } else if self.key.is_empty() {
            write!(f, "line {}: {}", self.line, self.message)
        } else {
            write!(f, "line {}: {}: {}", self.line, self.key, self.message)
        }
    }
}

/// Reads `text` over the values that `config` already has.
///
/// # Errors
/// Every mistake found, in the order of their lines.
pub fn parse(text: &str, config: &mut Config) -> Result<(), Vec<Mistake>> {
    parse_over(text, config, &|_| None)
}

/// As [`parse`], with what variables and flags say of `[defaults]`: it wins
/// over the file's `[defaults]`, and `[[mount]]` entries begin with it.
///
/// # Errors
/// As there, and one mistake at line 0 for each value of `lookup`'s that makes
/// no sense.
pub fn parse_over(
    text: &str,
    config: &mut Config,
    lookup: &dyn Fn(&super::Flag) -> Option<(String, String)>,
) -> Result<(), Vec<Mistake>> {
    let mut reader = Reader {
        text,
        mistakes: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.mistake(at, "", error.message().to_owned());
    }
    let table = table.get_ref();
    // Entries of [[mount]] start from [defaults], wherever that stands.
    if let Some(defaults) = table.get("defaults") {
        match defaults.get_ref() {
            DeValue::Table(section) => {
                reader.section("defaults.", section, MOUNT, &mut config.defaults, &[]);
            }
            _ => reader.mistake(
                defaults.span().start,
                "defaults",
                "must be a section".into(),
            ),
        }
    }
    if let Err(mistakes) = config.defaults.apply(lookup) {
        let mistakes = mistakes.into_iter().map(|message| Mistake {
            line: 0,
            key: String::new(),
            message,
        });
        reader.mistakes.extend(mistakes);
    }
    if let Some(mounts) = table.get("mount") {
        match mounts.get_ref() {
            DeValue::Array(entries) => {
                config.mounts.clear();
                for entry in entries.iter() {
                    reader.mount(entry, config);
                }
            }
            _ => reader.mistake(
                mounts.span().start,
                "mount",
                "write [[mount]], with two brackets".into(),
            ),
        }
    }
    let input = |input: &Input, others: &[Input]| {
        input.check()?;
        input.check_beside(others)
    };
    if let Some(found) = reader.list(table, "input", INPUT, input) {
        config.inputs = found;
    }
    let inputs = config.inputs.clone();
    let forward = |forward: &Forward, _: &[Forward]| {
        forward.check()?;
        forward.check_beside(&inputs)
    };
    if let Some(found) = reader.list(table, "forward", FORWARD, forward) {
        config.forwards = found;
    }
    let elsewhere = ["defaults", "mount", "input", "forward"];
    reader.section("", table, TOP, config, &elsewhere);
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    if reader.mistakes.is_empty() {
        Ok(())
    } else {
        Err(reader.mistakes)
    }
}

struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, at: usize, key: &str, message: String) {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        self.mistakes.push(Mistake {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            key: key.to_owned(),
            message,
        });
    }

    fn section<T>(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        keys: &[Key<T>],
        target: &mut T,
        elsewhere: &[&str],
    ) {
        for (name, value) in table.iter() {
            let at = name.span().start;
            let name: &str = name.get_ref();
            if elsewhere.contains(&name) {
                continue;
            }
            let full = format!("{prefix}{name}");
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let message = match nearest(name, keys) {
                    Some(like) => format!("unknown key; did you mean {like}?"),
                    None => "unknown key".to_owned(),
                };
                self.mistake(at, &full, message);
                continue;
            };
            let outcome = convert(value).and_then(|value| (key.set)(target, &value));
            if let Err(why) = outcome {
                self.mistake(at, &full, why);
            }
        }
    }

    /// The entries of `[[name]]`, each checked as a whole and beside those before
    /// it unless a key of it is wrong already; `None` when there is no such section.
    fn list<T: Default>(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        keys: &[Key<T>],
        check: impl Fn(&T, &[T]) -> Result<(), (&'static str, String)>,
    ) -> Option<Vec<T>> {
        let section = table.get(name)?;
        let DeValue::Array(entries) = section.get_ref() else {
            let message = format!("write [[{name}]], with two brackets");
            self.mistake(section.span().start, name, message);
            return None;
        };
        let mut found = Vec::new();
        for entry in entries.iter() {
            let at = entry.span().start;
            let DeValue::Table(entry) = entry.get_ref() else {
                self.mistake(at, name, "must be a section".into());
                continue;
            };
            let mut item = T::default();
            let before = self.mistakes.len();
            self.section(&format!("{name}."), entry, keys, &mut item, &[]);
            if self.mistakes.len() == before
                && let Err((key, message)) = check(&item, &found)
            {
                let own = entry.iter().find(|(name, _)| **name.get_ref() == *key);
                let at = own.map_or(at, |(name, _)| name.span().start);
                self.mistake(at, &format!("{name}.{key}"), message);
            }
            found.push(item);
        }
        Some(found)
    }

    fn mount(&mut self, entry: &Spanned<DeValue<'_>>, config: &mut Config) {
        let at = entry.span().start;
        let DeValue::Table(table) = entry.get_ref() else {
            self.mistake(at, "mount", "must be a section".into());
            return;
        };
        let mut mount: Mount = config.defaults.clone();
        self.section("mount.", table, MOUNT, &mut mount, &["path"]);
        let Some(path) = table.get("path") else {
            self.mistake(
                at,
                "mount.path",
                "missing; write path = \"/live.opus\"".into(),
            );
            return;
        };
        let at = path.span().start;
        let DeValue::String(path) = path.get_ref() else {
            self.mistake(
                at,
                "mount.path",
                "must be text such as \"/live.opus\"".into(),
            );
            return;
        };
        if let Err(why) = crate::mount::check_name(path) {
            self.mistake(at, "mount.path", format!("{path:?}: {why}"));
        } else if config.mounts.iter().any(|(name, _)| name == path.as_ref()) {
            self.mistake(at, "mount.path", format!("{path:?} is configured twice"));
        } else {
            config.mounts.push((path.to_string(), mount));
        }
    }
}

fn convert(value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.map_err(|_| format!("{number} is too large"))?)
        }
        DeValue::Float(number) => Value::Float(
            number
                .as_str()
                .parse()
                .map_err(|_| format!("{number} is not a number"))?,
        ),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Array(items) => Value::List(items.iter().map(convert).collect::<Result<_, _>>()?),
        DeValue::Datetime(_) => return Err("a date makes no sense here".into()),
        DeValue::Table(_) => return Err("a section makes no sense here".into()),
    })
}

/// A known name that differs by a slip of the hand.
fn nearest<'k, T>(name: &str, keys: &'k [Key<T>]) -> Option<&'k str> {
    keys.iter()
        .map(|key| (distance(name, key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j].min(row[j + 1]) + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

/// The configuration as a commented file. Secrets are left out.
pub fn print(config: &Config) -> String {
    let mut out =
        String::from("# Seamcast relay: effective configuration. Secrets are not shown.\n");
    section(&mut out, TOP, config, None);
    out.push_str("\n# Properties of every mount without an entry of its own.\n[defaults]\n");
    section(&mut out, MOUNT, &config.defaults, None);
    for (path, mount) in &config.mounts {
        out.push_str("\n[[mount]]\npath = ");
        out.push_str(&super::value::show_text(path));
        out.push('\n');
        section(&mut out, MOUNT, mount, Some(&config.defaults));
    }
    entries(&mut out, "input", INPUT, &config.inputs);
    entries(&mut out, "forward", FORWARD, &config.forwards);
    out
}

/// A list of sections after what its keys mean.
fn entries<T: Default>(out: &mut String, name: &str, keys: &[Key<T>], items: &[T]) {
    out.push_str(&format!("\n# Keys of [[{name}]]:\n"));
    for key in keys {
        out.push_str(&format!("#   {}: {}\n", key.name, key.help));
    }
    for item in items {
        out.push_str(&format!("\n[[{name}]]\n"));
        let default = T::default();
        for key in keys {
            let shown = (key.show)(item);
            // The kind is always said, also the default one.
            if let Some(value) = shown
                && (key.name == "kind" || (key.show)(&default).as_ref() != Some(&value))
            {
                out.push_str(&format!("{} = {value}\n", key.name));
            }
        }
    }
}

fn section<T>(out: &mut String, keys: &[Key<T>], target: &T, unless_as_in: Option<&T>) {
    for key in keys {
        let shown = (key.show)(target);
        match unless_as_in {
            Some(base) if (key.show)(base) == shown => continue,
            Some(_) => {}
            None => {
                out.push_str("\n# ");
                out.push_str(key.help);
                out.push('\n');
            }
        }
        match shown {
            Some(value) => out.push_str(&format!("{} = {value}\n", key.name)),
            None => out.push_str(&format!("#{} =\n", key.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_mistake_with_line_and_key() {
        let text = "listen = \"nowhere\"\nsource_pasword = \"x\"\n\n[defaults]\nchunk_ms = 5\n\
                    join = \"middle\"\n\n[[mount]]\npublic = \"perhaps\"\n\n[[mount]]\npath = \"/api/x\"\n";
        let mistakes = parse(text, &mut Config::default()).expect_err("many");
        let seen: Vec<(usize, &str)> = mistakes.iter().map(|m| (m.line, &*m.key)).collect();
        assert_eq!(
            seen,
            [
                (1, "listen"),
                (2, "source_pasword"),
                (5, "defaults.chunk_ms"),
                (6, "defaults.join"),
                (8, "mount.path"),
                (9, "mount.public"),
                (12, "mount.path"),
            ]
        );
        assert!(mistakes[1].message.contains("source_password"));
    }

    #[test]
    fn syntax_errors_have_a_line_too() {
        let mistakes = parse("demo = true\nlisten = \n", &mut Config::default()).expect_err("one");
        assert_eq!(mistakes[0].line, 2, "{mistakes:?}");
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let text = "demo = true\nmax_mounts = 7\n[defaults]\nburst = \"1500ms\"\n\
                    [[mount]]\npath = \"/live.opus\"\ngrace = 3\n";
        let mut config = Config::default();
        parse(text, &mut config).expect("sound");
        let mut again = Config::default();
        parse(&print(&config), &mut again).expect("own output");
        assert_eq!(again, config);
        assert_eq!(again.mount("/live.opus").grace.as_secs(), 3);
        assert_eq!(again.mount("/live.opus").burst.as_millis(), 1500);
        assert_eq!(again.mount("/other").grace.as_secs(), 10);
    }
    #[test]
    fn every_key_is_in_the_documentation() {
        fn unknown<T>(keys: &[Key<T>], text: &str) -> Vec<&'static str> {
            let said = |name: &str| {
                text.contains(&format!("`{name}`")) || text.contains(&format!("\n{name} = "))
            };
            let names = keys.iter().map(|key| key.name);
            names.filter(|name| !said(name)).collect()
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let pages = std::fs::read_dir(folder).expect("docs").flatten();
        let pages = pages.filter_map(|page| std::fs::read_to_string(page.path()).ok());
        let text: String = pages.collect();
        let none: [&str; 0] = [];
        assert_eq!(unknown(TOP, &text), none);
        assert_eq!(unknown(MOUNT, &text), none);
        assert_eq!(unknown(INPUT, &text), none);
        assert_eq!(unknown(FORWARD, &text), none);
    }
}
