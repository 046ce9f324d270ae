use std::fmt::Write;

use super::results::{Change, Comparison};

/// Two of our own results for a person.
#[must_use]
pub fn results_table(comparison: &Comparison) -> String {
    let mut out = format!(
        "a: {}\nb: {}\nb / a: ratio of medians with its 95 % confidence interval (bootstrap)\n",
        comparison.a.display(),
        comparison.b.display()
    );
    for pair in &comparison.pairs {
        let [a, b] = pair.repetitions;
        let _ = writeln!(out, "\n{} ({a} and {b} repetitions)", pair.setting);
        pair.changes.iter().for_each(|change| row(&mut out, change));
        let [a, b] = pair.marked;
        if a + b > 0 {
            let _ = writeln!(out, "  not to quote: {a} of a and {b} of b are marked as no results");
        }
    }
    for setting in &comparison.unpaired {
        let _ = writeln!(out, "\nnot compared, {setting}");
    }
    out
}

fn row(out: &mut String, change: &Change) {
    let [a, b] = change.medians;
    let ratio = change.ratio.map_or_else(String::new, |ratio| {
        format!("{:.3} ({:.3} to {:.3})", ratio.ratio, ratio.low, ratio.high)
    });
    let _ = writeln!(out, "  {:<30}{a:>14.1}{b:>14.1}  {ratio:<26}{}", change.figure, change.verdict);
}
