//! Keys outside the file: `SEAMCAST_…` variables and command-line flags.

use super::keys::{Key, TOP};
use super::mount_keys::MOUNT;
use super::{Config, Mount, Value};

/// Keys that a process list must not show: variables only.
const SECRET: &[&str] = &[
    "source_password",
    "admin_token",
    "speech_url",
    "speech_key",
    "password",
    "tokens",
    "listen_tokens",
    "listen_key",
];

/// A key that can be set outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// `SEAMCAST_…`.
    pub variable: String,
    /// Its flag without the dashes; `None` for a secret.
    pub flag: Option<String>,
    /// One line for people.
    pub help: &'static str,
    /// What it is when nothing says otherwise, as in the file.
    pub usual: Option<String>,
    /// Whether the flag alone means `true`.
    pub switch: bool,
    /// Whether it is a key of `[defaults]`.
    pub default: bool,
}

impl Flag {
    fn of<T: Default>(key: &Key<T>, default: bool) -> Self {
        let section = if default { "defaults_" } else { "" };
        let name = format!("{section}{}", key.name);
        let shown = (key.show)(&T::default());
        Self {
            variable: format!("SEAMCAST_{}", name.to_ascii_uppercase()),
            flag: (!SECRET.contains(&key.name)).then(|| name.replace('_', "-")),
            help: key.help,
            switch: matches!(shown.as_deref(), Some("true" | "false")),
            usual: shown,
            default,
        }
    }
}

/// All of them: the file's own keys, then those of `[defaults]`.
pub fn flags() -> Vec<Flag> {
    let own = TOP.iter().map(|key| Flag::of(key, false));
    own.chain(MOUNT.iter().map(|key| Flag::of(key, true)))
        .collect()
}

/// Sets what `lookup` finds; mistakes are called by the name it gives them.
fn set<T: Default>(
    target: &mut T,
    keys: &[Key<T>],
    default: bool,
    lookup: &dyn Fn(&Flag) -> Option<(String, String)>,
) -> Vec<String> {
    let mut mistakes = Vec::new();
    for key in keys {
        let found = lookup(&Flag::of(key, default));
        if let Some((name, text)) = found.filter(|(_, text)| !text.is_empty())
            && let Err(why) = (key.set)(target, &Value::Text(text))
        {
            mistakes.push(format!("{name}: {why}"));
        }
    }
    mistakes
}

impl Config {
    /// Takes variables or flags over the file's own keys; `lookup` gives a
    /// key's value and what to call it in a mistake.
    ///
    /// # Errors
    /// One mistake for each value that makes no sense.
    pub fn apply(
        &mut self,
        lookup: &dyn Fn(&Flag) -> Option<(String, String)>,
    ) -> Result<(), Vec<String>> {
        let mistakes = set(self, TOP, false, lookup);
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }
}

impl Mount {
    /// As [`Config::apply`], for the keys of `[defaults]`.
    ///
    /// # Errors
    /// As there.
    pub fn apply(
        &mut self,
        lookup: &dyn Fn(&Flag) -> Option<(String, String)>,
    ) -> Result<(), Vec<String>> {
        let mistakes = set(self, MOUNT, true, lookup);
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;

    fn looked_up<'a>(
        values: &'a [(&'a str, &'a str)],
    ) -> impl Fn(&Flag) -> Option<(String, String)> + 'a {
        |flag| {
            let found = values.iter().find(|(name, _)| *name == flag.variable);
            found.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        }
    }

    #[test]
    fn every_key_has_a_variable_and_secrets_no_flag() {
        let all = flags();
        let names: HashSet<_> = all.iter().map(|flag| &flag.variable).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(all.len(), TOP.len() + MOUNT.len());
        let find = |name: &str| all.iter().find(|f| f.variable == name).expect("a key");
        assert_eq!(
            find("SEAMCAST_MAX_MOUNTS").flag.as_deref(),
            Some("max-mounts")
        );
        assert_eq!(
            find("SEAMCAST_DEFAULTS_HISTORY").flag.as_deref(),
            Some("defaults-history")
        );
        assert_eq!(find("SEAMCAST_ADMIN_TOKEN").flag, None);
        // What is called so, and what is never shown, is in no list of processes either.
        for flag in &all {
            let secret = ["PASSWORD", "TOKEN", "_KEY"].iter();
            let secret = secret.clone().any(|word| flag.variable.contains(word));
            let path = flag.variable == "SEAMCAST_TLS_KEY";
            assert!(!secret || path || flag.flag.is_none(), "{flag:?}");
        }
        assert!(find("SEAMCAST_DEMO").switch && find("SEAMCAST_DEFAULTS_RECORD").switch);
    }

    #[test]
    fn values_are_set_over_the_files_and_mistakes_named() {
        let values = [
            ("SEAMCAST_LISTEN", "0.0.0.0:9000"),
            ("SEAMCAST_SOURCE_PASSWORD", "s3cret"),
            ("SEAMCAST_DEFAULTS_HISTORY", "1m"),
            ("SEAMCAST_MAX_MOUNTS", ""),
        ];
        let mut config = Config::default();
        let lookup = looked_up(&values);
        config.apply(&lookup).expect("sound");
        assert_eq!(config.listen.port(), 9000);
        assert!(!format!("{config:?}").contains("s3cret"));
        // [[mount]] entries begin with what variables say of [defaults].
        let file = "[defaults]\nhistory = \"20s\"\n[[mount]]\npath = \"/a.opus\"\n\
                    [[mount]]\npath = \"/b.opus\"\nhistory = \"5s\"\n";
        super::super::parse_over(file, &mut config, &lookup).expect("sound");
        let history = |name: &str| config.mount(name).history;
        assert_eq!(history("/a.opus"), Duration::from_secs(60));
        assert_eq!(history("/b.opus"), Duration::from_secs(5));
        assert_eq!(history("/other.opus"), Duration::from_secs(60));

        let wrong = [("SEAMCAST_SHARDS", "many"), ("SEAMCAST_DEFAULTS_JOIN", "x")];
        let lookup = looked_up(&wrong);
        let mut config = Config::default();
        let why = config.apply(&lookup).expect_err("no number");
        assert!(why[0].starts_with("SEAMCAST_SHARDS: \"many\""), "{why:?}");
        let why = config.defaults.apply(&lookup).expect_err("no join");
        assert!(why[0].starts_with("SEAMCAST_DEFAULTS_JOIN: "), "{why:?}");
    }
}
