//! Configuration values, whichever of file, environment or query they come from.

use std::time::Duration;

/// One value. The environment and queries only know text, which every
/// accessor therefore also reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
}

impl Value {
    /// What kind it is, for messages.
    fn kind(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Integer(n) => n.to_string(),
            Self::Float(x) => x.to_string(),
            Self::Bool(b) => b.to_string(),
            Self::List(_) => "a list".to_owned(),
        }
    }

    /// Text as it is.
    ///
    /// # Errors
    /// When it is not text.
    pub fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            _ => Err(format!("{} is not text; put it in quotes", self.kind())),
        }
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// When it is none or outside.
    pub fn integer(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, String> {
        let number = match self {
            Self::Integer(n) => u64::try_from(*n).ok(),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            format!(
                "{} is not a whole number from {} to {}",
                self.kind(),
                range.start(),
                range.end()
            )
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&self) -> Result<bool, String> {
        match self {
            Self::Bool(b) => Ok(*b),
            Self::Text(text) => match text.as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => Err(format!("{} is not true or false", self.kind())),
            },
            Self::Integer(0) => Ok(false),
            Self::Integer(1) => Ok(true),
            _ => Err(format!("{} is not true or false", self.kind())),
        }
    }

    /// A length of time: `"90s"`, `"250ms"`, `"5m"`, `"2h"`; a bare number
    /// counts seconds.
    ///
    /// # Errors
    /// When it is none, or longer than ten years.
    pub fn duration(&self) -> Result<Duration, String> {
        let wrong = || {
            format!(
                "{} is not a length of time such as \"30s\", \"250ms\" or \"5m\"",
                self.kind()
            )
        };
        let secs = match self {
            Self::Integer(n) => *n as f64,
            Self::Float(x) => *x,
            Self::Text(text) => {
                let text = text.trim();
                let digits = text
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .unwrap_or(text.len());
                let (number, unit) = text.split_at(digits);
                let scale = match unit.trim() {
                    "" | "s" => 1.0,
                    "ms" => 1e-3,
                    "m" | "min" => 60.0,
                    "h" => 3600.0,
                    "d" => 86_400.0,
                    _ => return Err(wrong()),
                };
                number.parse::<f64>().map_err(|_| wrong())? * scale
            }
            _ => return Err(wrong()),
        };
        if !(0.0..=315_360_000.0).contains(&secs) {
            return Err(wrong());
        }
        Ok(Duration::from_secs_f64(secs))
    }

    /// A number of bytes: `"16MiB"`, `"64k"`, or a bare number.
    ///
    /// # Errors
    /// When it is none, or above 1 TiB.
    pub fn bytes(&self) -> Result<u64, String> {
        self.scaled(1024)
            .ok_or_else(|| format!("{} is not a size such as \"16MiB\" or 65536", self.kind()))
    }

    /// A bitrate in bit/s: `"96k"`, `128000`; a bare number below 1000 counts kbit/s.
    ///
    /// # Errors
    /// When it is none, or outside 6 to 510 kbit/s.
    pub fn bitrate(&self) -> Result<u32, String> {
        let wrong = || {
            format!(
                "{} is not a bitrate from 6k to 510k such as \"96k\"",
                self.kind()
            )
        };
        let rate = self.scaled(1000).ok_or_else(wrong)?;
        let rate = if rate < 1000 { rate * 1000 } else { rate };
        if !(6_000..=510_000).contains(&rate) {
            return Err(wrong());
        }
        Ok(rate as u32)
    }

    fn scaled(&self, kilo: u64) -> Option<u64> {
        let number = match self {
            Self::Integer(n) => u64::try_from(*n).ok()?,
            Self::Text(text) => {
                let text = text.trim().to_ascii_lowercase();
                let digits = text
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(text.len());
                let (number, unit) = text.split_at(digits);
                let scale = match unit.trim() {
                    "" | "b" => 1,
                    "k" | "kb" | "kib" | "kbit" | "kbit/s" => kilo,
                    "m" | "mb" | "mib" => kilo * kilo,
                    "g" | "gb" | "gib" => kilo * kilo * kilo,
                    _ => return None,
                };
                number.parse::<u64>().ok()?.checked_mul(scale)?
            }
            _ => return None,
        };
        (number <= 1 << 40).then_some(number)
    }

    /// A list of texts; text alone is split at commas.
    ///
    /// # Errors
    /// When an element is not text.
    pub fn texts(&self) -> Result<Vec<String>, String> {
        match self {
            Self::List(items) => items.iter().map(Self::text).collect(),
            Self::Text(text) => Ok(text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect()),
            _ => Err(format!("{} is not a list of texts", self.kind())),
        }
    }
}

/// Writes a length of time as [`Value::duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) {
        format!("\"{}s\"", millis / 1000)
    } else {
        format!("\"{millis}ms\"")
    }
}

/// Writes text as TOML.
pub(super) fn show_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units() {
        let text = |s: &str| Value::Text(s.to_owned());
        assert_eq!(text("250ms").duration(), Ok(Duration::from_millis(250)));
        assert_eq!(text("1.5m").duration(), Ok(Duration::from_secs(90)));
        assert_eq!(Value::Integer(3).duration(), Ok(Duration::from_secs(3)));
        assert!(text("soon").duration().is_err());
        assert!(Value::Float(f64::NAN).duration().is_err());
        assert_eq!(text("16MiB").bytes(), Ok(16 << 20));
        assert!(text("2048g").bytes().is_err());
        assert!(Value::Integer(2 << 40).bytes().is_err());
        assert_eq!(text("96k").bitrate(), Ok(96_000));
        assert_eq!(text("96").bitrate(), Ok(96_000));
        assert!(text("9999999999999999999999k").bitrate().is_err());
        assert_eq!(text("a, b").texts(), Ok(vec!["a".into(), "b".into()]));
        assert!(Value::Integer(-1).integer(0..=5).is_err());
    }
}
