use std::fmt::Write as _;

use super::facts::{Cell, Facts, Table};

/// The report as Markdown, fit to be pasted.
pub(crate) fn summary(facts: &Facts) -> String {
    let mut out = format!("# {}\n\n", plain(&facts.title));
    let _ = writeln!(
        out,
        "Began {}, commit {}, folder `{}`.\n",
        facts.began,
        plain(&facts.commit),
        plain(&facts.folder)
    );
    if let Some(error) = &facts.error {
        let _ = writeln!(out, "**The run ended early:** {}\n", plain(error));
    }
    for headline in &facts.headline {
        let _ =
            writeln!(out, "- {}: **{}** ({})", headline.label, plain(&headline.value), plain(&headline.note));
    }
    for text in &facts.signed {
        let _ = write!(out, "\n{}\n", plain(text));
    }
    for rows in &facts.tables {
        let _ = write!(out, "\n{}", table(rows));
    }
    if !facts.tables.is_empty() {
        out.push_str("\nMedians; in brackets the least and the greatest of the results.\n");
    }
    if !facts.marked.is_empty() {
        out.push_str("\nNot results, and in no median:\n");
        for (what, why) in &facts.marked {
            let _ = writeln!(out, "- {}: {}", plain(what), plain(why));
        }
    }
    for figure in &facts.figures {
        let _ = write!(out, "\n![{}]({})\n", plain(&figure.title), figure.file);
    }
    out.push_str("\nMachine:");
    for (index, (name, value)) in facts.environment.iter().enumerate() {
        let _ = write!(out, "{} {} {}", if index == 0 { "" } else { ";" }, plain(name), plain(value));
    }
    let _ = write!(out, ".\n\n```sh\n{}\n```\n", facts.command.join(" "));
    out
}

/// A table.
pub(crate) fn table(table: &Table) -> String {
    let mut out = row(table.header.iter().map(|name| plain(name)));
    out.push_str(&"|---".repeat(table.header.len()));
    out.push_str("|\n");
    table.rows.iter().for_each(|cells| out.push_str(&row(cells.iter().map(cell))));
    out
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn cell(cell: &Cell) -> String {
    match cell.extremes.as_str() {
        "" => plain(&cell.text),
        extremes => format!("{} ({})", plain(&cell.text), plain(extremes)),
    }
}

/// Text from outside as Markdown that shows it as it is.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '|' | '`' | '*' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::groups::tests::folder;
    use crate::report::measured::tests::old_row;

    #[test]
    fn the_summary_can_be_pasted() {
        let mut folder = folder(&[old_row(1, 0, 1000.0, ""), old_row(1, 1, 3000.0, "noisy")]);
        folder.manifest.command = vec!["bench".into(), "run".into()];
        let text = summary(&Facts::of(&folder));
        assert!(text.starts_with("# example\n"), "{text}");
        assert!(text.contains("- best throughput: **1,000 op/s** (P = 1, 24×100)"), "{text}");
        assert!(text.contains("| P = 1 | 24×100 | 1,000 |"), "{text}");
        assert!(text.contains("repetition 1: 3,000 op/s: noisy"), "{text}");
        assert!(text.contains("```sh\nbench run\n```"), "{text}");
        assert!(text.contains("![Latency over throughput](throughput-latency.svg)"), "{text}");
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = old_row(1, 0, 1.0, "<script>alert(1)</script> | [x](y) `z`");
        let text = summary(&Facts::of(&folder(&[hostile])));
        assert!(!text.contains("<script>") && !text.contains(" [x]"), "{text}");
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; \\| \\[x\\](y) \\`z\\`"), "{text}");
    }
}
