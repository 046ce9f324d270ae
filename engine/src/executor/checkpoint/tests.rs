#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use hypostyle_app_api::PillarId;
use hypostyle_crypto::Seal;
use hypostyle_pillars::message::{Bundle, Statement};

use super::*;

const A: Digest = Digest([0xa; 32]);
const B: Digest = Digest([0xb; 32]);
const D: Digest = Digest([0xd; 32]);

fn bundle(replica: u16, round: u64, digest: Digest) -> Arc<SealedBundle> {
    let statement = Statement::checkpoint(Round(round), digest);
    let bundle = Bundle::new(ReplicaId(replica), PillarId(0), &[statement]);
    let seal = Seal { signer: ReplicaId(replica), entries: vec![bundle.entry()], signature: Bytes::new() };
    Arc::new(bundle.seal(seal))
}

fn vote_of(replica: u16, round: u64, digest: Digest) -> CheckpointVote {
    // Only so many replicas can make a bundle; an unknown one's vote is refused before it is looked at.
    let bundle = bundle(replica, round.max(1), digest);
    CheckpointVote { replica: ReplicaId(replica), round: Round(round), digest, bundle }
}

/// n = 4, K = 2, L = 4: votes are kept for rounds 2, 4, 6, 8, 10.
struct Scene {
    checkpoints: Checkpoints,
    out: Vec<Output>,
}

impl Scene {
    fn new() -> Self {
        Self { checkpoints: Checkpoints::new(4, 2, 4), out: Vec::new() }
    }

    fn vote(&mut self, replica: u16, round: u64, digest: Digest) -> Result<(), Ignored> {
        self.checkpoints.vote(vote_of(replica, round, digest), &mut self.out)
    }

    fn votes(&mut self, replicas: impl IntoIterator<Item = u16>, round: u64, digest: Digest) {
        replicas.into_iter().for_each(|replica| self.vote(replica, round, digest).unwrap());
    }

    fn own(&mut self, round: u64, digest: Digest) {
        self.checkpoints.own(Round(round), digest, &mut self.out);
    }

    /// The outputs as short text; a proof must hold what its output says, from distinct replicas.
    fn told(&mut self) -> Vec<String> {
        let tell = |output| match output {
            Output::Stable(stable) => {
                let mut signers: Vec<_> = stable.proof.iter().map(|bundle| bundle.signer().0).collect();
                signers.dedup();
                assert!(signers.len() >= 3, "{signers:?}");
                let right = Statement::checkpoint(stable.round, stable.digest);
                assert!(stable.proof.iter().all(|bundle| bundle.statements().contains(&right)));
                format!("stable {} {:?}", stable.round, stable.digest)
            }
            Output::Diverged { round, own, stable } => format!("diverged {round} {own:?} {stable:?}"),
            Output::Split { round } => format!("split {round}"),
            Output::Behind { round } => format!("behind {round}"),
            Output::Checkpoint { .. } | Output::Recovered { .. } => panic!("not the collector's"),
        };
        std::mem::take(&mut self.out).into_iter().map(tell).collect()
    }
}

#[test]
fn equal_votes_of_2f_plus_1_make_a_round_stable() {
    let mut scene = Scene::new();
    scene.votes([0, 1], 2, A);
    assert_eq!(scene.told(), [""; 0]);
    scene.votes([3], 2, A);
    assert_eq!(scene.told(), ["stable 2 0a0a0a0a"]);
    assert_eq!(scene.checkpoints.stable(), (Round(2), A));
    assert_eq!(scene.vote(2, 2, A), Err(Ignored::Old));
}

#[test]
fn nobody_counts_twice() {
    let mut scene = Scene::new();
    scene.votes([0, 1], 2, A);
    assert_eq!(scene.vote(1, 2, A), Err(Ignored::Repeated));
    assert_eq!(scene.vote(1, 2, B), Err(Ignored::Contradicts));
    assert_eq!(scene.told(), [""; 0]);
}

