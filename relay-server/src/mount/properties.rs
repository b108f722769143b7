//! A mount's properties, which change while it runs: with its newest source,
//! and when the configuration is read again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use seamcast_media::units::MediaDuration;

use super::Mount;
use super::log::Limits;
use crate::config;

#[derive(Debug)]
pub(super) struct Properties {
    now: Arc<config::Mount>,
    /// What the newest source asked for in its query.
    asked: Vec<(String, String)>,
}

impl Properties {
    pub(super) fn new(settings: config::Mount) -> Self {
        Self {
            now: Arc::new(settings),
            asked: Vec::new(),
        }
    }
}

impl Mount {
    /// Its properties as they are now.
    pub fn settings(&self) -> Arc<config::Mount> {
        let properties = self.properties.read();
        properties
            .unwrap_or_else(PoisonError::into_inner)
            .now
            .clone()
    }

    /// Takes on the properties of its newest source, in whose query `asked` was.
    pub(crate) fn adopt(&self, settings: config::Mount, asked: &[(String, String)]) {
        // Credentials may be in a query, too; they are nobody else's.
        let own = |(name, _): &&(String, String)| config::is_property(name);
        let asked = asked.iter().filter(own).cloned().collect();
        self.change(settings, Some(asked));
    }

    /// Takes on what the configuration says now. What the newest source asked
    /// for stays.
    pub(crate) fn reconfigure(&self, mut settings: config::Mount) {
        let properties = self.properties.read();
        let asked = properties
            .unwrap_or_else(PoisonError::into_inner)
            .asked
            .clone();
        // It was sound when the source came.
        let _ = settings.apply_query(&asked);
        self.change(settings, None);
    }

    fn change(&self, mut settings: config::Mount, asked: Option<Vec<(String, String)>>) {
        let properties = self.properties.write();
        let mut properties = properties.unwrap_or_else(PoisonError::into_inner);
        // A recording is of a whole programme: it begins and ends with one.
        settings.record = properties.now.record;
        self.log.set_limits(limits(&settings));
        properties.now = Arc::new(settings);
        if let Some(asked) = asked {
            properties.asked = asked;
        }
        drop(properties);
        self.ring();
    }
}

/// How much history a mount keeps in memory.
pub(crate) fn limits(settings: &config::Mount) -> Limits {
    Limits {
        bytes: usize::try_from(settings.history_bytes).unwrap_or(usize::MAX),
        duration: duration(settings.history.max(settings.burst)),
    }
}

/// A configured length as media time.
pub(crate) fn duration(duration: Duration) -> MediaDuration {
    MediaDuration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
