use super::document::Places;
use super::error::{ConfigError, Place, Wrong, suggestion};
use super::field::{Field, assign};

const PREFIX: &str = "HYPOSTYLE_";
/// Variables of ours that are no settings.
const OTHER: &[&str] = &["HYPOSTYLE_BENCH_", "HYPOSTYLE_TEST_"];

/// Settings from the environment and from flags, in force over those of the files, flags over the environment.
///
/// A setting is called as in its file, with these exceptions: `cluster_id` and `replica_id` for the two `id`s, and
/// `limits_connections` and so on for what stands under `[limits]`. In the environment the name is in capitals after
/// `HYPOSTYLE_`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    settings: Vec<Override>,
}

#[derive(Clone, Debug)]
struct Override {
    place: Place,
    name: String,
    text: String,
}

impl Overrides {
    /// No overrides.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The `HYPOSTYLE_*` variables of this process.
    ///
    /// # Errors
    /// When such a variable names no setting.
    pub fn from_environment() -> Result<Self, ConfigError> {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::from_variables(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    /// Those of `variables` whose name begins with `HYPOSTYLE_`.
    ///
    /// # Errors
    /// When such a variable names no setting.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut overrides = Self::none();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if OTHER.iter().any(|other| variable.starts_with(other)) {
                continue;
            }
            let name = name.to_lowercase();
            overrides.add(Place::Environment(variable.clone()), name, text)?;
        }
        overrides.settings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(overrides)
    }

    /// Adds a flag's `setting=value`.
    ///
    /// # Errors
    /// When it is not of that form or names no setting.
    pub fn flag(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let place = Place::Flag(format!("--set {assignment}"));
        let Some((name, text)) = assignment.split_once('=') else {
            let remedy = "write --set SETTING=VALUE, such as --set workers=2";
            return Err(ConfigError::new(place, Wrong::new("no \"=\" in it", remedy)));
        };
        self.add(place, name.to_owned(), text.to_owned())
    }

    fn add(&mut self, place: Place, name: String, text: String) -> Result<(), ConfigError> {
        let known = super::setting_names();
        if !known.contains(&name.as_str()) {
            let what = format!("no setting is called \"{}\"", name.escape_debug());
            return Err(ConfigError::new(place, Wrong::new(what, suggestion(&name, known))));
        }
        self.settings.push(Override { place, name, text });
        Ok(())
    }

    /// Applies those that are among `fields`.
    pub(crate) fn apply<C>(
        &self,
        config: &mut C,
        fields: &'static [Field<C>],
        places: &mut Places,
    ) -> Result<(), ConfigError> {
        for setting in &self.settings {
            let Some(field) = fields.iter().find(|field| field.global == setting.name) else { continue };
            assign(config, fields, "", field.name, &setting.text)
                .map_err(|wrong| ConfigError::new(setting.place.clone(), wrong))?;
            places.insert(field.name, setting.place.clone());
        }
        Ok(())
    }
}
