use super::certificates;
use crate::peers::output::Interval;
use crate::peers::work::Auth;

/// A line of its own: replicas and load generator print it when they wait for the datagram that begins the run.
pub(in crate::peers) fn is_ready(output: &str) -> bool {
    output.lines().any(|line| line.trim_end() == "<<READY>>")
}

pub(in crate::peers) fn load_has_begun(output: &str) -> bool {
    output.lines().any(|line| line.starts_with("Start at "))
}

/// A line a second: `   4  23436 rps (avg   2553 min    449 max  13363)`, latencies in µs. Behind `Results:` the same
/// seconds are told again, numbered anew.
pub(in crate::peers) fn intervals(output: &str) -> Vec<Interval> {
    output.lines().take_while(|line| line.trim_end() != "Results:").filter_map(interval).collect()
}

fn interval(line: &str) -> Option<Interval> {
    let (figures, latencies) = line.split_once(" rps (avg ")?;
    let mut figures = figures.split_ascii_whitespace();
    figures.next()?.parse::<u32>().ok()?;
    let operations = figures.next()?.parse::<u32>().ok()?;
    let words: Vec<&str> = latencies.strip_suffix(')')?.split_ascii_whitespace().collect();
    let [mean, "min", _, "max", greatest] = words[..] else { return None };
    // Without an operation its least is greater than its greatest: neither means anything.
    let latency = |text: &str| text.parse::<u32>().ok().filter(|_| operations > 0).map(f64::from);
    Some(Interval {
        operations: operations.into(),
        seconds: 1.0,
        mean_us: latency(mean),
        max_us: latency(greatest),
    })
}

/// Each replica tells what is in force, whatever was set.
pub(in crate::peers) fn check_certification(auth: Auth, output: &str) -> Result<(), String> {
    let (clients, replicas) = certificates(auth);
    let expected = [
        ("client  (replica)", clients),
        ("replica (client)", clients),
        ("replica (standard)", replicas),
        ("replica (strong)", replicas),
    ];
    let block = output.lines().skip_while(|line| !line.ends_with("Certification:"));
    let block: Vec<&str> = block.skip(1).take(expected.len()).collect();
    for (whose, wanted) in expected {
        let told =
            block.iter().find_map(|line| line.split_once(whose)?.1.split_once(": ")).map(|(_, told)| told);
        match told {
            Some(told) if told.contains(wanted) => {}
            Some(told) => {
                return Err(format!(
                    "it certifies {whose} with {told}, where {wanted} was set: its settings were not taken"
                ));
            }
            None => {
                return Err(format!(
                    "it doesn't tell how it certifies {whose}: its figures would stand for nothing"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::output::{latency_of_intervals, total, trouble};

    const CLIENT: &str = include_str!("../../../tests/fixtures/peers/reptor/client.txt");
    const STALL: &str = include_str!("../../../tests/fixtures/peers/reptor/client-stall.txt");
    const REPLICA: &str = include_str!("../../../tests/fixtures/peers/reptor/replica.txt");
    const REPLICA_RSA: &str = include_str!("../../../tests/fixtures/peers/reptor/replica-rsa.txt");
    const PORT_IN_USE: &str = include_str!("../../../tests/fixtures/peers/reptor/fail-port-in-use.txt");
    const CONTROL_IN_USE: &str =
        include_str!("../../../tests/fixtures/peers/reptor/fail-control-port-in-use.txt");

    #[test]
    fn the_load_generator_tells_every_second_once() {
        assert!(is_ready(CLIENT) && load_has_begun(CLIENT));
        let intervals = intervals(CLIENT);
        assert_eq!(intervals.len(), 16, "not those behind \"Results:\"");
        let window = &intervals[4..14];
        assert_eq!(total(window), (401_640.0, 10.0));
        let latency = latency_of_intervals(window, "");
        assert!(latency.mean_us.is_some_and(|mean| (mean - 1494.0).abs() < 5.0), "{latency:?}");
        assert_eq!(latency.max_us, Some(16_696.0));
    }

    #[test]
    fn a_stall_is_seconds_without_operations() {
        let intervals = intervals(STALL);
        assert_eq!((intervals.len(), total(&intervals).0), (16, 0.0));
        assert!(intervals.iter().all(|interval| interval.mean_us.is_none() && interval.max_us.is_none()));
    }

    #[test]
    fn what_is_in_force_is_checked() {
        assert_eq!(check_certification(Auth::D, REPLICA), Ok(()));
        assert_eq!(check_certification(Auth::R, REPLICA_RSA), Ok(()));
        let wrong = check_certification(Auth::R, REPLICA).expect_err("HMAC is no RSA");
        assert!(wrong.contains("HMAC_SHA256") && wrong.contains("client"), "{wrong}");
        let wrong = check_certification(Auth::T, REPLICA_RSA).expect_err("replies follow the clients");
        assert!(wrong.contains("client"), "{wrong}");
        assert!(check_certification(Auth::D, "").is_err());
    }

    #[test]
    fn failing_starts_say_why() {
        for output in [PORT_IN_USE, CONTROL_IN_USE] {
            assert!(trouble(output).expect("trouble").contains("port is taken"));
            assert!(!is_ready(output));
        }
        assert_eq!(trouble(REPLICA), None);
        assert!(is_ready(REPLICA));
    }

    #[test]
    fn lines_that_are_cut_or_strange_count_for_nothing() {
        let whole = "   4  23436 rps (avg   2553 min    449 max  13363)";
        assert!(interval(whole).is_some());
        for end in 0..whole.len() {
            assert!(interval(&whole[..end]).is_none(), "{end}");
        }
        for strange in
            ["x 1 rps (avg 1 min 1 max 1)", "1 rps (avg 1 min 1 max 1)", "1 -1 rps (avg 1 min 1 max 1)"]
        {
            assert!(interval(strange).is_none(), "{strange}");
        }
    }
}
