//! A TOML file whose every key knows its line.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Wrong};
use super::field::{Field, assign};

/// A file's name and text.
#[derive(Clone, Copy)]
pub(crate) struct Document<'t> {
    name: &'t str,
    text: &'t str,
}

/// Where each setting got its value.
pub(crate) type Places = BTreeMap<&'static str, Place>;

/// A key, its value, and where both begin.
pub(crate) struct Item<'a> {
    pub(crate) key: &'a str,
    pub(crate) key_at: usize,
    pub(crate) value: &'a DeValue<'a>,
    pub(crate) value_at: usize,
}

impl<'t> Document<'t> {
    pub(crate) fn new(name: &'t str, text: &'t str) -> Self {
        Self { name, text }
    }

    pub(crate) fn parse(&self) -> Result<DeTable<'t>, ConfigError> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let remedy = "correct the TOML of this line; texts, sizes and durations stand in quotes";
            self.error(at, Wrong::new(error.message(), remedy))
        })
    }

    pub(crate) fn file(&self) -> Place {
        Place::File(self.name.to_owned())
    }

    /// The line and column of a byte of the file.
    pub(crate) fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::At {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(crate) fn error(&self, at: usize, wrong: Wrong) -> ConfigError {
        ConfigError::new(self.place(at), wrong)
    }

    /// Applies the settings of one section of the file and remembers where they stand.
    pub(crate) fn apply<C>(
        &self,
        config: &mut C,
        fields: &'static [Field<C>],
        section: &str,
        items: &[Item<'_>],
        places: &mut Places,
    ) -> Result<(), ConfigError> {
        for item in items {
            if !fields.iter().any(|field| field.name == item.key) {
                let unknown = assign(config, fields, section, item.key, "").expect_err("the key is unknown");
                return Err(self.error(item.key_at, unknown));
            }
            let text = self.scalar(item)?;
            let name = assign(config, fields, section, item.key, &text)
                .map_err(|wrong| self.error(item.value_at, wrong))?;
            places.insert(name, self.place(item.value_at));
        }
        Ok(())
    }

    /// A value's text; numbers keep their digits.
    pub(crate) fn scalar(&self, item: &Item<'_>) -> Result<String, ConfigError> {
        match item.value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            other => {
                let what = format!("{}: {} is no value for a setting", item.key, other.type_str());
                Err(self.error(item.value_at, Wrong::new(what, "write a decimal number or a text in quotes")))
            }
        }
    }

    /// The table under a key.
    pub(crate) fn table<'a>(&self, item: &Item<'a>, header: &str) -> Result<&'a DeTable<'a>, ConfigError> {
        match item.value {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.error(item.key_at, wrong_shape(item.key, header))),
        }
    }

    /// The tables under a key written as `[[key]]`, with where each begins.
    pub(crate) fn tables<'a>(&self, item: &Item<'a>) -> Result<Vec<(usize, &'a DeTable<'a>)>, ConfigError> {
        let shape = || self.error(item.key_at, wrong_shape(item.key, &format!("[[{}]]", item.key)));
        let DeValue::Array(array) = item.value else { return Err(shape()) };
        let table = |element: &'a Spanned<DeValue<'a>>| match element.get_ref() {
            DeValue::Table(table) => Some((element.span().start, table)),
            _ => None,
        };
        array.iter().map(|element| table(element).ok_or_else(shape)).collect()
    }
}

/// A table's items as they stand in the file.
pub(crate) fn items<'a>(table: &'a DeTable<'a>) -> Vec<Item<'a>> {
    let item = |(key, value): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| Item {
        key: key.get_ref(),
        key_at: key.span().start,
        value: value.get_ref(),
        value_at: value.span().start,
    };
    let mut items: Vec<Item<'a>> = table.iter().map(item).collect();
    items.sort_by_key(|item| item.key_at);
    items
}

fn wrong_shape(key: &str, header: &str) -> Wrong {
    Wrong::new(format!("\"{key}\" is no table"), format!("write it as a section of its own: {header}"))
}
