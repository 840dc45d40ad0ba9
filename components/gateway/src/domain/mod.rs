//! What the gateway knows of movies and ratings: the types that a checked request becomes.
//!
//! Promise: a value of a type in here keeps its bounds. Pure: no HTTP, no WIT, no clock, no randomness.
//! What only the owners of the data can know (is the title taken, is the movie known) is not checked here.

pub mod id;
pub mod movie;
pub mod page;
pub mod rating;

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field or parameter, by the name that the client used.
    pub field: &'static str,
    /// How it is wrong.
    pub fault: Fault,
    /// What holds for the field, for people: a sentence's end after "`field` ...".
    pub reason: String,
}

/// The two ways in which a value can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not of the kind that the field holds.
    Malformed,
    /// It is of the right kind and outside the bounds.
    OutOfBounds,
}

impl Invalid {
    /// A value that is not of the field's kind.
    pub fn malformed(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            fault: Fault::Malformed,
            reason: reason.into(),
        }
    }

    /// A value outside the field's bounds.
    pub fn out_of_bounds(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            fault: Fault::OutOfBounds,
            reason: reason.into(),
        }
    }
}
