use crate::point::Point;

type Axis = fn(&Point) -> String;

/// What may differ between the settings of one command, and how it is written.
const AXES: &[Axis] = &[
    |point| format!("n = {}", point.n),
    |point| point.auth.clone(),
    |point| format!("{} leaders", point.leaders),
    |point| format!("bundle {}", point.bundle),
    |point| format!("batch {}", point.batch_max),
    |point| format!("{} B", point.payload_bytes),
    |point| format!("P = {}", point.pillars),
];

/// A label for each of these points, of different settings: what tells them apart; the pillar count where nothing does.
#[must_use]
pub(crate) fn labels(points: &[&Point]) -> Vec<String> {
    with_axes(points, AXES.iter().copied().chain([load as Axis]))
}

/// The same for settings that stand together when they differ in nothing but their load.
#[must_use]
pub(crate) fn labels_without_load(points: &[&Point]) -> Vec<String> {
    with_axes(points, AXES.iter().copied())
}

fn with_axes(points: &[&Point], axes: impl Iterator<Item = Axis>) -> Vec<String> {
    let differ = |axis: &Axis| points.iter().any(|point| axis(point) != axis(points[0]));
    let axes: Vec<Axis> = axes.filter(differ).collect();
    let label = |point: &&Point| {
        if axes.is_empty() {
            return format!("P = {}", point.pillars);
        }
        axes.iter().map(|axis| axis(point)).collect::<Vec<_>>().join(", ")
    };
    points.iter().map(label).collect()
}

/// The load of a point, in words.
#[must_use]
pub(crate) fn load(point: &Point) -> String {
    match point.load.as_str() {
        "closed" => format!("{}x{}", point.clients, point.outstanding_per_client),
        _ => format!("{}/s", point.offered_ops_per_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::tests::example;

    #[test]
    fn a_label_tells_what_differs() {
        let other = Point { pillars: 4, outstanding_per_client: 1, ..example() };
        assert_eq!(labels(&[&example(), &other]), ["P = 2, 8x100", "P = 4, 8x1"]);
        let open = Point { load: "poisson".into(), offered_ops_per_s: 500, ..example() };
        assert_eq!(labels(&[&example(), &open]), ["8x100", "500/s"]);
        assert_eq!(labels(&[&example()]), ["P = 2"]);
        assert_eq!(labels_without_load(&[&example(), &open]), ["P = 2", "P = 2"]);
    }
}
