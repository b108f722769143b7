//! Credentials of sources, listeners and administrators.

mod jwt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq};

use crate::config::{Config, Mount, Secret};

/// What a client presented.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// Nothing, or something that cannot be read.
    Nothing,
    /// `Authorization: Basic`.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// `Authorization: Bearer`, `?token=` or a SHOUTcast password.
    Token(String),
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Basic { .. } => "Basic",
            Self::Token(_) => "Token",
        })
    }
}

impl Presented {
    /// Reads an `Authorization` header's value.
    pub fn from_header(value: Option<&str>) -> Self {
        let Some((scheme, rest)) = value.and_then(|value| value.trim().split_once(' ')) else {
            return Self::Nothing;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(rest.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Nothing;
        }
        let Ok(decoded) = STANDARD.decode(rest) else {
            return Self::Nothing;
        };
        let decoded = crate::ingest::head::text(&decoded);
        match decoded.split_once(':') {
            Some((user, password)) => Self::Basic {
                user: user.to_owned(),
                password: password.to_owned(),
            },
            None => Self::Nothing,
        }
    }

    /// A header's value, or else `?token=`.
    pub fn from_request(header: Option<&str>, token: Option<&str>) -> Self {
        match (Self::from_header(header), token) {
            (Self::Nothing, Some(token)) => Self::Token(token.to_owned()),
            (presented, _) => presented,
        }
    }
}

/// Whether the credentials let their bearer feed `mount`.
pub fn may_feed(config: &Config, mount: &Mount, presented: &Presented) -> bool {
    let password = config.password(mount);
    match presented {
        Presented::Nothing => false,
        Presented::Basic {
            user,
            password: given,
        } => bool::from(same(user, &mount.username) & matches(given, password)),
        Presented::Token(token) => {
            let mut found = matches(token, password);
            for known in &mount.tokens {
                found |= matches(token, known);
            }
            bool::from(found)
        }
    }
}

/// Whether listeners of `mount` need a token.
pub fn is_closed(mount: &Mount) -> bool {
    !mount.listen_tokens.is_empty() || !mount.listen_key.is_empty()
}

/// Whether the credentials let their bearer listen to `mount`, which is called `name`: one of its
/// tokens or a JSON Web Token, as bearer, as `?token=` or as a password; who feeds or administers it may, too.
///
/// # Errors
/// Why not, and what would help.
pub fn may_listen(
    config: &Config,
    name: &str,
    mount: &Mount,
    presented: &Presented,
) -> Result<(), String> {
    if !is_closed(mount) || may_feed(config, mount, presented) || is_admin(config, presented) {
        return Ok(());
    }
    let (Presented::Token(token)
    | Presented::Basic {
        password: token, ..
    }) = presented
    else {
        return Err(format!(
            "mount {name} is for those who have a token; send Authorization: Bearer TOKEN, \
             ?token=TOKEN, or the token as password"
        ));
    };
    let mut known = Choice::from(0);
    for secret in &mount.listen_tokens {
        known |= matches(token, secret);
    }
    if known.into() {
        return Ok(());
    }
    if mount.listen_key.is_empty() {
        return Err(format!("the token is none of mount {name}'s; ask for one"));
    }
    jwt::check(token, mount.listen_key.reveal().as_bytes(), name)
        .map_err(|why| format!("the token does not open mount {name}: {why}"))
}

/// Whether the credentials are the administrator's: the token as bearer, or as
/// the password of `admin`.
pub fn is_admin(config: &Config, presented: &Presented) -> bool {
    match presented {
        Presented::Nothing => false,
        Presented::Basic { user, password } => {
            bool::from(same(user, "admin") & matches(password, &config.admin_token))
        }
        Presented::Token(token) => bool::from(matches(token, &config.admin_token)),
    }
}

fn same(given: &str, expected: &str) -> Choice {
    given.as_bytes().ct_eq(expected.as_bytes())
}

/// An empty secret matches nothing.
fn matches(given: &str, expected: &Secret) -> Choice {
    same(given, expected.reveal()) & Choice::from(u8::from(!expected.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headers() {
        let basic = Presented::from_header(Some("Basic c291cmNlOmhhOmNrbWU="));
        let (user, password) = ("source".to_owned(), "ha:ckme".to_owned());
        assert_eq!(basic, Presented::Basic { user, password });
        assert!(!format!("{basic:?}").contains("ckme"));
        for odd in ["", "Basic", "Basic ???", "Basic bm9jb2xvbg==", "Digest x"] {
            assert_eq!(
                Presented::from_header(Some(odd)),
                Presented::Nothing,
                "{odd}"
            );
        }
    }

    #[test]
    fn only_the_right_ones_pass() {
        let mut config = Config {
            source_password: Secret::new("hackme"),
            admin_token: Secret::new("root"),
            ..Config::default()
        };
        let mut mount = Mount::default();
        let basic = |user: &str, password: &str| Presented::Basic {
            user: user.into(),
            password: password.into(),
        };
        let token = |text: &str| Presented::Token(text.into());
        assert!(may_feed(&config, &mount, &basic("source", "hackme")));
        assert!(may_feed(&config, &mount, &token("hackme")));
        for wrong in [
            basic("source", "hackm"),
            basic("source", ""),
            basic("", "hackme"),
            basic("admin", "hackme"),
            token(""),
            Presented::Nothing,
        ] {
            assert!(!may_feed(&config, &mount, &wrong), "{wrong:?}");
        }
        mount.password = Secret::new("own");
        mount.tokens = vec![Secret::new("voice")];
        assert!(!may_feed(&config, &mount, &basic("source", "hackme")));
        assert!(may_feed(&config, &mount, &basic("source", "own")));
        assert!(may_feed(&config, &mount, &token("voice")));
        assert!(is_admin(&config, &token("root")) && is_admin(&config, &basic("admin", "root")));
        config.admin_token = Secret::default();
        assert!(!is_admin(&config, &token("")));
    }
}
