use std::path::Path;
use std::time::SystemTime;

use crate::bench::{Places, settings_alone};
use crate::children;
use crate::choice::{Choice, check_usage};
use crate::cli::RunArgs;
use crate::environment::{self, Environment};
use crate::error::usage;
use crate::files::{Files, Manifest};
use crate::keys::Keys;
use crate::measure::{Meter, Task};
use crate::point::{Point, point_name};
use crate::presign::Presigned;
use crate::progress::Progress;
use crate::setting::Setting;
use crate::signing;

/// Measures one setting after another for a program that decides on the next by what the last ones showed. The members and
/// the keys are those of the first; points and manifest are kept in one directory.
pub struct Trials<'a> {
    places: &'a Places,
    progress: &'a Progress,
    keys: Keys,
    meter: Meter,
    files: Files,
    environment: Environment,
    began: SystemTime,
    points: Vec<Point>,
    configurations: Vec<String>,
}

impl<'a> Trials<'a> {
    /// Makes the keys that `flags` need. Call it from a thread that lives as long as the replicas should.
    ///
    /// # Errors
    /// A usage error when a flag makes no sense; else when keys or files can't be written.
    pub fn open(flags: &RunArgs, places: &'a Places, progress: &'a Progress) -> anyhow::Result<Self> {
        let choice = first(flags)?;
        let environment = Environment::now(children::raise_open_files());
        Ok(Self {
            keys: places.keys(choice.auth, choice.n.into(), flags.clients as usize, progress)?,
            meter: Meter::new(&places.program, &places.cache.join("bench-run"))?,
            files: places.files(&flags.output)?,
            places,
            progress,
            environment,
            began: SystemTime::now(),
            points: Vec::new(),
            configurations: Vec::new(),
        })
    }

    /// Signs the requests that `flags` ask for, unless they are kept from another time. [`measure`](Self::measure) would do
    /// so too: apart, it can be timed apart.
    ///
    /// # Errors
    /// When the setting makes no sense, or the requests can't be kept.
    pub fn prepare(&self, flags: &RunArgs) -> anyhow::Result<()> {
        self.presigned(&self.setting(flags)?).map(drop)
    }

    /// Measures `flags` once; of each of its lists the first value.
    ///
    /// # Errors
    /// When the setting makes no sense, or the run is invalid.
    pub fn measure(&mut self, flags: &RunArgs) -> anyhow::Result<&Point> {
        let setting = self.setting(flags)?;
        let presigned = self.presigned(&setting)?;
        let task = Task { setting: &setting, keys: &self.keys, presigned: presigned.as_ref(), repeat: 0 };
        let mut point = self.meter.measure(task)?.point;
        let before = self.points.iter().filter(|other| other.same_setting(&point)).count();
        point.repeat = u32::try_from(before).unwrap_or(u32::MAX);
        point.name = point_name(&setting.name(), point.repeat);
        let configuration = settings_alone(&setting.cluster);
        if !self.configurations.contains(&configuration) {
            self.configurations.push(configuration);
        }
        self.points.push(point);
        self.files.write_points(&self.points)?;
        Ok(self.points.last().expect("just pushed"))
    }

    fn setting(&self, flags: &RunArgs) -> anyhow::Result<Setting> {
        let choice = first(flags)?;
        Setting::new(flags, &choice, &self.keys.replicas(), &self.keys.clients())
    }

    fn presigned(&self, setting: &Setting) -> anyhow::Result<Option<Presigned>> {
        signing::presigned(setting, &self.keys, &self.places.cache.join("presign"), self.progress)
    }

    /// The machine.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Writes `manifest.json`, with why there are no further points, if so.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(&self, error: Option<String>) -> anyhow::Result<()> {
        self.files.write_manifest(&Manifest {
            command: &std::env::args().collect::<Vec<_>>(),
            commit: &environment::commit(),
            program: &environment::program(),
            began: self.began,
            environment: &self.environment,
            configurations: &self.configurations,
            points: self.points.len(),
            error,
        })
    }
}

fn first(flags: &RunArgs) -> anyhow::Result<Choice> {
    check_usage(flags)?;
    Choice::all(flags).first().copied().map_or_else(|| usage("a list of flags is empty: give one value"), Ok)
}
