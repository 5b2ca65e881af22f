//! Values that are checked while they are read, so that an error has the place of the value in the file.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Size of the ring buffer between kernel and daemon.
///
/// The kernel takes powers of two that are multiples of the page; with pages of up to 64 KiB any power of two
/// from 64 KiB on is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct RingBytes(u32);

impl RingBytes {
    /// 1 MiB: some thousand events.
    pub const DEFAULT: Self = Self(1 << 20);
    const MIN: u32 = 64 << 10;
    const MAX: u32 = 1 << 30;

    /// The size in bytes.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for RingBytes {
    type Error = String;

    fn try_from(bytes: i64) -> Result<Self, String> {
        let (min, max) = (Self::MIN, Self::MAX);
        let fits = u32::try_from(bytes).ok().filter(|size| (min..=max).contains(size));
        match fits {
            Some(size) if size.is_power_of_two() => Ok(Self(size)),
            Some(size) => {
                let below = 1_u32 << size.ilog2();
                Err(format!("{bytes} is not a power of two; use {below} or {}", below << 1))
            }
            None => {
                Err(format!("{bytes} bytes are out of range; use a power of two from {min} to {max} (1 GiB)"))
            }
        }
    }
}

impl JsonSchema for RingBytes {
    fn schema_name() -> Cow<'static, str> {
        "RingBytes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": Self::MIN, "maximum": Self::MAX })
    }
}

/// A length of time, written with its units: `"500ms"`, `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let remedy = "write a number with a unit, such as \"500ms\", \"2s\" or \"1m 30s\"";
        let duration: jiff::SignedDuration =
            text.parse().map_err(|_| format!("`{text}` is not a length of time; {remedy}"))?;
        match Duration::try_from(duration) {
            Ok(duration) if !duration.is_zero() => Ok(Self(duration)),
            _ => Err(format!("`{text}` is not longer than nothing; {remedy}")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever was read fits into a signed duration; the largest one stands in for what would not.
        let duration = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        write!(f, "{duration:#}")
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["500ms", "1m 30s"] })
    }
}

/// How often something is done: a length of time as in [`Span`], or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(Option<Duration>);

impl Interval {
    /// Never.
    pub(super) const OFF: Self = Self(None);

    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(Some(Duration::from_secs(seconds)))
    }

    /// As the standard library's type; nothing if it is never done.
    pub fn get(self) -> Option<Duration> {
        self.0
    }
}

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        match Span::try_from(text) {
            Ok(span) => Ok(Self(Some(span.get()))),
            Err(message) => Err(format!("{message}, or \"off\"")),
        }
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        interval.0.map_or_else(|| "off".to_owned(), |duration| Span(duration).to_string())
    }
}

impl JsonSchema for Interval {
    fn schema_name() -> Cow<'static, str> {
        "Interval".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["5m", "off"] })
    }
}

/// A directory, or `"off"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DirectoryOrOff(Option<PathBuf>);

impl DirectoryOrOff {
    /// The directory; nothing if it is off.
    pub fn get(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    pub(super) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        self.0.as_mut()
    }
}

impl From<String> for DirectoryOrOff {
    fn from(text: String) -> Self {
        Self((text != "off").then(|| text.into()))
    }
}

impl From<DirectoryOrOff> for String {
    fn from(directory: DirectoryOrOff) -> Self {
        directory.0.map_or_else(|| "off".to_owned(), |path| path.display().to_string())
    }
}

impl JsonSchema for DirectoryOrOff {
    fn schema_name() -> Cow<'static, str> {
        "DirectoryOrOff".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["/sys/fs/bpf/ldsentry", "off"] })
    }
}

/// A day, written as TOML's local date: `2027-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "toml::value::Datetime", into = "toml::value::Datetime")]
pub struct Date(jiff::civil::Date);

impl Date {
    /// When the day is over, in UTC.
    pub fn end(self) -> jiff::Timestamp {
        let next = self.0.saturating_add(jiff::Span::new().days(1));
        next.to_zoned(jiff::tz::TimeZone::UTC).map_or(jiff::Timestamp::MAX, |midnight| midnight.timestamp())
    }

    /// Whether the whole day is over at `now`, in UTC.
    pub fn is_over(self, now: jiff::Timestamp) -> bool {
        jiff::tz::TimeZone::UTC.to_datetime(now).date() > self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<toml::value::Datetime> for Date {
    type Error = String;

    fn try_from(datetime: toml::value::Datetime) -> Result<Self, String> {
        let error = || format!("`{datetime}` is not a date alone; write a day such as 2027-01-31");
        let toml::value::Datetime { date: Some(date), time: None, offset: None } = datetime else {
            return Err(error());
        };
        jiff::civil::Date::new(date.year as i16, date.month as i8, date.day as i8)
            .map(Self)
            .map_err(|_| error())
    }
}

impl From<Date> for toml::value::Datetime {
    fn from(Date(date): Date) -> Self {
        Self {
            date: Some(toml::value::Date {
                year: date.year() as u16,
                month: date.month() as u8,
                day: date.day() as u8,
            }),
            time: None,
            offset: None,
        }
    }
}

impl JsonSchema for Date {
    fn schema_name() -> Cow<'static, str> {
        "Date".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date" })
    }
}

/// Permission bits, written in octal as `chmod` takes them: `"0600"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// Readable by its owner alone: alerts name users and show command lines.
    pub const PRIVATE: Self = Self(0o600);

    /// The bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 && bits & 0o200 != 0 => Ok(Self(bits)),
            _ => Err(format!(
                "`{text}` is not a file mode; write octal digits that let the owner write, such as \"0600\" or \"0640\""
            )),
        }
    }
}

impl From<FileMode> for String {
    fn from(FileMode(bits): FileMode) -> Self {
        format!("{bits:04o}")
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> Cow<'static, str> {
        "FileMode".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^0?[0-7]{3}$" })
    }
}

/// Where rules come from: the ones in the binary, or a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum RuleSource {
    /// The rules embedded in the binary, written `builtin`.
    Builtin,
    /// A directory of rule files.
    Directory(PathBuf),
}

impl From<PathBuf> for RuleSource {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "builtin" { Self::Builtin } else { Self::Directory(path) }
    }
}

impl From<RuleSource> for PathBuf {
    fn from(source: RuleSource) -> Self {
        match source {
            RuleSource::Builtin => "builtin".into(),
            RuleSource::Directory(path) => path,
        }
    }
}

impl JsonSchema for RuleSource {
    fn schema_name() -> Cow<'static, str> {
        "RuleSource".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
