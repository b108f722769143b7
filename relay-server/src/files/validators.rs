//! Validators and conditional requests (RFC 9110 §8.8 and §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};

/// What identifies one state of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    /// Strong entity tag with its quotes.
    pub etag: String,
    /// Modification time, whole seconds.
    pub modified: SystemTime,
}

/// What the request's conditions ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Go on.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Validators {
    /// Evaluates the conditional headers in the order of RFC 9110 §13.2.2,
    /// for GET and HEAD.
    pub(crate) fn evaluate(&self, headers: &HeaderMap) -> Condition {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        if let Some(list) = text(header::IF_MATCH) {
            if !self.matches(list, false) {
                return Condition::Failed;
            }
        } else if let Some(date) = text(header::IF_UNMODIFIED_SINCE).and_then(parse_date)
            && self.modified > date
        {
            return Condition::Failed;
        }
        if let Some(list) = text(header::IF_NONE_MATCH) {
            if self.matches(list, true) {
                return Condition::NotModified;
            }
        } else if let Some(date) = text(header::IF_MODIFIED_SINCE).and_then(parse_date)
            && self.modified <= date
        {
            return Condition::NotModified;
        }
        Condition::Proceed
    }

    /// Whether an `If-Range` value (or its absence) lets a range through:
    /// a strong tag or the exact date (RFC 9110 §13.1.5).
    pub(crate) fn range_applies(&self, if_range: Option<&str>) -> bool {
        match if_range.map(str::trim) {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == self.etag,
            Some(date) => parse_date(date) == Some(self.modified),
        }
    }

    /// Writes `ETag` and `Last-Modified`.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let pairs = [
            (header::ETAG, self.etag.clone()),
            (header::LAST_MODIFIED, self.last_modified()),
        ];
        for (name, value) in pairs {
            if let Ok(value) = header::HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }

    fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    fn matches(&self, list: &str, weak: bool) -> bool {
        list.trim() == "*"
            || list.split(',').map(str::trim).any(|tag| {
                let strong = tag.strip_prefix("W/").filter(|_| weak).unwrap_or(tag);
                strong == self.etag
            })
    }
}

/// An IMF-fixdate (RFC 9110 §5.6.7).
fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

/// Drops the fraction of a second, which HTTP dates cannot carry.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators() -> Validators {
        Validators {
            etag: "\"a-1\"".into(),
            modified: UNIX_EPOCH + Duration::from_secs(784_111_777),
        }
    }

    fn evaluate(pairs: &[(header::HeaderName, &'static str)]) -> Condition {
        let headers = pairs
            .iter()
            .map(|(n, v)| (n.clone(), header::HeaderValue::from_static(v)))
            .collect();
        validators().evaluate(&headers)
    }

    #[test]
    fn tags_come_before_dates() {
        assert_eq!(evaluate(&[]), Condition::Proceed);
        assert_eq!(
            evaluate(&[(header::IF_NONE_MATCH, "\"x\", W/\"a-1\"")]),
            Condition::NotModified
        );
        assert_eq!(
            evaluate(&[(header::IF_NONE_MATCH, "*")]),
            Condition::NotModified
        );
        assert_eq!(
            evaluate(&[
                (header::IF_NONE_MATCH, "\"x\""),
                (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")
            ]),
            Condition::Proceed
        );
        assert_eq!(
            evaluate(&[(header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")]),
            Condition::NotModified
        );
        assert_eq!(
            evaluate(&[(header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")]),
            Condition::Proceed
        );
        assert_eq!(
            evaluate(&[(header::IF_MODIFIED_SINCE, "yesterday")]),
            Condition::Proceed
        );
        assert_eq!(
            evaluate(&[(header::IF_MATCH, "W/\"a-1\"")]),
            Condition::Failed
        );
        assert_eq!(
            evaluate(&[(header::IF_MATCH, "\"a-1\"")]),
            Condition::Proceed
        );
        assert_eq!(
            evaluate(&[(header::IF_UNMODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")]),
            Condition::Failed
        );
    }

    #[test]
    fn if_range_is_exact() {
        let v = validators();
        assert!(v.range_applies(None));
        assert!(v.range_applies(Some("\"a-1\"")));
        assert!(!v.range_applies(Some("W/\"a-1\"")));
        assert!(v.range_applies(Some(&v.last_modified())));
        assert!(!v.range_applies(Some("Sun, 06 Nov 1994 08:49:38 GMT")));
    }
}
