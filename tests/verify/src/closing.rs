//! What the test runners say at their end.

/// nextest's lines from `Summary` on, word for word; libtest's results (one a binary) added up.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    nextest: Vec<String>,
    libtest: Tally,
}

#[derive(Debug, Default, PartialEq)]
struct Tally {
    binaries: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Closing {
    /// Takes one line of a runner's output.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colours(line);
        let line = line.trim();
        if line.starts_with("Summary [") || !(self.nextest.is_empty() || line.is_empty()) {
            self.nextest.push(line.to_string());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.libtest.add(result);
        }
    }

    /// Adds what another stream held.
    pub(crate) fn add(&mut self, other: Self) {
        self.nextest.extend(other.nextest);
        self.libtest.binaries += other.libtest.binaries;
        self.libtest.passed += other.libtest.passed;
        self.libtest.failed += other.libtest.failed;
        self.libtest.ignored += other.libtest.ignored;
    }

    /// The lines to print. nextest shows libtest's output of a failed test too: then only its own count.
    pub(crate) fn lines(&self) -> Vec<String> {
        if !self.nextest.is_empty() {
            return self.nextest.clone();
        }
        let Tally { binaries, passed, failed, ignored } = self.libtest;
        let tally = format!("{passed} passed; {failed} failed; {ignored} ignored ({binaries} binaries)");
        if binaries > 0 { vec![tally] } else { Vec::new() }
    }
}

impl Tally {
    /// Takes `ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, result: &str) {
        let words: Vec<&str> = result.split_whitespace().collect();
        let count = |what: &str| {
            let at = words.iter().position(|word| word.trim_end_matches(';') == what)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        self.binaries += 1;
        self.passed += count("passed").unwrap_or(0);
        self.failed += count("failed").unwrap_or(0);
        self.ignored += count("ignored").unwrap_or(0);
    }
}

/// The text without its escape sequences for colour (`ESC [ ... m`).
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_string();
    pieces.fold(first, |plain, piece| plain + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(text: &str) -> Closing {
        let mut closing = Closing::default();
        text.lines().for_each(|line| closing.line(line));
        closing
    }

    #[test]
    fn keeps_nextest_from_its_summary_on() {
        let text = "\u{1b}[32;1m        PASS\u{1b}[0m [0.01s] crypto seal\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n     \u{1b}[31;1mSummary\u{1b}[0m [ 1.2s] 2 tests run: 1 passed, 1 failed\n        FAIL [0.2s] net frame\nerror: test run failed\n";
        assert_eq!(
            closing(text).lines(),
            [
                "Summary [ 1.2s] 2 tests run: 1 passed, 1 failed",
                "FAIL [0.2s] net frame",
                "error: test run failed"
            ]
        );
    }

    #[test]
    fn adds_up_libtest() {
        let mut sum = closing(
            "test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        );
        sum.add(closing(
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s",
        ));
        assert_eq!(sum.lines(), ["5 passed; 1 failed; 1 ignored (2 binaries)"]);
    }

    #[test]
    fn says_nothing_when_nothing_ran() {
        assert!(closing("   Compiling hypostyle\n").lines().is_empty());
    }
}
