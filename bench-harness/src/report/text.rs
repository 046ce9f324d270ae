/// A number with its thousands apart: "272,060", "8.62".
pub(crate) fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A quantity with about three digits that count.
pub(crate) fn quantity(value: f64) -> String {
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 || v <= 0.0 => 2,
        _ => 4,
    };
    grouped(value, digits)
}

/// A label of an axis: as short as it can be said, such as "50k" or "1.5M".
pub(crate) fn tick(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e12 => return format!("{v:.0e}"),
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{scaled:.4}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A word of a command as a POSIX shell takes it, on one line.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace(['\n', '\r'], " ").replace('\'', "'\\''"))
}

/// A command on one line.
pub(crate) fn command_line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// Text broken into lines of at most so many characters, at blanks where there are any.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut letters: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("there is always a last line");
            let used = line.chars().count();
            let blank = usize::from(used > 0);
            if used + blank + letters.len() <= width {
                line.push_str(if blank == 1 { " " } else { "" });
                line.extend(letters);
                break;
            }
            if used > 0 {
                lines.push(String::new());
                continue;
            }
            line.extend(letters.drain(..width.max(1)));
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((grouped(272_060.4, 0).as_str(), grouped(1234.5, 1).as_str()), ("272,060", "1,234.5"));
        assert_eq!((grouped(0.0, 0).as_str(), grouped(999.0, 0).as_str()), ("0", "999"));
        let quantities = [1_222.4, 41.94, 3.71, 0.25, 0.0, 0.0123].map(quantity);
        assert_eq!(quantities, ["1,222", "41.9", "3.71", "0.25", "0.00", "0.0123"]);
        let ticks = [0.0, 0.5, 2000.0, 50_000.0, 1_500_000.0, 1e13].map(tick);
        assert_eq!(ticks, ["0", "0.5", "2000", "50k", "1.5M", "1e13"]);
    }

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["bench", "--out", "a b", "it's", "x\ny"].map(String::from);
        assert_eq!(command_line(&words), r"bench --out 'a b' 'it'\''s' 'x y'");
    }

    #[test]
    fn lines_are_no_longer_than_asked_for() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
