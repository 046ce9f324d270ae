use anyhow::{Context as _, bail};

/// A CSV file of a results folder, read by column name: older folders lack columns, newer ones have more.
#[derive(Debug)]
pub(crate) struct CsvTable {
    file: String,
    header: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

/// One row. What is wrong with it is told with file, line and column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    table: &'a CsvTable,
    line: u64,
    record: &'a csv::StringRecord,
}

/// More rows than any run writes.
const ROWS_MAX: usize = 100_000;
/// No field is nearly as long; figures repeat some of them.
const FIELD_MAX: usize = 2_000;
/// No quantity of a measurement comes near this.
const NUMBER_MAX: f64 = 1e15;

impl CsvTable {
    /// Reads `text`; `file` is its name in messages.
    ///
    /// # Errors
    /// When it isn't CSV with a header, or is longer than any run's.
    pub(crate) fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().with_context(|| format!("{file}:1"))?;
        let header = header.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.with_context(|| file.to_owned())?;
            let line = record.position().map_or(0, csv::Position::line);
            if rows.len() == ROWS_MAX {
                bail!("{file}: more than {ROWS_MAX} rows");
            }
            if record.iter().any(|field| field.len() > FIELD_MAX) {
                bail!("{file}:{line}: a field of more than {FIELD_MAX} bytes");
            }
            rows.push((line, record));
        }
        Ok(Self { file: file.to_owned(), header, rows })
    }

    /// Refuses more rows than these: they are compared with one another.
    ///
    /// # Errors
    /// When there are more.
    pub(crate) fn at_most(&self, rows: usize) -> anyhow::Result<()> {
        if self.rows.len() > rows {
            bail!("{}: more than {rows} rows", self.file);
        }
        Ok(())
    }

    /// The rows, in the file's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, record)| Row { table: self, line: *line, record })
    }
}

impl<'a> Row<'a> {
    /// The text of a column that may be missing.
    pub(crate) fn text_if_any(&self, column: &str) -> Option<&'a str> {
        let index = self.table.header.iter().position(|name| name == column)?;
        self.record.get(index)
    }

    /// The text of a column.
    ///
    /// # Errors
    /// When there is no such column.
    pub(crate) fn text(&self, column: &str) -> anyhow::Result<&'a str> {
        match self.text_if_any(column) {
            Some(text) => Ok(text),
            None => bail!("{}: no column {column}", self.table.file),
        }
    }

    /// A quantity: from 0 on, finite.
    ///
    /// # Errors
    /// When there is no such column, or something else in it.
    pub(crate) fn number(&self, column: &str) -> anyhow::Result<f64> {
        let text = self.text(column)?;
        match text.trim().parse::<f64>() {
            Ok(value) if (0.0..=NUMBER_MAX).contains(&value) => Ok(value),
            _ => self.refuse(column, text, "a number from 0 to 10^15"),
        }
    }

    /// A quantity of a column that may be missing or empty.
    ///
    /// # Errors
    /// When something else is in it.
    pub(crate) fn number_if_any(&self, column: &str) -> anyhow::Result<Option<f64>> {
        match self.text_if_any(column) {
            None | Some("") => Ok(None),
            Some(_) => self.number(column).map(Some),
        }
    }

    /// A count below 2^32.
    ///
    /// # Errors
    /// When there is no such column, or something else in it.
    pub(crate) fn count(&self, column: &str) -> anyhow::Result<u32> {
        let text = self.text(column)?;
        text.trim().parse().or_else(|_| self.refuse(column, text, "a whole number below 2^32"))
    }

    /// The stem of a file beside the table: never a path that leads elsewhere.
    ///
    /// # Errors
    /// When there is no such column, or something else in it.
    pub(crate) fn stem(&self, column: &str) -> anyhow::Result<String> {
        let text = self.text(column)?;
        if is_stem(text) {
            return Ok(text.to_owned());
        }
        self.refuse(column, text, "a file's stem (letters, digits, '-', '_', '.')")
    }

    /// The error for a value that isn't `expected`.
    pub(crate) fn refuse<T>(&self, column: &str, text: &str, expected: &str) -> anyhow::Result<T> {
        let shown: String = text.chars().take(40).collect();
        bail!("{}:{}: {column} is {shown:?}, expected {expected}", self.table.file, self.line)
    }
}

fn is_stem(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> CsvTable {
        CsvTable::parse("d/points.csv", text).expect("parses")
    }

    #[test]
    fn columns_are_found_by_name() {
        let table = table("b,a\n2,1.5\n");
        let row = table.rows().next().expect("a row");
        assert_eq!((row.number("a").expect("a number"), row.count("b").expect("a count")), (1.5, 2));
        assert_eq!(row.number_if_any("c").expect("may be missing"), None);
        assert!(row.text("c").expect_err("missing").to_string().contains("no column c"));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_place() {
        for wrong in ["NaN", "inf", "-1", "1e400", "1e16", "", "<script>"] {
            let table = table(&format!("a,b\n1,1\n{wrong},1\n"));
            let row = table.rows().nth(1).expect("a row");
            let error = row.number("a").expect_err("refused").to_string();
            assert!(error.starts_with("d/points.csv:3: a is "), "{error}");
        }
    }

    #[test]
    fn a_stem_never_leads_elsewhere() {
        for (stem, good) in [
            ("p1-2eb9a710-c8x100-0", true),
            ("../p1", false),
            (".hidden", false),
            ("a/b", false),
            ("", false),
            ("ä", false),
        ] {
            let table = table(&format!("name,b\n{stem},1\n"));
            assert_eq!(table.rows().next().expect("a row").stem("name").is_ok(), good, "{stem}");
        }
    }

    #[test]
    fn a_field_that_is_no_label_is_refused_with_its_line() {
        let error = CsvTable::parse("points.csv", &format!("a\n1\n{}\n", "x".repeat(2001)));
        assert!(error.expect_err("refused").to_string().starts_with("points.csv:3: a field"));
    }

    #[test]
    fn a_ragged_row_is_refused_with_its_line() {
        let error = CsvTable::parse("points.csv", "a,b\n1,2\n1,2,3\n").expect_err("refused");
        assert!(format!("{error:#}").contains("line: 3"), "{error:#}");
    }
}
