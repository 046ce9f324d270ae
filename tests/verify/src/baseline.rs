//! The committed instruction counts, `tests/instructions.toml`, and how a new count compares with them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Further from the baseline than this, in either direction, is a failure: a gain is blessed too, or it is lost unseen.
pub(crate) const TOLERANCE_PERCENT: f64 = 10.0;

/// Instructions per operation, by workload.
pub(crate) type Counts = BTreeMap<String, f64>;

/// The file's content: where it was counted, and what.
#[derive(Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) machine: String,
    pub(crate) compiler: String,
    pub(crate) counts: Counts,
}

/// How one workload stands.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Same { percent: f64 },
    Differs { percent: f64 },
    New,
    Gone,
}

impl Baseline {
    /// Reads the few forms of TOML that [`Baseline::to_toml`] writes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut baseline = Self { machine: String::new(), compiler: String::new(), counts: Counts::new() };
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            baseline.take(line).ok_or_else(|| format!("line {}: can't read `{line}`", index + 1))?;
        }
        Ok(baseline)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim().trim_matches('"'), value.trim());
        match name {
            "machine" => self.machine = value.trim_matches('"').to_string(),
            "compiler" => self.compiler = value.trim_matches('"').to_string(),
            _ => {
                self.counts.insert(name.to_string(), value.parse().ok()?);
            }
        }
        Some(())
    }

    pub(crate) fn to_toml(&self) -> String {
        let mut text = format!(
            "# Counted by callgrind in a release build, SHA-256's compression apart. `cargo verify instructions`\n\
             # compares with these and fails beyond {TOLERANCE_PERCENT} %; with `--bless` it rewrites them. Say why in the commit.\n\
             machine = \"{}\"\ncompiler = \"{}\"\n\n[instructions_per_operation]\n",
            self.machine, self.compiler
        );
        for (name, count) in &self.counts {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name} = {count:.1}");
        }
        text
    }

    /// The verdict on every workload of the baseline and of `counts`, by name.
    pub(crate) fn compare(&self, counts: &Counts) -> BTreeMap<String, Verdict> {
        let gone = self.counts.keys().filter(|name| !counts.contains_key(*name));
        let gone = gone.map(|name| (name.clone(), Verdict::Gone));
        counts.iter().map(|(name, count)| (name.clone(), self.verdict(name, *count))).chain(gone).collect()
    }

    fn verdict(&self, name: &str, count: f64) -> Verdict {
        let Some(before) = self.counts.get(name) else { return Verdict::New };
        let percent = (count / before - 1.0) * 100.0;
        // So written, a baseline of 0 and its NaN differ as well.
        if percent.abs() <= TOLERANCE_PERCENT {
            Verdict::Same { percent }
        } else {
            Verdict::Differs { percent }
        }
    }
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        matches!(self, Self::Same { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, f64)]) -> Counts {
        of.iter().map(|&(name, count)| (name.to_string(), count)).collect()
    }

    fn baseline(of: &[(&str, f64)]) -> Baseline {
        Baseline { machine: "x86_64-linux".into(), compiler: "rustc 1.95.0".into(), counts: counts(of) }
    }

    #[test]
    fn reads_what_it_wrote() {
        let written = baseline(&[("decode-body", 41.5), ("slot", 1000.0)]);
        assert_eq!(Baseline::parse(&written.to_toml()), Ok(written));
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        assert_eq!(Baseline::parse("# counts\nslot = many"), Err("line 2: can't read `slot = many`".into()));
    }

    #[test]
    fn more_and_less_than_the_tolerance_differ() {
        let baseline = baseline(&[("gone", 1.0), ("less", 100.0), ("more", 100.0), ("same", 100.0)]);
        let verdicts =
            baseline.compare(&counts(&[("less", 89.0), ("more", 111.0), ("new", 1.0), ("same", 109.0)]));
        assert_eq!(verdicts["gone"], Verdict::Gone);
        assert_eq!(verdicts["new"], Verdict::New);
        assert!(matches!(verdicts["less"], Verdict::Differs { percent } if percent < -10.0));
        assert!(matches!(verdicts["more"], Verdict::Differs { percent } if percent > 10.0));
        assert!(verdicts["same"].holds());
    }

    #[test]
    fn a_baseline_of_nothing_holds_nothing() {
        assert!(!baseline(&[("slot", 0.0)]).compare(&counts(&[("slot", 0.0)]))["slot"].holds());
    }
}
