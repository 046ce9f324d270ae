//! Settings as data: one line a setting says how it is read, shown and checked.

use std::fmt::Write;

use super::error::{Wrong, suggestion};
use super::value::Value;

/// One setting of a configuration `C`.
pub(crate) struct Field<C: 'static> {
    pub(crate) name: &'static str,
    /// Its name among all settings: in flags and, in capitals after `HYPOSTYLE_`, in the environment.
    pub(crate) global: &'static str,
    pub(crate) read: fn(&mut C, &str) -> Result<(), Wrong>,
    /// As plain text; `None` when unset.
    pub(crate) show: fn(&C) -> Option<String>,
    /// Whether TOML writes its numbers without quotes.
    pub(crate) bare: bool,
    /// Whether it lies within its range.
    pub(crate) check: fn(&C) -> Result<(), Wrong>,
}

/// `field!(Config, name)`, with a range `field!(Config, name, low, high)`; `name as "global"` where the name alone
/// says too little outside its own file.
macro_rules! field {
    ($config:ty, $name:ident $(, $low:expr, $high:expr)?) => {
        field!($config, $name as stringify!($name) $(, $low, $high)?)
    };
    ($config:ty, $name:ident as $global:expr $(, $low:expr, $high:expr)?) => {
        $crate::config::field::Field::<$config> {
            name: stringify!($name),
            global: $global,
            read: |config, text| {
                config.$name = $crate::config::value::Value::read(text)?;
                Ok(())
            },
            show: |config| $crate::config::value::Value::show(&config.$name),
            bare: $crate::config::field::is_bare(|config: &$config| &config.$name),
            check: |_config| {
                $($crate::config::field::within(&_config.$name, &$low, &$high)?;)?
                Ok(())
            },
        }
    };
}
pub(crate) use field;

pub(crate) const fn is_bare<C, V: Value>(_member: fn(&C) -> &V) -> bool {
    V::BARE
}

pub(crate) fn within<V: Value + PartialOrd>(value: &V, low: &V, high: &V) -> Result<(), Wrong> {
    if value >= low && value <= high {
        return Ok(());
    }
    let show = |value: &V| value.show().unwrap_or_default();
    let remedy = format!("choose a value from {} to {}", show(low), show(high));
    Err(Wrong::new(format!("{} is out of range", show(value)), remedy))
}

/// The first setting outside its range.
pub(crate) fn check_ranges<C>(config: &C, fields: &[Field<C>]) -> Result<(), (&'static str, Wrong)> {
    fields.iter().try_for_each(|field| {
        (field.check)(config)
            .map_err(|wrong| (field.name, Wrong { what: named(field.name, &wrong.what), ..wrong }))
    })
}

/// Sets what `section` calls `name`.
pub(crate) fn assign<C>(
    config: &mut C,
    fields: &'static [Field<C>],
    section: &str,
    name: &str,
    text: &str,
) -> Result<&'static str, Wrong> {
    let Some(field) = fields.iter().find(|field| field.name == name) else {
        let known = fields.iter().map(|field| field.name);
        return Err(Wrong::new(
            format!("unknown key \"{}\" in {section}", name.escape_debug()),
            suggestion(name, known),
        ));
    };
    (field.read)(config, text).map_err(|wrong| Wrong { what: named(name, &wrong.what), ..wrong })?;
    Ok(field.name)
}

/// The settings that are set, as lines of TOML.
pub(crate) fn write_toml<C>(config: &C, fields: &[Field<C>], out: &mut String) {
    for field in fields {
        if let Some(text) = (field.show)(config) {
            let number = field.bare && text.bytes().all(|byte| byte.is_ascii_digit());
            let literal = if number { text } else { toml::Value::String(text).to_string() };
            writeln!(out, "{} = {literal}", field.name).expect("a string grows");
        }
    }
}

fn named(name: &str, what: &str) -> String {
    format!("{name}: {what}")
}
