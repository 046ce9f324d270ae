use super::csv_table::{CsvTable, Row};

/// An interval of `timeline.csv`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interval {
    /// Stem of its point.
    pub(crate) name: String,
    /// Its end, seconds since the window began.
    pub(crate) second: f64,
    /// Operations a second.
    pub(crate) throughput_ops_per_s: f64,
    /// Latency of 99 of 100 operations, µs; nothing where none ended.
    pub(crate) latency_us_p99: Option<f64>,
    /// What was done to the cluster in it, mostly nothing.
    pub(crate) event: String,
}

/// A row of `phases.csv`: how long operations of a point were in one phase.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    /// Stem of its point.
    pub(crate) name: String,
    /// Which phase; a point's rows are in the order of its phases.
    pub(crate) phase: String,
    /// Mean over the operations, µs.
    pub(crate) mean_us: f64,
}

/// A row of `scaling.csv`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Played {
    /// How the replica's threads were placed.
    pub(crate) threads: String,
    /// Pillars.
    pub(crate) pillars: u32,
    /// Cores.
    pub(crate) cores: u32,
    /// Operations a second.
    pub(crate) throughput_ops_per_s: f64,
    /// CPU time an operation, ns.
    pub(crate) cpu_ns_per_op: f64,
}

impl Interval {
    /// All rows of `timeline.csv`.
    ///
    /// # Errors
    /// What is malformed, with file, line and column.
    pub(crate) fn all(table: &CsvTable) -> anyhow::Result<Vec<Self>> {
        let of = |row: Row<'_>| {
            let operations = row.number("operations")?;
            let p99 = row.number_if_any("latency_us_p99")?;
            Ok(Self {
                name: row.stem("name")?,
                second: row.number("second")?,
                throughput_ops_per_s: row.number("throughput_ops_per_s")?,
                latency_us_p99: p99.filter(|_| operations > 0.0),
                event: row.text_if_any("event").unwrap_or_default().to_owned(),
            })
        };
        table.rows().map(of).collect()
    }
}

impl Phase {
    /// All rows of `phases.csv`.
    ///
    /// # Errors
    /// What is malformed, with file, line and column.
    pub(crate) fn all(table: &CsvTable) -> anyhow::Result<Vec<Self>> {
        let of = |row: Row<'_>| {
            Ok(Self {
                name: row.stem("name")?,
                phase: row.text("phase")?.to_owned(),
                mean_us: row.number("mean_us")?,
            })
        };
        table.rows().map(of).collect()
    }
}

/// More measurements than `pillar-scaling` makes.
const PLAYED_MAX: usize = 10_000;

impl Played {
    /// All rows of `scaling.csv`.
    ///
    /// # Errors
    /// What is malformed, with file, line and column.
    pub(crate) fn all(table: &CsvTable) -> anyhow::Result<Vec<Self>> {
        table.at_most(PLAYED_MAX)?;
        let of = |row: Row<'_>| {
            Ok(Self {
                threads: row.text("threads")?.to_owned(),
                pillars: row.count("pillars")?,
                cores: row.count("cores")?,
                throughput_ops_per_s: row.number("throughput_ops_per_s")?,
                cpu_ns_per_op: row.number("cpu_ns_per_op")?,
            })
        };
        table.rows().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_in_which_nothing_ended_has_no_latency() {
        let text = "name,second,operations,throughput_ops_per_s,latency_us_p50,latency_us_p99,latency_us_max,view_changes,event\n\
                    p1-a-0,0.5,100,200,1,2,3,0,\n\
                    p1-a-0,1.0,0,0,0,0,0,1,replica 0 killed\n";
        let table = CsvTable::parse("timeline.csv", text).expect("parses");
        let rows = Interval::all(&table).expect("reads");
        assert_eq!((rows[0].latency_us_p99, rows[1].latency_us_p99), (Some(2.0), None));
        assert_eq!(rows[1].event, "replica 0 killed");
    }

    #[test]
    fn a_malformed_number_is_refused_with_its_line() {
        let table = CsvTable::parse("phases.csv", "name,phase,mean_us\na,reply,x\n").expect("parses");
        assert!(Phase::all(&table).expect_err("refused").to_string().starts_with("phases.csv:2: mean_us"));
        let table = CsvTable::parse("scaling.csv", "threads,pillars\none,1\n").expect("parses");
        assert!(Played::all(&table).expect_err("refused").to_string().contains("no column cores"));
    }
}
