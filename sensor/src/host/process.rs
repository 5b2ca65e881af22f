//! `/proc/PID/stat`.

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStat {
    /// The name that it gave itself.
    pub comm: Vec<u8>,
    /// Its parent.
    pub ppid: u32,
    /// It is a thread of the kernel's.
    pub kernel_thread: bool,
    /// Its start in nanoseconds since boot, cut off to whole clock ticks.
    pub start_boot_ns: u64,
    /// Length of a clock tick.
    tick_ns: u64,
}

impl ProcessStat {
    /// Whether this is the process that started `start_boot_ns` after boot, and not a later one with the same pid.
    pub fn is(&self, start_boot_ns: u64) -> bool {
        start_boot_ns / self.tick_ns == self.start_boot_ns / self.tick_ns
    }

    /// For tests of other modules: a process whose start is exact.
    #[cfg(test)]
    pub(crate) fn fake(comm: &str, ppid: u32, start_boot_ns: u64) -> Self {
        Self { comm: comm.into(), ppid, kernel_thread: false, start_boot_ns, tick_ns: 1 }
    }

    /// Reads the text of `/proc/PID/stat`; `ticks_per_second` is `sysconf(_SC_CLK_TCK)`.
    pub(super) fn parse(text: &[u8], ticks_per_second: u64) -> Option<Self> {
        const PF_KTHREAD: u64 = 0x0020_0000;
        // The name is in parentheses and may hold any byte, `)` included.
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let comm = text.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        // proc(5) numbers the fields from 1; the first one after the name is 3.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let tick_ns = 1_000_000_000_u64.checked_div(ticks_per_second)?.max(1);
        Some(Self {
            comm,
            ppid: u32::try_from(field(4)?).ok()?,
            kernel_thread: field(9)? & PF_KTHREAD != 0,
            start_boot_ns: field(22)?.saturating_mul(tick_ns),
            tick_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &[u8] =
        b"4242 (a) R 1 (b\xff) S 17 4242 4242 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 123456 1 2 3\n";

    #[test]
    fn names_with_parentheses_hide_nothing() {
        let stat = ProcessStat::parse(STAT, 100).unwrap();
        assert_eq!(stat.comm, b"a) R 1 (b\xff");
        assert_eq!(stat.ppid, 17);
        assert!(!stat.kernel_thread);
        assert_eq!(stat.start_boot_ns, 1_234_560_000_000);
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let stat = ProcessStat::parse(STAT, 100).unwrap();
        assert!(stat.is(1_234_560_000_000) && stat.is(1_234_569_999_999));
        assert!(!stat.is(1_234_570_000_000) && !stat.is(1_234_559_999_999));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..200), ticks in any::<u64>()) {
            ProcessStat::parse(&text, ticks);
        }

        #[test]
        fn cut_or_changed_lines_do_not_panic(length in 0..STAT.len(), at in 0..STAT.len(), byte in any::<u8>()) {
            let mut text = STAT.to_vec();
            text[at] = byte;
            ProcessStat::parse(&text, 100);
            ProcessStat::parse(&text[..length], 100);
        }
    }
}
