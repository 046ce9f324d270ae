/// What a replica tells of its state after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    /// Positions of the global order executed.
    pub(crate) positions: u64,
    /// Operations executed; those skipped as repetitions don't count.
    pub(crate) operations: u64,
    /// The round after which the digest was taken.
    pub(crate) state_round: u64,
    /// Digest of the state.
    pub(crate) digest: String,
}

/// Whether replicas did what was asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All executed exactly what was acknowledged and ended in this state.
    Agree {
        /// The digest of that state.
        digest: String,
    },
    /// They may still get there: the text says what is missing.
    NotYet(String),
    /// They can't get there any more: the text says why.
    Never(String),
}

/// Judges the replicas once every operation that was sent has been acknowledged: `acknowledged` of them.
#[must_use]
pub(crate) fn judge(replicas: &[Executed], acknowledged: u64) -> Verdict {
    let excess = replicas.iter().position(|replica| replica.operations > acknowledged);
    if let Some(id) = excess {
        let executed = replicas[id].operations;
        return Verdict::Never(format!(
            "replica {id} executed {executed} operations, but only {acknowledged} were sent: some were executed twice"
        ));
    }
    let behind = replicas.iter().position(|replica| replica.operations < acknowledged);
    if let Some(id) = behind {
        let executed = replicas[id].operations;
        return Verdict::NotYet(format!(
            "replica {id} executed {executed} of {acknowledged} acknowledged operations"
        ));
    }
    let Some(first) = replicas.first() else { return Verdict::Never("there are no replicas".into()) };
    for (id, replica) in replicas.iter().enumerate() {
        if replica.positions != first.positions {
            let (a, b) = (first.positions, replica.positions);
            return Verdict::NotYet(format!(
                "replica 0 executed {a} positions of the order, replica {id} {b}"
            ));
        }
        if replica.state_round != first.state_round {
            let (a, b) = (first.state_round, replica.state_round);
            return Verdict::NotYet(format!(
                "replica 0's state digest is that of round {a}, replica {id}'s of {b}"
            ));
        }
        if replica.digest != first.digest {
            let (a, b, at) = (&first.digest, &replica.digest, first.state_round);
            return Verdict::Never(format!(
                "state digests differ after round {at}: replica 0 {a}, replica {id} {b}"
            ));
        }
    }
    Verdict::Agree { digest: first.digest.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executed(positions: u64, operations: u64, digest: &str) -> Executed {
        Executed { positions, operations, state_round: positions / 2, digest: digest.into() }
    }

    #[test]
    fn equal_replicas_agree() {
        let replicas = vec![executed(8, 100, "d"); 4];
        assert_eq!(judge(&replicas, 100), Verdict::Agree { digest: "d".into() });
    }

    #[test]
    fn laggards_are_waited_for() {
        let replicas = [executed(8, 100, "d"), executed(7, 99, "c")];
        assert!(
            matches!(judge(&replicas, 100), Verdict::NotYet(text) if text.contains("replica 1 executed 99 of 100"))
        );
        let replicas = [executed(8, 100, "d"), executed(9, 100, "d")];
        assert!(matches!(judge(&replicas, 100), Verdict::NotYet(_)));
        let replicas = [executed(8, 100, "d"), Executed { state_round: 3, ..executed(8, 100, "c") }];
        assert!(matches!(judge(&replicas, 100), Verdict::NotYet(_)));
    }

    #[test]
    fn divergence_and_double_execution_never_pass() {
        let replicas = [executed(8, 100, "d"), executed(8, 100, "e")];
        assert!(matches!(judge(&replicas, 100), Verdict::Never(text) if text.contains("digests differ")));
        let replicas = [executed(8, 100, "d"), executed(9, 101, "d")];
        assert!(matches!(judge(&replicas, 100), Verdict::Never(text) if text.contains("twice")));
        assert!(matches!(judge(&[], 0), Verdict::Never(_)));
    }
}
