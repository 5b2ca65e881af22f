//! What outputs deliver.

use std::borrow::Cow;
use std::fmt;

use crate::alert::{Alert, Line, SentEvent, State, Suppressed};

/// An alert as outputs see it. What is not text already is rendered on the output's thread, in the form that the output wants.
pub trait Record: fmt::Debug + Send + Sync {
    /// The same for the same alert, however often it is delivered.
    fn id(&self) -> &str;

    /// The document as one line of JSON, without a line end.
    fn to_line(&self) -> String;

    /// The same with a line end, and without a copy where it is text already.
    fn ended_line(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_line() + "\n")
    }

    /// The alert for a person at a terminal, the last line ended. What is for machines only stays as it is.
    fn to_pretty(&self, _color: bool) -> String {
        self.ended_line().into_owned()
    }
}

impl Record for State {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.to_line()
    }

    fn to_pretty(&self, _color: bool) -> String {
        self.to_pretty()
    }
}

impl Record for Suppressed {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.to_line()
    }
}

impl Record for SentEvent {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.to_line()
    }
}

impl Record for Line {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.text().to_owned()
    }

    fn ended_line(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.ended())
    }

    fn to_pretty(&self, color: bool) -> String {
        self.to_pretty(color)
    }
}

impl Record for Alert {
    fn id(&self) -> &str {
        &self.id
    }

    fn to_line(&self) -> String {
        self.to_line()
    }

    fn to_pretty(&self, color: bool) -> String {
        self.to_pretty(color)
    }
}
