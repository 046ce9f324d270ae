use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// Latencies in few bytes: values, µs, and how many operations took each.
pub(crate) type Recorded = Vec<(u64, u64)>;

/// Latencies of an interval log (`.hlog`) as `run` writes it, all intervals together, µs.
///
/// # Errors
/// What is no such log, with the line.
pub(crate) fn parse_hlog(file: &str, text: &str) -> anyhow::Result<Recorded> {
    // This kind grows to hold what is added.
    let mut all = Histogram::new(3).context("three digits")?;
    let mut found = false;
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with(['#', '"']) {
            continue;
        }
        let encoded = line.rsplit(',').next().unwrap_or_default();
        let interval = decode(encoded.trim()).with_context(|| format!("{file}:{}", index + 1))?;
        all.add(&interval).with_context(|| format!("{file}:{}", index + 1))?;
        found = true;
    }
    anyhow::ensure!(found, "{file}: no histogram");
    Ok(all.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect())
}

/// Cookie of an uncompressed histogram of version 2. Compressed ones, which may hold anything once unpacked, aren't
/// written here.
const COOKIE: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
/// Cookie, length of the counts, offset, digits, lowest, highest, ratio.
const HEADER_BYTES: usize = 40;
/// What each of them beyond the third costs is ten times the memory.
const DIGITS_MAX: [u8; 4] = 3_u32.to_be_bytes();

fn decode(encoded: &str) -> anyhow::Result<Histogram<u64>> {
    let bytes = STANDARD.decode(encoded).context("no base64")?;
    let Some((header, counts)) = bytes.split_at_checked(HEADER_BYTES) else { bail!("a histogram cut short") };
    if header[..4] != COOKIE {
        bail!("no uncompressed HdrHistogram of version 2");
    }
    // The library makes room for as many as are told, and negates counts: the least number has no negative.
    let told = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    if header[12..16] > DIGITS_MAX[..] {
        bail!("more digits than `run` records");
    }
    if usize::try_from(told).ok() != Some(counts.len()) || counts.windows(9).any(|nine| nine == [0xff; 9]) {
        bail!("a histogram whose counts are damaged");
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).context("a damaged histogram")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;
    use std::time::{Duration, SystemTime};

    fn log() -> String {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let mut bytes = Vec::new();
        latencies.write_hlog(&mut bytes, SystemTime::now(), Duration::from_secs(1)).expect("written");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_run_writes_is_read_and_intervals_are_added() {
        let one = log();
        let operations = |recorded: &Recorded| recorded.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(operations(&parse_hlog("a.hlog", &one).expect("reads")), 1000);
        let interval = one.lines().last().expect("an interval");
        let two = parse_hlog("a.hlog", &format!("{one}\n{interval}\n")).expect("reads");
        assert_eq!(operations(&two), 2000);
        let (slowest, twice) = *two.last().expect("latencies");
        assert!(slowest.abs_diff(1_000_000) <= 1000 && twice == 2, "{slowest}: {twice}");
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let log = log();
        let encoded =
            log.lines().last().expect("an interval").rsplit(',').next().expect("a field").to_owned();
        let bytes = STANDARD.decode(&encoded).expect("base64");
        let mut wrong = vec![
            String::new(),
            "#comment".to_owned(),
            "0.0,1.0,1.0,!!!".to_owned(),
            "<script>".to_owned(),
            format!("0,1,1,{}", STANDARD.encode([0xff; 60])),
        ];
        // Every prefix, and every byte of the header and the first counts put out of order.
        wrong.extend((0..bytes.len()).map(|length| format!("0,1,1,{}", STANDARD.encode(&bytes[..length]))));
        for text in &wrong {
            assert!(parse_hlog("a.hlog", text).is_err(), "{text}");
        }
        for index in 0..bytes.len().min(80) {
            let mut damaged = bytes.clone();
            damaged[index] = 0xff;
            // Some damage leaves a histogram: it must only not bring the program down.
            let _ = parse_hlog("a.hlog", &format!("0,1,1,{}", STANDARD.encode(&damaged)));
        }
        let mut least = bytes;
        let end = least.len();
        least[end - 9..].fill(0xff);
        assert!(parse_hlog("a.hlog", &format!("0,1,1,{}", STANDARD.encode(&least))).is_err());
    }
}
