use serde::Serialize;
use serde_json::Value;

/// A row of a table from any record: a name and a text for each leaf, nested names joined by `_`; those of `leading`
/// first, the others by alphabet.
///
/// # Panics
/// When the record can't be JSON: ours have fields with names and plain values only.
#[must_use]
pub(crate) fn columns(record: &impl Serialize, leading: &[&str]) -> Vec<(String, String)> {
    let value = serde_json::to_value(record).expect("a record of plain values");
    let mut columns = Vec::new();
    flatten("", &value, &mut columns);
    columns.sort_by_key(|(name, _)| leading.iter().position(|lead| lead == name).unwrap_or(leading.len()));
    columns
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}_{key}") };
            flatten(&name, value, out);
        }),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(plain).collect();
            out.push((name.to_owned(), texts.join("; ")));
        }
        other => out.push((name.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_names_are_joined_and_what_is_not_known_is_empty() {
        let record = serde_json::json!({ "b": { "x": 1.5, "none": null }, "a": ["u", "v"], "lead": true });
        let columns = columns(&record, &["lead"]);
        let texts: Vec<String> = columns.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(texts, ["lead=true", "a=u; v", "b_none=", "b_x=1.5"]);
    }
}
