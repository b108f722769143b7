//! JSON Web Tokens (RFC 7519) of listeners: signed by whoever knows the mount's
//! key, with HMAC-SHA-256 and nothing else, for named mounts and until a time.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode};
use ring::hmac;
use serde::de::IgnoredAny;

/// How far the clock of the signer may be off, in seconds.
const LEEWAY: u64 = 10;

/// Whether `token` is signed with `key`, for the mount and not over.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(token: &str, key: &[u8], mount: &str) -> std::result::Result<(), String> {
    static INSTALL: Once = Once::new();
    // Fails when it is there already: then it is this one.
    INSTALL.call_once(|| {
        let _ = PROVIDER.install_default();
    });
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[mount]);
    validation.set_required_spec_claims(&["exp", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = LEEWAY;
    let decoded = decode::<IgnoredAny>(token, &DecodingKey::from_secret(key), &validation);
    decoded.map(drop).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired (exp); ask for a new one".to_owned(),
        ErrorKind::ImmatureSignature => "its time (nbf) has not come".to_owned(),
        ErrorKind::InvalidAudience => "it is for other mounts (aud)".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("it has no {claim} claim"),
        ErrorKind::InvalidSignature => "it is not signed with listen_key".to_owned(),
        ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => "its alg is not HS256".to_owned(),
        _ => "it is none of the mount's tokens, and no JSON Web Token".to_owned(),
    })
}

/// The cryptography that TLS brings along anyway.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::HS256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?);
            Ok(Box::new(Hs256(key)))
        }
        _ => Err(Error::from(ErrorKind::UnsupportedAlgorithm)),
    }
}

struct Hs256(hmac::Key);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const KEY: &[u8] = b"a key of thirty-two bytes or more";

    fn signed(header: &Value, claims: &Value, key: &[u8]) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
        format!("{message}.{tag}")
    }

    fn verdict(claims: &Value) -> std::result::Result<(), String> {
        let header = json!({"alg": "HS256", "typ": "JWT"});
        check(&signed(&header, claims, KEY), KEY, "/call.opus")
    }

    fn at(offset: i64) -> i64 {
        jsonwebtoken::get_current_timestamp() as i64 + offset
    }

    /// RFC 7515, appendix A.1: a token that others made.
    #[test]
    fn the_example_of_the_standard_is_signed_well_and_over() {
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQog\
                     Imh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = URL_SAFE_NO_PAD.decode(key).expect("the RFC's key");
        let why = check(token, &key, "/call.opus").expect_err("it ended in 2011");
        assert!(why.contains("no aud"), "{why}");
        let forged = token.replace("dBjf", "dBjg");
        let why = check(&forged, &key, "/call.opus").expect_err("one bit is wrong");
        assert!(why.contains("not signed"), "{why}");
    }

    #[test]
    fn opens_the_mounts_it_names_until_its_time() {
        assert_eq!(
            verdict(&json!({"aud": "/call.opus", "exp": at(60)})),
            Ok(())
        );
        let two = json!({"aud": ["/a.opus", "/call.opus"], "exp": at(60), "nbf": at(-60)});
        assert_eq!(verdict(&two), Ok(()));
        for (claims, why) in [
            (json!({"aud": "/call.opus", "exp": at(-60)}), "expired"),
            (json!({"aud": "/call.opus", "exp": "soon"}), "exp"),
            (json!({"aud": "/call.opus"}), "no exp"),
            (json!({"exp": at(60)}), "no aud"),
            (json!({"aud": "/call.opus/", "exp": at(60)}), "other mounts"),
            (json!({"aud": [], "exp": at(60)}), "other mounts"),
            (
                json!({"aud": "/call.opus", "exp": at(90), "nbf": at(60)}),
                "not come",
            ),
        ] {
            let refused = verdict(&claims).expect_err("it must be refused");
            assert!(refused.contains(why), "{claims}: {refused}");
        }
    }

    #[test]
    fn what_is_not_signed_by_the_key_with_hs256_is_refused() {
        let claims = json!({"aud": "/call.opus", "exp": at(60)});
        let hs256 = json!({"alg": "HS256"});
        let good = signed(&hs256, &claims, KEY);
        assert_eq!(check(&good, KEY, "/call.opus"), Ok(()));
        let unsigned = signed(&json!({"alg": "none"}), &claims, KEY);
        let none = &unsigned[..=unsigned.rfind('.').expect("a dot")];
        for (odd, why) in [
            (signed(&hs256, &claims, b"another key"), "not signed"),
            (signed(&json!({"alg": "HS512"}), &claims, KEY), "HS256"),
            (signed(&json!({"alg": "RS256"}), &claims, KEY), "HS256"),
            (none.to_owned(), ""),
            (good[..good.len() - 2].to_owned(), ""),
            (format!("{good}.{good}"), ""),
            ("..".to_owned(), ""),
            (String::new(), ""),
        ] {
            let refused = check(&odd, KEY, "/call.opus").expect_err("it must be refused");
            assert!(refused.contains(why), "{odd}: {refused}");
        }
    }
}
