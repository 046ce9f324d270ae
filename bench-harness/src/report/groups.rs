use super::folder::Folder;
use super::measured::{FACETS, Facet, Load, Measured};
use super::text::grouped;
use crate::summary::Spread;

/// The repetitions of one setting under one load.
#[derive(Clone, Debug)]
pub(crate) struct Group<'a> {
    /// All of them, marked ones too.
    points: Vec<&'a Measured>,
    /// Whether a knee is at this load.
    pub(crate) knee: bool,
}

/// What is run under several loads: groups that differ in nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Variant<'a> {
    /// What tells it from the folder's other variants.
    pub(crate) label: String,
    /// Its colour in every figure.
    pub(crate) colour: usize,
    /// One for each load, in the order of their median throughput.
    pub(crate) groups: Vec<Group<'a>>,
}

impl<'a> Group<'a> {
    /// One of its points: for what they have in common.
    pub(crate) fn first(&self) -> &'a Measured {
        self.points[0]
    }

    /// Those that may be quoted.
    pub(crate) fn results(&self) -> impl Iterator<Item = &'a Measured> {
        self.points.iter().copied().filter(|point| point.is_result())
    }

    /// Those that may not.
    pub(crate) fn marked(&self) -> impl Iterator<Item = &'a Measured> {
        self.points.iter().copied().filter(|point| !point.is_result())
    }

    /// Median and extremes of the results; nothing when all are marked.
    pub(crate) fn spread(&self, value: fn(&Measured) -> f64) -> Option<Spread> {
        let values: Vec<f64> = self.results().map(value).collect();
        (!values.is_empty()).then(|| Spread::of(values))
    }

    /// Median throughput; that of marked points, where there are no others, only puts groups in order.
    fn rank(&self) -> f64 {
        let all = || Spread::of(self.points.iter().map(|point| point.throughput_ops_per_s).collect());
        self.spread(|point| point.throughput_ops_per_s).unwrap_or_else(all).median
    }
}

impl<'a> Variant<'a> {
    /// The folder's variants in the order in which they first occur.
    pub(crate) fn all(folder: &'a Folder) -> Vec<Self> {
        let variants = gather(&folder.points, |a, b| a.facets == b.facets);
        let label = labeller(&folder.points, |_| true);
        let variant = |(colour, points): (usize, Vec<&'a Measured>)| {
            let first = points[0];
            let groups = gather(points, |a, b| a.load == b.load);
            let mut groups: Vec<Group<'_>> = groups
                .into_iter()
                .map(|points| Group {
                    knee: points.iter().any(|point| folder.knees.contains(&point.name)),
                    points,
                })
                .collect();
            groups.sort_by(|a, b| a.rank().total_cmp(&b.rank()));
            let label = Some(label(first)).filter(|label| !label.is_empty());
            Self { label: label.unwrap_or_else(|| format!("P = {}", first.pillars)), colour, groups }
        };
        variants.into_iter().enumerate().map(variant).collect()
    }

    /// The group with the greatest median throughput of those with results.
    pub(crate) fn best(&self) -> Option<&Group<'a>> {
        self.groups.iter().rev().find(|group| group.results().next().is_some())
    }

    /// Where its latency is worth a look: at the knee, if that is known.
    pub(crate) fn at_knee(&self) -> Option<&Group<'a>> {
        self.groups
            .iter()
            .find(|group| group.knee && group.results().next().is_some())
            .or_else(|| self.best())
    }

    /// One of its points: for what they have in common.
    pub(crate) fn first(&self) -> &'a Measured {
        self.groups[0].first()
    }
}

/// Puts together what is alike, in the order in which it first occurs.
pub(crate) fn gather<T: Copy>(
    items: impl IntoIterator<Item = T>,
    alike: impl Fn(T, T) -> bool,
) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        match groups.iter_mut().find(|group| alike(group[0], item)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

/// Names a point by those facets of a kind in which the points differ; by nothing where they don't.
pub(crate) fn labeller(
    points: &[Measured],
    of_a_kind: impl Fn(&Facet) -> bool,
) -> impl Fn(&Measured) -> String {
    let differs = |index: usize| points.iter().any(|point| point.facets[index] != points[0].facets[index]);
    let told: Vec<usize> = (0..FACETS.len())
        .filter(|&index| of_a_kind(&FACETS[index]) && !FACETS[index].follows && differs(index))
        .collect();
    move |point| {
        let words: Vec<String> =
            told.iter().filter_map(|&index| FACETS[index].say(&point.facets[index])).collect();
        words.join(", ")
    }
}

impl Load {
    /// In few words, as a table's cell says it.
    pub(crate) fn brief(&self) -> String {
        let offered = match self.model.as_str() {
            "closed" => format!("{}×{}", self.clients, self.outstanding),
            model => format!("{} op/s, {model}", grouped(self.offered_ops_per_s, 0)),
        };
        match self.generators {
            0 | 1 => offered,
            several => format!("{offered}, {several} generators"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::csv_table::CsvTable;
    use crate::report::folder::Manifest;
    use crate::report::measured::tests::{OLD_HEADER, old_row};

    /// A folder with these points, as rows under [`OLD_HEADER`].
    pub(crate) fn folder(rows: &[String]) -> Folder {
        let text = format!("{OLD_HEADER}\n{}\n", rows.join("\n"));
        let table = CsvTable::parse("points.csv", &text).expect("parses");
        Folder {
            name: "example".into(),
            title: None,
            manifest: Manifest::default(),
            environment: Vec::new(),
            points: Measured::all(&table).expect("reads"),
            scaling: Vec::new(),
            timeline: Vec::new(),
            phases: Vec::new(),
            knees: std::collections::BTreeSet::new(),
            latencies: std::collections::BTreeMap::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn loads_of_one_setting_make_one_variant_in_order_of_throughput() {
        let heavy = old_row(1, 0, 9000.0, "").replace(",24,100,", ",24,400,");
        let folder =
            folder(&[heavy, old_row(2, 0, 500.0, ""), old_row(1, 0, 1000.0, ""), old_row(1, 1, 3000.0, "")]);
        let variants = Variant::all(&folder);
        assert_eq!(variants.iter().map(|v| v.label.as_str()).collect::<Vec<_>>(), ["P = 1", "P = 2"]);
        let medians: Vec<f64> = variants[0].groups.iter().map(Group::rank).collect();
        assert_eq!(medians, [2000.0, 9000.0]);
    }

    #[test]
    fn marked_points_count_in_no_median() {
        let folder = folder(&[old_row(1, 0, 1000.0, ""), old_row(1, 1, 9000.0, "noisy")]);
        let variants = Variant::all(&folder);
        let best = variants[0].best().expect("a group with results");
        assert_eq!(best.spread(|p| p.throughput_ops_per_s).expect("results").max, 1000.0);
        assert_eq!(best.marked().count(), 1);
        let marked = super::tests::folder(&[old_row(1, 0, 1.0, "noisy")]);
        assert!(Variant::all(&marked)[0].best().is_none());
    }

    #[test]
    fn the_knee_is_where_it_is_said_to_be() {
        let heavy = old_row(1, 0, 9000.0, "").replace(",24,100,", ",24,400,").replace("96930a80", "11111111");
        let mut folder = folder(&[heavy, old_row(1, 0, 1000.0, "")]);
        folder.knees.insert("p1-96930a80-0".into());
        let variants = Variant::all(&folder);
        let knee = variants[0].at_knee().expect("results");
        assert!(knee.knee && knee.first().throughput_ops_per_s < 2000.0);
    }
}
