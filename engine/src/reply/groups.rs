use bytes::Bytes;
use hypostyle_app_api::{ClientId, PillarId, ReplicaId, View};

use super::{Answer, ReplyGroup};

/// When a group is closed, so that the message fits the frame between replica and client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    /// Most records: 1 when every reply is signed singly.
    pub(crate) records: u16,
    /// Bytes of whole results after which no more are added.
    pub(crate) attached: usize,
}

/// The groups of one executor turn. Finding the open group of (pillar, client) takes no map: each client points at
/// its latest group, and those of one client are linked.
#[derive(Debug)]
pub(crate) struct Groups {
    signer: ReplicaId,
    limits: GroupLimits,
    views: Vec<View>,
    /// Per client its latest group of this turn.
    latest: Vec<u32>,
    groups: Vec<ReplyGroup>,
    /// Per group the client's one before it.
    before: Vec<u32>,
    spare: Vec<ReplyGroup>,
}

const NONE: u32 = u32::MAX;
/// Groups kept for reuse, and the largest kept.
const SPARE_MAX: usize = 4096;
const SPARE_BYTES_MAX: usize = 16 << 10;

impl Groups {
    pub(crate) fn new(signer: ReplicaId, pillars: u16, clients: u32, limits: GroupLimits) -> Self {
        Self {
            signer,
            limits,
            views: vec![View(0); usize::from(pillars)],
            latest: vec![NONE; clients as usize],
            groups: Vec::new(),
            before: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The view that groups of `pillar` opened from now on tell.
    pub(crate) fn set_view(&mut self, pillar: PillarId, view: View) {
        self.views[pillar.index()] = view;
    }

    /// Adds an answer to the open group of (pillar, client).
    pub(crate) fn push(&mut self, pillar: PillarId, client: ClientId, answer: &Answer, whole: Option<Bytes>) {
        let group = match self.open(pillar, client) {
            Some(index) => &mut self.groups[index],
            None => self.start(pillar, client),
        };
        group.push(answer, whole);
    }

    /// Ends the turn: moves its groups to `out` in the order in which they were opened.
    pub(crate) fn finish(&mut self, out: &mut Vec<ReplyGroup>) {
        for group in &self.groups {
            self.latest[group.client().index()] = NONE;
        }
        self.before.clear();
        out.append(&mut self.groups);
    }

    /// Takes back a group that was sent, so that the next needs no allocation.
    pub(crate) fn recycle(&mut self, group: ReplyGroup) {
        if self.spare.len() < SPARE_MAX && group.capacity() <= SPARE_BYTES_MAX {
            self.spare.push(group);
        }
    }

    fn open(&self, pillar: PillarId, client: ClientId) -> Option<usize> {
        let mut index = self.latest[client.index()];
        while index != NONE {
            let group = &self.groups[index as usize];
            if group.pillar() == pillar {
                // Older groups of this pillar are full.
                return self.has_room(group).then_some(index as usize);
            }
            index = self.before[index as usize];
        }
        None
    }

    fn has_room(&self, group: &ReplyGroup) -> bool {
        group.count() < usize::from(self.limits.records) && group.attached() < self.limits.attached
    }

    fn start(&mut self, pillar: PillarId, client: ClientId) -> &mut ReplyGroup {
        let view = self.views[pillar.index()];
        let group = match self.spare.pop() {
            Some(mut group) => {
                group.restart(self.signer, pillar, view, client);
                group
            }
            None => ReplyGroup::new(self.signer, pillar, view, client),
        };
        let index = u32::try_from(self.groups.len()).expect("a turn's groups are bounded by its budget");
        self.before.push(std::mem::replace(&mut self.latest[client.index()], index));
        self.groups.push(group);
        self.groups.last_mut().expect("just pushed")
    }
}

#[cfg(test)]
mod tests {
    use hypostyle_app_api::{Digest, Number};

    use super::*;

    fn groups(records: u16, attached: usize) -> Groups {
        Groups::new(ReplicaId(0), 3, 4, GroupLimits { records, attached })
    }

    fn push(groups: &mut Groups, pillar: u16, client: u32, number: u64) {
        let answer = Answer::result(Number(number), &Digest::ZERO, b"r");
        groups.push(PillarId(pillar), ClientId(client), &answer, None);
    }

    fn finished(groups: &mut Groups) -> Vec<(u16, u32, usize)> {
        let mut out = Vec::new();
        groups.finish(&mut out);
        let told = out.iter().map(|g| (g.pillar().0, g.client().0, g.count())).collect();
        out.into_iter().for_each(|group| groups.recycle(group));
        told
    }

    #[test]
    fn one_group_for_each_pillar_and_client_of_a_turn() {
        let mut groups = groups(100, 1000);
        for turn in 0..2 {
            for number in 1..=3 {
                push(&mut groups, 0, 1, number);
                push(&mut groups, 2, 1, number);
                push(&mut groups, 0, 3, number);
            }
            assert_eq!(finished(&mut groups), [(0, 1, 3), (2, 1, 3), (0, 3, 3)], "turn {turn}");
            assert_eq!(finished(&mut groups), []);
        }
    }

    #[test]
    fn a_full_group_is_followed_by_another() {
        let mut groups = groups(2, 1000);
        (1..=5).for_each(|number| push(&mut groups, 1, 0, number));
        push(&mut groups, 0, 0, 6);
        push(&mut groups, 1, 0, 7);
        assert_eq!(finished(&mut groups), [(1, 0, 2), (1, 0, 2), (1, 0, 2), (0, 0, 1)]);
    }

    #[test]
    fn attached_results_close_a_group() {
        let mut groups = groups(100, 80);
        for number in 1..=5 {
            let result = [1; 50];
            let answer = Answer::result(Number(number), &Digest::ZERO, &result);
            groups.push(PillarId(0), ClientId(0), &answer, Some(Bytes::copy_from_slice(&result)));
        }
        assert_eq!(finished(&mut groups), [(0, 0, 2), (0, 0, 2), (0, 0, 1)]);
    }
}
