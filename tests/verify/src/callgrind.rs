//! Runs a workload under callgrind and reads what it counted.

use crate::tools;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Instructions inside `measured`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Count {
    /// Without SHA-256's compression.
    pub(crate) own: u64,
    /// In SHA-256's compression. Apart, because which code does it depends on the processor, and because it is so
    /// much more that the rest would not be seen.
    pub(crate) hashing: u64,
}

/// The name of aws-lc's functions that compress a block, whatever their prefix and suffix.
const HASHING: &str = "sha256_block_data_order";

/// Counts one run of `binary name`; returns also what it printed.
pub(crate) fn count(binary: &Path, name: &str) -> Result<(Count, String), String> {
    let file = binary.with_extension("callgrind");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--toggle-collect=*measured*"]);
    command.args(["--dump-line=no", "--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    let printed = tools::output_of(command.arg(binary).arg(name))?;
    let profile = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    // The next run writes it again.
    let _ = fs::remove_file(&file);
    Ok((read(&profile), printed))
}

/// Adds up what each function cost by itself: lines `position cost` under its `fn=`. The line after a `calls=` is the
/// cost of what was called, and stands there under its own name.
fn read(profile: &str) -> Count {
    let mut count = Count::default();
    let (mut hashing, mut of_callee) = (false, false);
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            hashing = name.contains(HASHING);
        } else if line.starts_with("calls=") {
            of_callee = true;
        } else if let Some(cost) = cost(line)
            && !std::mem::take(&mut of_callee)
        {
            *if hashing { &mut count.hashing } else { &mut count.own } += cost;
        }
    }
    count
}

fn cost(line: &str) -> Option<u64> {
    let (position, cost) = line.split_once(' ')?;
    position.parse::<u64>().ok()?;
    cost.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callees_cost_counts_under_its_own_name() {
        let profile = "version: 1\npositions: line\nevents: Ir\nsummary: 30\n\nfn=decode\n0 10\ncfn=x_sha256_block_data_order_avx\n\
                       calls=2 0\n0 17\n0 3\n\nfn=x_sha256_block_data_order_avx\n0 17\n\ntotals: 30\n";
        assert_eq!(read(profile), Count { own: 13, hashing: 17 });
    }
}
