use fastrand::Rng;
use serde::Serialize;

use crate::summary::Spread;

/// Fewer repetitions than this can't carry a 95 % interval of a median: even the whole range of four values holds the
/// median they were drawn around with 87.5 % only, that of five with 93.75 %.
pub(crate) const REPETITIONS_MIN: usize = 5;
const RESAMPLES: usize = 10_000;
/// Fixed, so that the same files give the same answer.
const SEED: u64 = 0x6879_706f;

/// A ratio of two medians and its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The second median divided by the first.
    pub ratio: f64,
    /// 2.5 of 100 resampled ratios are below.
    pub low: f64,
    /// 2.5 of 100 resampled ratios are above.
    pub high: f64,
}

/// How `b` compares with `a`: the percentile bootstrap of the ratio of their medians. `None` where it can't be said: too
/// few values, or some that are not above 0.
#[must_use]
pub(crate) fn ratio_of_medians(a: &[f64], b: &[f64]) -> Option<Ratio> {
    let usable = |values: &[f64]| {
        values.len() >= REPETITIONS_MIN && values.iter().all(|value| value.is_finite() && *value > 0.0)
    };
    if !usable(a) || !usable(b) {
        return None;
    }
    let mut random = Rng::with_seed(SEED);
    let mut resample = |values: &[f64]| {
        let drawn = (0..values.len()).map(|_| values[random.usize(..values.len())]);
        Spread::of(drawn.collect()).median
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| resample(b) / resample(a)).collect();
    ratios.sort_by(f64::total_cmp);
    Some(Ratio {
        ratio: Spread::of(b.to_vec()).median / Spread::of(a.to_vec()).median,
        low: ratios[RESAMPLES / 40],
        high: ratios[RESAMPLES - 1 - RESAMPLES / 40],
    })
}

impl Ratio {
    /// Whether the interval holds no 1 and lies above it.
    #[must_use]
    pub fn is_more(&self) -> bool {
        self.low > 1.0
    }

    /// Whether the interval holds no 1 and lies below it.
    #[must_use]
    pub fn is_less(&self) -> bool {
        self.high < 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For nine values the median of a resample is at most the second with 3.0 % and the first with 0.14 %: the interval
    /// reaches from the second to the eighth. For five it is the first with 5.8 %: the whole range.
    #[test]
    fn intervals_of_a_median_are_those_of_the_binomial_distribution() {
        let one = [1.0; 9];
        let to = |count: u32| (1..=count).map(f64::from).collect::<Vec<f64>>();
        assert_eq!(ratio_of_medians(&one, &to(9)), Some(Ratio { ratio: 5.0, low: 2.0, high: 8.0 }));
        assert_eq!(ratio_of_medians(&one, &to(5)), Some(Ratio { ratio: 3.0, low: 1.0, high: 5.0 }));
    }

    #[test]
    fn equal_series_show_no_difference_and_distant_ones_do() {
        let series = [100.0, 101.0, 99.0, 102.0, 98.0, 100.5];
        let same = ratio_of_medians(&series, &series).expect("enough");
        assert!(!same.is_more() && !same.is_less() && (same.ratio - 1.0).abs() < 1e-12);
        let faster = series.map(|value| value * 1.1);
        let more = ratio_of_medians(&series, &faster).expect("enough");
        assert!(more.is_more() && (more.ratio - 1.1).abs() < 1e-9 && more.low > 1.05 && more.high < 1.15);
        let less = ratio_of_medians(&faster, &series).expect("enough");
        assert!(less.is_less());
        assert_eq!(ratio_of_medians(&series, &faster), Some(more), "the same every time");
    }

    #[test]
    fn too_few_or_worthless_values_say_nothing() {
        assert_eq!(ratio_of_medians(&[1.0; 4], &[1.0; 9]), None);
        assert_eq!(ratio_of_medians(&[1.0; 9], &[]), None);
        assert_eq!(ratio_of_medians(&[0.0; 5], &[1.0; 5]), None);
        assert_eq!(ratio_of_medians(&[f64::NAN; 5], &[1.0; 5]), None);
    }
}