#[test]
fn votes_that_make_no_sense_are_ignored() {
    let mut scene = Scene::new();
    assert_eq!(scene.vote(4, 2, A), Err(Ignored::UnknownReplica));
    assert_eq!(scene.vote(0, 3, A), Err(Ignored::NoCheckpointRound));
    assert_eq!(scene.vote(0, 0, A), Err(Ignored::NoCheckpointRound));
}

#[test]
fn a_higher_round_may_become_stable_first() {
    let mut scene = Scene::new();
    scene.votes([0, 1], 2, A);
    scene.votes([0, 1, 2], 6, B);
    assert_eq!(scene.told(), ["behind 6", "stable 6 0b0b0b0b"]);
    assert_eq!(scene.vote(2, 2, A), Err(Ignored::Old));
    scene.votes([0, 1, 2], 14, A);
    assert_eq!(scene.told(), ["behind 14", "stable 14 0a0a0a0a"], "the window moved to 14");
}

#[test]
fn own_state_that_differs_from_the_stable_one_is_told() {
    let mut scene = Scene::new();
    scene.own(2, B);
    scene.votes([0, 1, 2], 2, A);
    assert_eq!(scene.told(), ["diverged 2 0b0b0b0b 0a0a0a0a", "stable 2 0a0a0a0a"]);

    let mut late = Scene::new();
    late.votes([0, 1, 2], 2, A);
    late.votes([0, 1, 2], 4, A);
    assert_eq!(late.told(), ["stable 2 0a0a0a0a", "stable 4 0a0a0a0a"]);
    late.own(2, A);
    assert_eq!(late.told(), [""; 0]);
    late.own(4, D);
    assert_eq!(late.told(), ["diverged 4 0d0d0d0d 0a0a0a0a"]);
}

#[test]
fn votes_that_can_never_agree_are_told_once() {
    let mut scene = Scene::new();
    scene.votes([0], 2, A);
    scene.votes([1], 2, B);
    assert_eq!(scene.told(), [""; 0], "one of them may be faulty");
    scene.votes([2], 2, A);
    assert_eq!(scene.told(), [""; 0], "A can still reach three");
    let mut split = Scene::new();
    split.votes([0], 2, A);
    split.votes([1], 2, B);
    split.votes([2], 2, D);
    assert_eq!(split.told(), ["split 2"]);
    split.votes([3], 2, A);
    assert_eq!(split.told(), [""; 0]);
}

#[test]
fn a_replica_left_behind_learns_of_it_from_f_plus_1() {
    let mut scene = Scene::new();
    scene.votes([3], 1_000_000, A);
    assert_eq!(scene.told(), [""; 0], "one may lie");
    scene.votes([1], 100, A);
    assert_eq!(scene.told(), ["behind 100"]);
    assert_eq!(scene.vote(1, 100, A), Err(Ignored::Repeated));
    assert_eq!(scene.vote(1, 98, A), Err(Ignored::Repeated));
    assert_eq!(scene.vote(1, 100, B), Err(Ignored::Contradicts));
    assert_eq!(scene.told(), [""; 0]);
    scene.votes([1], 102, A);
    assert_eq!(scene.told(), ["behind 102"]);
    scene.checkpoints.executed(Round(100));
    scene.votes([1], 104, A);
    assert_eq!(scene.told(), [""; 0], "104 is not more than L above 100");
}

#[test]
fn votes_beyond_the_window_count_when_it_gets_there() {
    let mut scene = Scene::new();
    scene.votes([1, 2], 12, B);
    scene.votes([0, 1, 2], 4, A);
    assert_eq!(scene.told(), ["behind 12", "stable 4 0a0a0a0a"]);
    scene.votes([3], 12, B);
    assert_eq!(scene.told(), ["stable 12 0b0b0b0b"]);
}

