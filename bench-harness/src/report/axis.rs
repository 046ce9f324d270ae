use super::text::tick;

/// An axis: from which value to which, how it is spread, and where it is labelled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// What it measures, with its unit.
    pub(crate) title: String,
    scale: Scale,
    low: f64,
    high: f64,
    /// Values and their labels.
    pub(crate) ticks: Vec<(f64, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Log,
}

impl Axis {
    /// From 0 to `high` or a little more, with about `count` ticks at round values.
    pub(crate) fn linear(title: &str, high: f64, count: u32) -> Self {
        let high = if high > LEAST { high } else { 1.0 };
        let step = round_step(high / f64::from(count.max(1)));
        let steps = (high / step).ceil();
        let mut ticks = Vec::new();
        let mut value = 0.0;
        while value <= steps {
            ticks.push((value * step, tick(value * step)));
            value += 1.0;
        }
        Self { title: title.to_owned(), scale: Scale::Linear, low: 0.0, high: steps * step, ticks }
    }

    /// From 0 to just above the greatest of these values, which are its ticks.
    pub(crate) fn at(title: &str, values: &[f64]) -> Self {
        let high = values.iter().copied().fold(0.0, f64::max);
        let ticks = values.iter().map(|value| (*value, tick(*value))).collect();
        Self { title: title.to_owned(), scale: Scale::Linear, low: 0.0, high: (high * 1.06).max(1.0), ticks }
    }

    /// Logarithmic around these values, with ticks at round ones. 0 has no place on it and is drawn at its lower end.
    pub(crate) fn log(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (mut least, mut greatest) = (f64::MAX, 0.0_f64);
        for value in values.into_iter().filter(|value| *value > LEAST) {
            least = least.min(value);
            greatest = greatest.max(value);
        }
        if greatest <= 0.0 {
            (least, greatest) = (1.0, 1.0);
        }
        let (low, high) = (round_down(least / 1.05), round_up(greatest * 1.05));
        let decades = (high / low).log10();
        let ticks = round_values(low, high, decades).into_iter().map(|value| (value, tick(value))).collect();
        Self { title: title.to_owned(), scale: Scale::Log, low, high, ticks }
    }

    /// Logarithmic, with these ticks, the first and last of which are its ends.
    pub(crate) fn log_at(title: &str, ticks: Vec<(f64, String)>) -> Self {
        let low = ticks.first().map_or(1.0, |(value, _)| *value);
        let high = ticks.last().map_or(10.0, |(value, _)| *value);
        Self { title: title.to_owned(), scale: Scale::Log, low, high, ticks }
    }

    /// Where a value lies: 0 at the axis' beginning, 1 at its end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// What is smaller is taken for 0: no quantity here is.
const LEAST: f64 = 1e-9;
const ROUND: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// The next of 1, 2, 5, 10, 20, … from `step` on.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let round = ROUND.iter().map(|round| round * decade).find(|round| *round >= step * (1.0 - 1e-9));
    round.unwrap_or(10.0 * decade)
}

fn round_up(value: f64) -> f64 {
    round_step(value)
}

fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let round = ROUND.iter().rev().map(|round| round * decade).find(|round| *round <= value * (1.0 + 1e-9));
    round.unwrap_or(decade)
}

/// Powers of ten, and on short axes what is round between them; never more than a dozen.
fn round_values(low: f64, high: f64, decades: f64) -> Vec<f64> {
    let within: &[f64] = match decades {
        short if short <= 3.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let every = (decades / 12.0).ceil().max(1.0);
    let mut values = Vec::new();
    let mut exponent = low.log10().floor();
    while exponent <= high.log10().ceil() {
        values.extend(within.iter().map(|round| round * 10_f64.powf(exponent)));
        exponent += every;
    }
    values.retain(|value| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(value));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_stand_at_round_values() {
        assert_eq!(labels(&Axis::linear("", 272_060.0, 5)), ["0", "100k", "200k", "300k"]);
        assert_eq!(labels(&Axis::linear("", 10.2, 5)), ["0", "5", "10", "15"]);
        assert_eq!(labels(&Axis::linear("", 0.0, 4)), ["0", "0.5", "1"]);
        assert_eq!(labels(&Axis::log("", [8.6, 22.0])), ["5", "10", "20", "50"]);
        assert_eq!(labels(&Axis::log("", [0.5, 900.0, 2e6])).first(), Some(&"1"));
        assert_eq!(labels(&Axis::log("", [0.0])), ["0.5", "1", "2"]);
    }

    #[test]
    fn values_lie_where_their_ticks_do() {
        let linear = Axis::linear("", 100.0, 5);
        assert!((linear.share(50.0) - 0.5).abs() < 1e-9);
        let log = Axis::log_at("", vec![(1.0, String::new()), (100.0, String::new())]);
        assert!((log.share(10.0) - 0.5).abs() < 1e-9);
        assert_eq!((log.share(0.0), log.share(1e9)), (0.0, 1.0));
    }

    #[test]
    fn extremes_make_no_endless_axis() {
        for values in [vec![1e-300, 1e15], vec![1e15], vec![f64::MIN_POSITIVE]] {
            let axis = Axis::log("", values.clone());
            assert!((1..=40).contains(&axis.ticks.len()), "{values:?}: {axis:?}");
            let axis = Axis::linear("", values[0], 5);
            assert!((1..=20).contains(&axis.ticks.len()), "{values:?}: {axis:?}");
            assert!(axis.share(values[0]).is_finite());
        }
    }
}
