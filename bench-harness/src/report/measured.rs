use super::csv_table::{CsvTable, Row};

/// One row of `points.csv`, as far as a report needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// Stem of the point's own files.
    pub(crate) name: String,
    /// Which repetition, from 0.
    pub(crate) repeat: u32,
    /// What was run: the values of [`FACETS`], in their order.
    pub(crate) facets: Vec<String>,
    /// Pillars, also one of the facets.
    pub(crate) pillars: u32,
    /// The load that was offered.
    pub(crate) load: Load,
    /// Operations a second.
    pub(crate) throughput_ops_per_s: f64,
    /// Median latency, µs.
    pub(crate) latency_us_p50: f64,
    /// Latency of 99 of 100 operations, µs.
    pub(crate) latency_us_p99: f64,
    /// CPU-µs an operation, sum over the replicas, raw.
    pub(crate) replica_cpu_us_per_op: f64,
    /// The same, scaled by the reference.
    pub(crate) replica_cpu_us_per_op_scaled: f64,
    /// CPU-µs an operation of the load generator, scaled.
    pub(crate) client_cpu_us_per_op_scaled: f64,
    /// Peak resident memory of the largest replica, MB.
    pub(crate) rss_mb_max: f64,
    /// View changes, where the folder tells.
    pub(crate) view_changes: Option<f64>,
    /// Why this is no result, empty if it is one.
    pub(crate) marks: String,
}

/// How load was offered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    /// "closed", or how operations arrive.
    pub(crate) model: String,
    /// Operations offered a second; 0 where it is closed.
    pub(crate) offered_ops_per_s: f64,
    /// Clients.
    pub(crate) clients: u32,
    /// Operations each client keeps in flight, where it is closed.
    pub(crate) outstanding: u32,
    /// Processes that offer it.
    pub(crate) generators: u32,
}

/// A property of what was run, and what it is taken for where the folder doesn't tell.
#[derive(Debug)]
pub(crate) struct Facet {
    /// The column of `points.csv`.
    pub(crate) column: &'static str,
    /// What it is called, before or after its value.
    pub(crate) label: Label,
    default: Option<&'static str>,
    /// Chosen by a replica for itself from the pillar count and the machine: no setting of its own.
    pub(crate) follows: bool,
}

/// Where a facet's name stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    /// Before the value.
    Before(&'static str),
    /// After the value.
    After(&'static str),
}

const fn facet(column: &'static str, label: Label, default: Option<&'static str>) -> Facet {
    Facet { column, label, default, follows: false }
}

const fn following(column: &'static str, label: Label) -> Facet {
    Facet { column, label, default: Some(""), follows: true }
}

/// What tells one setting from another, the load apart.
pub(crate) const FACETS: &[Facet] = &[
    facet("system", Label::After(""), Some("")),
    facet("pillars", Label::Before("P = "), None),
    facet("n", Label::Before("n = "), None),
    facet("auth", Label::After(""), None),
    facet("client_auth", Label::Before("clients: "), None),
    facet("replies", Label::Before("replies "), None),
    facet("bundle", Label::Before("bundle "), None),
    facet("batch_max", Label::Before("batch "), None),
    facet("payload_bytes", Label::After(" B"), None),
    facet("reply_bytes", Label::After(" B replies"), Some("")),
    facet("workload", Label::After(""), Some("null")),
    facet("records", Label::After(" records"), Some("0")),
    facet("memory_limit_mb", Label::After(" MB at most"), Some("0.0")),
    facet("batch_delay_us", Label::Before("batch delay, µs: "), Some("0")),
    facet("fault", Label::After(""), Some("")),
    facet("presigned", Label::After(""), Some("")),
    facet("leaders", Label::Before("leaders "), Some("")),
    facet("assign", Label::Before("assigned by "), Some("")),
    facet("pipeline", Label::Before("pipeline "), Some("")),
    facet("window", Label::Before("window "), Some("")),
    facet("checkpoint_interval", Label::Before("checkpoints each "), Some("")),
    following("workers", Label::After(" workers")),
    following("executor", Label::Before("executor ")),
    following("crypto_threads", Label::After(" crypto threads")),
];

impl Facet {
    /// The value with its name; nothing where there is nothing to say.
    pub(crate) fn say(&self, value: &str) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        Some(match self.label {
            Label::Before(name) => format!("{name}{value}"),
            Label::After(name) => format!("{value}{name}"),
        })
    }
}

/// More points than any sweep measures.
const POINTS_MAX: usize = 10_000;

impl Measured {
    /// All rows of `points.csv`.
    ///
    /// # Errors
    /// What is malformed, with file, line and column.
    pub(crate) fn all(table: &CsvTable) -> anyhow::Result<Vec<Self>> {
        table.at_most(POINTS_MAX)?;
        table.rows().map(Self::of).collect()
    }

