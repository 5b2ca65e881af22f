//! What the guest is told to do.

use serde::{Deserialize, Serialize};

/// Where the payload is in the guest.
pub const LAB: &str = "/lab";

/// How the name of a marker begins: a file that the agent makes in `/etc/ld.so.conf.d` after a scenario. The daemon's
/// alert for it says that everything before it has been reported, without anybody waiting for time to pass.
pub const MARKER: &str = "lab-marker-";

/// How the daemon hooks the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Attach {
    /// What the daemon finds best.
    #[default]
    Auto,
    /// fentry, or nothing.
    Fentry,
    /// kprobes, or nothing.
    Kprobe,
}

impl Attach {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

/// What the guest is told to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The daemon's command; none is started if it is empty.
    pub daemon: Vec<String>,
    /// What to run, one after the other.
    pub scenarios: Vec<Scenario>,
    /// Whether to wait, after each scenario, until the daemon has reported everything up to there. Otherwise its
    /// being told to stop is what makes it report the rest.
    pub markers: bool,
    /// Give a shell on the console instead.
    pub shell: bool,
    /// Let systemd be the first process and start the agent, instead of the agent being both.
    #[serde(default)]
    pub systemd: bool,
    /// A script that is run before that, when nothing else runs yet: it installs what is to be there when the system boots.
    #[serde(default)]
    pub before_systemd: String,
}

/// A script that is run as root in the guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// What it is called: also its working directory below `/var/lab`.
    pub name: String,
    /// The script's text.
    pub script: String,
    /// How long it may take.
    pub seconds: u64,
}
