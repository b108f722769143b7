//! What `/proc` says about programs, and programs that end with the benchmark.

use std::collections::BTreeMap;
use std::process::Child;

use anyhow::{Context, Result};

/// A child that is killed when dropped.
#[derive(Debug)]
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Children of its own (nginx workers) end with a proper signal only.
        let pid = self.0.id().to_string();
        let _ = std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status();
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel for it.
    pub system: f64,
}

impl Cpu {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.user + self.system
    }
}

/// What a process and its children have used up to a moment.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// In ticks of 10 ms, rounded down.
    ticks: Cpu,
    /// The scheduler's own count of each thread that lives, to the nanosecond.
    threads: BTreeMap<u32, f64>,
}

impl Used {
    /// CPU time since `earlier`: the scheduler's, divided as the ticks are. Where a thread has
    /// ended meanwhile, and its count with it, the ticks alone.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Cpu {
        let ticks = Cpu {
            user: self.ticks.user - earlier.ticks.user,
            system: self.ticks.system - earlier.ticks.system,
        };
        let sum = |used: &Self| used.threads.values().sum::<f64>();
        let exact = sum(self) - sum(earlier);
        let all_live = earlier
            .threads
            .keys()
            .all(|id| self.threads.contains_key(id));
        // A kernel without schedstat says 0.
        if !all_live || exact <= 0.0 || ticks.total() <= 0.0 {
            return ticks;
        }
        let scale = exact / ticks.total();
        Cpu {
            user: ticks.user * scale,
            system: ticks.system * scale,
        }
    }
}

/// The process and those it started.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let mut all = vec![pid];
    for child in children.unwrap_or_default().split_whitespace() {
        all.extend(child.parse().ok().map(family).unwrap_or_default());
    }
    all
}

/// CPU time of a process and its children so far.
///
/// # Errors
/// When it has ended.
pub fn cpu(pid: u32) -> Result<Used> {
    // USER_HZ is 100 on Linux for all architectures in use.
    const TICKS: f64 = 100.0;
    let mut used = Used::default();
    for pid in family(pid) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no command in stat")?;
        let field = |n: usize| -> Result<f64> {
            let text = fields.split_whitespace().nth(n - 3).context("short stat")?;
            Ok(text.parse::<f64>()? / TICKS)
        };
        used.ticks.user += field(14)?;
        used.ticks.system += field(15)?;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            // One that has just ended is not among them.
            let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let id = thread.file_name().to_string_lossy().parse()?;
            let ns: f64 = text.split_whitespace().next().unwrap_or("0").parse()?;
            used.threads.insert(id, ns / 1e9);
        }
    }
    Ok(used)
}

/// Resident memory of a process and its children in KB, shared pages counted once each.
///
/// # Errors
/// When it has ended.
pub fn rss_kb(pid: u32) -> Result<f64> {
    let mut all = 0.0;
    for pid in family(pid) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        all += line.trim().trim_end_matches(" kB").parse::<f64>()?;
    }
    Ok(all)
}

/// Memory of all TCP sockets of the machine in KB, both ends of loopback included.
#[must_use]
pub fn tcp_kb() -> f64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.rsplit_once("mem "));
    pages
        .and_then(|(_, n)| n.parse::<f64>().ok())
        .unwrap_or(0.0)
        * 4.0
}

/// The machine's load average over a minute.
#[must_use]
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0)
}
