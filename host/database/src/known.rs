//! What is known of a statement by its text: what it does to its session, and how it went the last time.
//!
//! Bounds: 256 texts of at most 8 KiB; beyond that it begins anew.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::kind::{Kind, is_suspect, reads};

/// What is known of the statements of a database.
#[derive(Default)]
pub(crate) struct Known(RwLock<HashMap<Box<str>, Arc<Manner>>>);

/// What one statement is like.
pub(crate) struct Manner {
    pub(crate) kind: Kind,
    pub(crate) is_suspect: bool,
    reads: bool,
    /// The last time it was quick and its answer small.
    was_light: AtomicBool,
}

impl Known {
    pub(crate) fn of(&self, sql: &str) -> Arc<Manner> {
        let found = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(sql)
            .cloned();
        if let Some(manner) = found {
            return manner;
        }
        let manner = Arc::new(Manner::of(sql));
        if sql.len() <= TEXT_BYTES {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= TEXTS {
                known.clear();
            }
            let kept = known
                .entry(sql.into())
                .or_insert_with(|| Arc::clone(&manner));
            return Arc::clone(kept);
        }
        manner
    }
}

impl Manner {
    fn of(sql: &str) -> Self {
        let (kind, is_suspect) = (Kind::of(sql), is_suspect(sql));
        Self {
            kind,
            is_suspect,
            reads: kind == Kind::Work && !is_suspect && reads(sql),
            was_light: AtomicBool::new(false),
        }
    }

    /// Whether others can be asked to wait for it. One of which nothing is known yet goes alone.
    pub(crate) fn may_share(&self) -> bool {
        self.reads && self.was_light.load(Ordering::Relaxed)
    }

    /// It was run once more.
    pub(crate) fn was(&self, light: bool) {
        // Written where it changes only: all that run share it.
        if self.was_light.load(Ordering::Relaxed) != light {
            self.was_light.store(light, Ordering::Relaxed);
        }
    }
}

const TEXTS: usize = 256;
const TEXT_BYTES: usize = 8 * 1024;
