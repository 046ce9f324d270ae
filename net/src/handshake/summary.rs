//! Which field of two configurations differs. Summaries are lines `name=value`, in canonical order; those of others
//! are untrusted text.

use crate::handshake::messages::LINE_MAX;
use crate::peer::Peer;

const ABSENT: &str = "absent";

/// The first line of `ours`, else the first of `theirs`, that the other doesn't have: its name, and both values.
pub(crate) fn first_difference(ours: &[u8], theirs: &[u8]) -> Option<Difference> {
    let mine = fields(ours).find(|(name, value)| field(theirs, name) != Some(value));
    if let Some((name, value)) = mine {
        return Some(Difference::new(name, Some(value), field(theirs, name)));
    }
    let (name, value) = fields(theirs).find(|(name, _)| field(ours, name).is_none())?;
    Some(Difference::new(name, None, Some(value)))
}

/// What the other side's `line` says about a field of `ours`, if it really differs.
pub(crate) fn told_difference(ours: &[u8], line: &[u8]) -> Option<Difference> {
    let (name, theirs) = fields(line).next()?;
    let mine = field(ours, name);
    (mine != Some(theirs)).then(|| Difference::new(name, mine, Some(theirs)))
}

/// A field that differs, safe to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    name: String,
    ours: String,
    theirs: String,
    line: Vec<u8>,
}

impl Difference {
    fn new(name: &[u8], ours: Option<&[u8]>, theirs: Option<&[u8]>) -> Self {
        let value = |value: Option<&[u8]>| value.map_or(ABSENT.to_owned(), printable);
        let mut line = [name, b"=", ours.unwrap_or(ABSENT.as_bytes())].concat();
        line.truncate(LINE_MAX);
        Self { name: printable(name), ours: value(ours), theirs: value(theirs), line }
    }

    /// What to tell the other side.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// For a person.
    pub(crate) fn explain(&self, peer: Peer) -> String {
        format!("{} is {} here and {} at {peer}", self.name, self.ours, self.theirs)
    }
}

fn fields(summary: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    summary.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((&line[..at], &line[at + 1..]))
    })
}

fn field<'a>(summary: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields(summary).find(|(other, _)| *other == name).map(|(_, value)| value)
}

fn printable(text: &[u8]) -> String {
    text[..text.len().min(80)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Role;
    use proptest::prelude::*;

    const PEER: Peer = Peer { role: Role::Replica, id: 3 };

    fn explained(ours: &str, theirs: &str) -> Option<String> {
        first_difference(ours.as_bytes(), theirs.as_bytes()).map(|d| d.explain(PEER))
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let ours = "id=x\npillars=1\nbundle=64\n";
        assert_eq!(explained(ours, ours), None);
        let expected = "pillars is 1 here and 2 at replica 3";
        assert_eq!(explained(ours, "id=x\npillars=2\nbundle=1\n").as_deref(), Some(expected));
        assert_eq!(
            explained(ours, "id=x\npillars=1\n").as_deref(),
            Some("bundle is 64 here and absent at replica 3")
        );
        assert_eq!(
            explained("id=x\n", "id=x\nnew=1\n").as_deref(),
            Some("new is absent here and 1 at replica 3")
        );
    }

    #[test]
    fn both_sides_name_the_same_field() {
        let (ours, theirs) = (b"id=x\npillars=1\n", b"id=x\npillars=2\n");
        let here = first_difference(ours, theirs).expect("they differ");
        let there = told_difference(theirs, here.line()).expect("it differs");
        assert_eq!(there.explain(PEER), "pillars is 2 here and 1 at replica 3");
        assert_eq!(told_difference(ours, here.line()), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_printed_safely(ours in ".{0,300}", theirs: Vec<u8>) {
            if let Some(difference) = first_difference(ours.as_bytes(), &theirs) {
                prop_assert!(difference.explain(PEER).len() < 1200);
                prop_assert!(difference.line().len() <= LINE_MAX);
            }
            if let Some(difference) = told_difference(ours.as_bytes(), &theirs) {
                let told = difference.theirs + &difference.name;
                prop_assert!(told.bytes().all(|b| (32..127).contains(&b)));
            }
        }
    }
}