    fn of(row: Row<'_>) -> anyhow::Result<Self> {
        let marks = row.text_if_any("marks").unwrap_or_default().trim().to_owned();
        let repeat = row.count("repeat")?;
        let pillars = row.count("pillars")?;
        Ok(Self {
            name: name(row, pillars, repeat)?,
            repeat,
            facets: FACETS.iter().map(|facet| value(row, facet)).collect::<anyhow::Result<_>>()?,
            pillars,
            load: Load::of(row)?,
            throughput_ops_per_s: row.number("throughput_ops_per_s")?,
            latency_us_p50: row.number("latency_us_p50")?,
            latency_us_p99: row.number("latency_us_p99")?,
            replica_cpu_us_per_op: row.number("replica_cpu_us_per_op")?,
            replica_cpu_us_per_op_scaled: row.number("replica_cpu_us_per_op_scaled")?,
            client_cpu_us_per_op_scaled: row.number("client_cpu_us_per_op_scaled")?,
            rss_mb_max: row.number("rss_mb_max")?,
            view_changes: row.number_if_any("view_changes")?,
            marks,
        })
    }

    /// The value of a facet.
    pub(crate) fn facet(&self, column: &str) -> &str {
        let index = FACETS.iter().position(|facet| facet.column == column);
        index.and_then(|index| self.facets.get(index)).map_or("", String::as_str)
    }

    /// Whether it may be quoted.
    pub(crate) fn is_result(&self) -> bool {
        self.marks.is_empty()
    }
}

impl Load {
    fn of(row: Row<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            model: match row.text_if_any("load") {
                None | Some("") => "closed".to_owned(),
                Some(model) => model.to_owned(),
            },
            offered_ops_per_s: row.number_if_any("offered_ops_per_s")?.unwrap_or(0.0),
            clients: row.count("clients")?,
            outstanding: row.count("outstanding_per_client")?,
            generators: match row.text_if_any("generators") {
                None | Some("") => 1,
                Some(_) => row.count("generators")?,
            },
        })
    }
}

fn value(row: Row<'_>, facet: &Facet) -> anyhow::Result<String> {
    match (facet.column, facet.default) {
        ("presigned", _) => Ok(match row.text_if_any("presign") {
            None | Some("" | "0") => "",
            Some(_) => "presigned",
        }
        .to_owned()),
        (column, None) => row.text(column).map(str::to_owned),
        (column, Some(default)) => Ok(row.text_if_any(column).unwrap_or(default).to_owned()),
    }
}

/// The stem of a point's files; before there was a column for it, it followed from pillars, configuration and
/// repetition.
fn name(row: Row<'_>, pillars: u32, repeat: u32) -> anyhow::Result<String> {
    if row.text_if_any("name").is_some() {
        return row.stem("name");
    }
    let configuration = row.stem("configuration")?;
    match configuration.get(..8) {
        Some(start) => Ok(format!("p{pillars}-{start}-{repeat}")),
        None => row.refuse("configuration", &configuration, "a hash of 8 digits or more"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Columns that folders had from the first on.
    pub(crate) const OLD_HEADER: &str = "repeat,n,pillars,auth,client_auth,replies,bundle,batch_max,clients,\
         outstanding_per_client,payload_bytes,configuration,throughput_ops_per_s,latency_us_p50,latency_us_p99,\
         replica_cpu_us_per_op,replica_cpu_us_per_op_scaled,client_cpu_us_per_op_scaled,rss_mb_max,marks";

    /// A row under [`OLD_HEADER`].
    pub(crate) fn old_row(pillars: u32, repeat: u32, throughput: f64, marks: &str) -> String {
        format!(
            "{repeat},4,{pillars},ed25519,mac,merkle,64,400,24,100,100,96930a80ff,{throughput},8600,16000,5,3.7,1.1,68,{marks}"
        )
    }

    fn read(text: &str) -> anyhow::Result<Vec<Measured>> {
        Measured::all(&CsvTable::parse("points.csv", text)?)
    }

    #[test]
    fn an_old_folder_s_points_have_the_defaults_of_their_time() {
        let points = read(&format!("{OLD_HEADER}\n{}\n", old_row(2, 3, 250_000.0, ""))).expect("reads");
        let point = &points[0];
        assert_eq!((point.name.as_str(), point.pillars), ("p2-96930a80-3", 2));
        assert_eq!((point.load.model.as_str(), point.load.generators), ("closed", 1));
        assert_eq!(
            (point.facet("workload"), point.facet("fault"), point.facet("auth")),
            ("null", "", "ed25519")
        );
        assert!(point.is_result());
    }

    #[test]
    fn a_new_folder_s_points_tell_load_workload_and_name() {
        let header = format!("{OLD_HEADER},load,offered_ops_per_s,workload,fault,generators,name,presign");
        let row = format!(
            "{},poisson,50000,ycsb-a,crash primary at 2s,2,p1-x-r50000-0,4000",
            old_row(1, 0, 1.0, "noisy")
        );
        let points = read(&format!("{header}\n{row}\n")).expect("reads");
        let point = &points[0];
        assert_eq!(point.name, "p1-x-r50000-0");
        assert_eq!((point.load.model.as_str(), point.load.offered_ops_per_s), ("poisson", 50_000.0));
        assert_eq!((point.facet("workload"), point.facet("presigned")), ("ycsb-a", "presigned"));
        assert!(!point.is_result());
    }

    #[test]
    fn a_configuration_that_is_no_hash_is_refused() {
        let row = old_row(1, 0, 1.0, "").replace("96930a80ff", "../../x");
        let error = read(&format!("{OLD_HEADER}\n{row}\n")).expect_err("refused").to_string();
        assert!(error.starts_with("points.csv:2: configuration"), "{error}");
    }
}