/// Found by seed 301790 at 51a3c22: replica 0 told this one B, the others A, and stands in their proof.
#[test]
fn a_proof_counts_though_one_in_it_has_told_another_digest_first() {
    let mut scene = Scene::new();
    scene.votes([0], 2, B);
    assert_eq!(scene.vote(0, 2, A), Err(Ignored::Contradicts), "nobody agrees with either");
    scene.votes([1, 2], 2, A);
    assert_eq!(scene.told(), [""; 0]);
    scene.votes([0], 2, A);
    assert_eq!(scene.told(), ["stable 2 0a0a0a0a"]);
}

#[test]
fn a_proof_counts_though_one_in_it_has_told_a_round_far_ahead() {
    let mut scene = Scene::new();
    scene.votes([0], 1_000_000, B);
    scene.votes([1, 2], 40, A);
    assert_eq!(scene.told(), ["behind 40"]);
    scene.checkpoints.installed(Round(40), &mut scene.out);
    // What the others have as stable is at most L below.
    for round in [36, 38] {
        let _ = scene.vote(1, round, A);
        let _ = scene.vote(2, round, A);
    }
    scene.votes([0], 36, A);
    assert_eq!(scene.told(), ["stable 36 0a0a0a0a"]);
    assert_eq!(scene.vote(0, 34, A), Err(Ignored::Old));
    scene.votes([0], 40, A);
    assert_eq!(scene.told(), ["stable 40 0a0a0a0a"], "what was beyond is in the window now");
}

/// The last round for which a replica that has taken over a state doesn't count as behind.
#[test]
fn a_proof_counts_a_window_above_what_was_taken_over() {
    let mut scene = Scene::new();
    scene.votes([0], 1_000_000, B);
    scene.votes([1, 2], 44, A);
    assert_eq!(scene.told(), ["behind 44"]);
    scene.checkpoints.installed(Round(40), &mut scene.out);
    scene.votes([0], 44, A);
    assert_eq!(scene.told(), ["stable 44 0a0a0a0a"]);
}

#[test]
fn a_whole_proof_counts_at_once_whatever_was_told_before() {
    let mut scene = Scene::new();
    scene.own(2, D);
    scene.votes([0], 2, B);
    let proof = [0, 1, 2].map(|replica| bundle(replica, 2, A)).into();
    let proven = Stable { round: Round(2), digest: A, proof };
    scene.checkpoints.prove(proven.clone(), &mut scene.out);
    assert_eq!(scene.told(), ["diverged 2 0d0d0d0d 0a0a0a0a", "stable 2 0a0a0a0a"]);
    scene.checkpoints.prove(proven, &mut scene.out);
    assert_eq!(scene.told(), [""; 0]);
    let far = Stable { round: Round(80), digest: A, proof: [0, 1, 2].map(|r| bundle(r, 80, A)).into() };
    scene.checkpoints.prove(far, &mut scene.out);
    assert_eq!(scene.told(), ["stable 80 0a0a0a0a", "behind 80"]);
}

#[test]
fn a_quorum_beyond_the_window_is_a_quorum() {
    let mut scene = Scene::new();
    scene.votes([0, 1, 3], 64, B);
    assert_eq!(scene.told(), ["behind 64", "stable 64 0b0b0b0b"]);
    assert_eq!(scene.checkpoints.stable(), (Round(64), B));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut scene = Scene::new();
    for round in (2..2000).step_by(2) {
        scene.own(round, A);
        let _ = scene.vote(3, u64::MAX - 1 - round % 64, A);
        let _ = scene.vote(2, round, A);
    }
    let c = &scene.checkpoints;
    assert_eq!((c.rounds.len(), c.beyond.len(), c.own.len(), c.ahead.len()), (5, 4, 5, 0));
    for round in (2000..4000).step_by(2) {
        scene.votes([0, 1, 2], round, A);
    }
    assert_eq!((scene.checkpoints.rounds.len(), scene.checkpoints.ahead.len()), (5, 5));
}
