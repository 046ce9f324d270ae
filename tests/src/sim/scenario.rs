//! The scenarios of Twins (Bano et al., "Twins: BFT Systems Made Robust", OPODIS'21, section 4) for n = 4.
//!
//! A scenario names the replica that has a twin, and for each of three rounds a partition of the five nodes: the four
//! replicas, one of them as its first copy, and that one's second copy. Nodes hear each other within a set only. Who leads
//! isn't part of it: in PBFT leaders follow from the views, each pillar begins with a leader of its own, and a round lasts
//! long enough for a view or two to fail. That the twin may be any replica stands for any relation between the twin and the
//! leaders.
//!
//! All partitions into at most three sets are there: 1 into one, 15 into two, 25 into three. Partitions into four and five
//! sets are left out: in none of them anybody can reach a quorum. A last round with all nodes in one set is the same as no
//! round, for the network heals after it: so scenarios of one and two rounds are among these. Copies in one set don't hear
//! each other: a replica has no link to itself.
//!
//! One symmetry is used. The two copies begin equal and are treated alike: for each pillar there is a client that only the
//! first hears, and one that only the second hears. So to swap the copies in all rounds gives the same scenario under
//! another name, and of the two the one that comes first is kept. Of the 41³ sequences for a twin 15³ are their own mirror
//! image (both copies in one set, or each alone), which leaves (41³ + 15³) / 2 = 36,148 for each of four: 144,592 in all.
//! Replicas can't be swapped: their ids say when they lead.

use std::fmt;

/// Rounds of a scenario.
pub(super) const ROUNDS: usize = 3;
/// Replicas, and the second copy, which is the last node.
const NODES: usize = 5;
/// The second copy of the replica that has a twin.
pub(super) const SECOND_COPY: usize = NODES - 1;
/// Most sets of a partition.
const SETS_MAX: u8 = 3;

/// The set of each node: a set's number is the number of sets that begin before it.
pub(super) type Partition = [u8; NODES];

/// Who has a twin, and who hears whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scenario {
    pub(super) rounds: [Partition; ROUNDS],
    pub(super) twin: usize,
}

impl Scenario {
    /// All scenarios, always in the same order.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let partitions = partitions();
        let mut all = Vec::new();
        for first in &partitions {
            for second in &partitions {
                for third in &partitions {
                    let rounds = [*first, *second, *third];
                    let scenarios = (0..SECOND_COPY).map(|twin| Self { rounds, twin });
                    all.extend(scenarios.filter(|scenario| *scenario <= scenario.mirrored()));
                }
            }
        }
        all
    }

    /// The same with the copies swapped.
    fn mirrored(&self) -> Self {
        let swapped = |partition: &Partition| {
            let mut partition = *partition;
            partition.swap(self.twin, SECOND_COPY);
            renumbered(&partition)
        };
        Self { rounds: self.rounds.each_ref().map(swapped), twin: self.twin }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "twins r{} and r{}':", self.twin, self.twin)?;
        for partition in &self.rounds {
            f.write_str("  ")?;
            for set in 0..SETS_MAX {
                let members = (0..NODES).filter(|node| partition[*node] == set);
                let names = members.map(|node| match node {
                    SECOND_COPY => format!("r{}'", self.twin),
                    replica => format!("r{replica}"),
                });
                let names: Vec<_> = names.collect();
                if !names.is_empty() {
                    write!(f, "{{{}}}", names.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

fn partitions() -> Vec<Partition> {
    let sets = u32::from(SETS_MAX);
    let nodes = u32::try_from(NODES).expect("a few");
    let digit = |number: u32, place: u32| u8::try_from(number / sets.pow(place) % sets).expect("below 3");
    let numbered =
        |number| std::array::from_fn(|node| digit(number, nodes - 1 - u32::try_from(node).expect("a few")));
    let all = (0..sets.pow(nodes)).map(numbered);
    all.filter(|partition: &Partition| *partition == renumbered(partition)).collect()
}

/// The same partition with its sets numbered in the order in which they begin.
fn renumbered(partition: &Partition) -> Partition {
    let mut names = Vec::new();
    partition.map(|set| {
        let place = names.iter().position(|name| *name == set).unwrap_or_else(|| {
            names.push(set);
            names.len() - 1
        });
        u8::try_from(place).expect("at most 5")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_partition_into_at_most_three_sets_is_there_once() {
        let all = partitions();
        let with = |sets: u8| all.iter().filter(|p| p.iter().max() == Some(&(sets - 1))).count();
        assert_eq!([1, 2, 3].map(with), [1, 15, 25]);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 41);
    }

    #[test]
    fn of_a_scenario_and_its_mirror_image_one_is_there() {
        let all = Scenario::all();
        assert_eq!(all.len(), 4 * (41_usize.pow(3) + 15_usize.pow(3)) / 2);
        let set: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(set.len(), all.len());
        for scenario in all.iter().step_by(97) {
            let mirrored = scenario.mirrored();
            assert_eq!(mirrored.mirrored(), *scenario);
            assert!(mirrored == *scenario || !set.contains(&mirrored));
        }
    }

    #[test]
    fn a_scenario_is_shown_round_by_round() {
        let scenario = Scenario { twin: 1, rounds: [[0; 5], [0, 0, 1, 1, 1], [0, 1, 2, 2, 0]] };
        assert_eq!(
            scenario.to_string(),
            "twins r1 and r1':  {r0 r1 r2 r3 r1'}  {r0 r1}{r2 r3 r1'}  {r0 r1'}{r1}{r2 r3}"
        );
    }
}
