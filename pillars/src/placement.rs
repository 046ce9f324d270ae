use hypostyle_app_api::{ClientId, Number, PillarId, ReplicaId, View};

/// Who leads which view of which pillar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Leaders {
    /// (v + p) mod n: every replica leads some pillars.
    #[default]
    Spread,
    /// v mod n: classic PBFT and COP.
    Single,
}

/// Which pillar orders a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Assign {
    /// By client and number: one heavy client uses all pillars.
    #[default]
    Request,
    /// By client: each client's requests keep their order.
    Client,
}

/// The primary of a view of a pillar among `n` replicas.
#[must_use]
pub fn primary(leaders: Leaders, n: u16, pillar: PillarId, view: View) -> ReplicaId {
    let n = u64::from(n);
    let offset = match leaders {
        Leaders::Spread => u64::from(pillar.0),
        Leaders::Single => 0,
    };
    ReplicaId(u16::try_from((view.0 % n + offset) % n).expect("below n"))
}

/// The only pillar that may order the request of `client` that begins at `first`.
///
/// With [`Assign::Request`] numbers are assigned in runs of `request_operations`, the most a request may hold, and
/// a request crosses no multiple of it (see [`crosses_run`]): so one number belongs to one pillar.
#[must_use]
pub fn assigned_pillar(
    assign: Assign,
    pillars: u16,
    request_operations: u16,
    client: ClientId,
    first: Number,
) -> PillarId {
    let run = match assign {
        Assign::Request => first.0 / u64::from(request_operations.max(1)),
        Assign::Client => 0,
    };
    let mixed = mix(u64::from(client.0) ^ run.rotate_left(32)) % u64::from(pillars);
    PillarId(u16::try_from(mixed).expect("below P"))
}

/// Whether a request of `count` operations from `first` spans two runs of numbers, and so two pillars.
#[must_use]
pub fn crosses_run(request_operations: u16, first: Number, count: u16) -> bool {
    let run = u64::from(request_operations.max(1));
    first.0 / run != (first.0 + u64::from(count.saturating_sub(1))) / run
}

/// The finalizer of SplitMix64 (Steele et al., OOPSLA'14): every input bit reaches every output bit.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_gives_every_replica_a_pillar_and_single_gives_one_replica_all() {
        let lead = |leaders, p| primary(leaders, 4, PillarId(p), View(5)).0;
        assert_eq!([0, 1, 2, 3].map(|p| lead(Leaders::Spread, p)), [1, 2, 3, 0]);
        assert_eq!([0, 1, 2, 3].map(|p| lead(Leaders::Single, p)), [1; 4]);
        assert_eq!(primary(Leaders::Spread, 4, PillarId(3), View(u64::MAX)), ReplicaId(2));
    }

    #[test]
    fn a_heavy_client_uses_all_pillars_evenly() {
        let mut counts = [0; 8];
        for number in 1..=8000 {
            counts[assigned_pillar(Assign::Request, 8, 1, ClientId(3), Number(number)).index()] += 1;
        }
        assert!(counts.iter().all(|c| (850..1150).contains(c)), "{counts:?}");
    }

    #[test]
    fn one_number_belongs_to_one_pillar() {
        for first in 1..200 {
            for count in 1..=8 {
                if crosses_run(8, Number(first), count) {
                    continue;
                }
                let whole = assigned_pillar(Assign::Request, 4, 8, ClientId(1), Number(first));
                for number in first..first + u64::from(count) {
                    assert_eq!(whole, assigned_pillar(Assign::Request, 4, 8, ClientId(1), Number(number)));
                }
            }
        }
        assert!(crosses_run(8, Number(7), 2) && !crosses_run(8, Number(8), 8));
    }

    #[test]
    fn a_client_assigned_as_a_whole_stays_in_one_pillar() {
        let home = assigned_pillar(Assign::Client, 4, 1, ClientId(9), Number(1));
        assert!((2..100).all(|k| assigned_pillar(Assign::Client, 4, 1, ClientId(9), Number(k)) == home));
    }
}
