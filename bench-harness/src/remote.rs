use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hypostyle::config::ClusterConfig;
use hypostyle::crypto::SigningKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::invalid;
use crate::generator::Part;
use crate::latency::{Latencies, Packed};
use crate::load::{Milestone, Order, Outcome, Running};
use crate::phases::EndedBy;
use crate::proc_fs::CpuTime;
use crate::sample::Sample;
use crate::setting::Load;
use crate::timeline::Timeline;

/// A part of a load, as a worker is asked to make it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// `cluster.toml`.
    cluster: String,
    /// The clients' private keys, PEM. They are good for measuring only.
    keys: Vec<String>,
    first: usize,
    all_clients: u32,
    load: Load,
    seed: u64,
}

/// What a worker is told, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Tell {
    /// First: what to do. It connects the clients.
    Job(Box<Job>),
    /// All generators are connected.
    Begin,
    /// Send nothing new, and report.
    Finish,
}

/// What a worker answers, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It came to a milestone.
    Came(Milestone),
    /// Last: what it has seen.
    Done(Box<Seen>),
    /// Last: why it ended.
    Failed(String),
}

/// What a worker has seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Operations acknowledged, and its CPU time, when its window began.
    begin: (u64, CpuTime),
    /// The same when it ended.
    end: (u64, CpuTime),
    warmup: Duration,
    latencies: Packed,
    timeline: Vec<Packed>,
    overdue: Duration,
    ended_by: EndedBy,
    acknowledged: u64,
}

/// Where a worker runs: what it uses of this machine is no noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Here,
    /// On another.
    Elsewhere,
}

/// A worker listens within this time of its start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// An order waits this long at most before the worker is told.
const POLL: Duration = Duration::from_millis(5);
/// No message is longer: a report holds a hundred histograms of a few KiB.
const LINE_MAX: u64 = 64 << 20;

/// Lets the worker at `address` do this part.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(address: SocketAddr, place: Place, part: Part) -> anyhow::Result<Running> {
    Running::start(move |order, milestones| {
        drive(address, place, &part, order, milestones).with_context(|| format!("worker {address}"))
    })
}

fn drive(
    address: SocketAddr,
    place: Place,
    part: &Part,
    order: &Order,
    milestones: &Sender<Milestone>,
) -> anyhow::Result<Outcome> {
    let mut line = Line::new(connect(address, place)?)?;
    line.tell(&Tell::Job(Box::new(Job::of(part))))?;
    let (mut began, mut finishing) = (false, false);
    let mut samples = Vec::new();
    let mut window_began = SystemTime::now();
    loop {
        if !began && order.is_begun() {
            line.tell(&Tell::Begin)?;
            began = true;
        }
        if order.is_stop() {
            return invalid("the run was stopped");
        }
        if !finishing && order.is_finish() {
            line.tell(&Tell::Finish)?;
            finishing = true;
        }
        match line.hear()? {
            None => {}
            Some(Answer::Came(milestone)) => {
                if milestone != Milestone::Connected {
                    samples.push(Sample::take(&part.replicas, 0).context("a replica has ended")?);
                }
                if milestone == Milestone::WindowBegan {
                    window_began = SystemTime::now();
                }
                // Who no longer listens has an error of its own to tell.
                let _ = milestones.send(milestone);
            }
            Some(Answer::Failed(why)) => return invalid(why),
            Some(Answer::Done(seen)) => {
                let [begin, end] = <[Sample; 2]>::try_from(samples)
                    .map_err(|_| anyhow::anyhow!("it ended before its window did"))?;
                return seen.outcome(begin, end, window_began, place, &part.load);
            }
        }
    }
}

/// One on this machine was started just now; others listen already.
fn connect(address: SocketAddr, place: Place) -> anyhow::Result<TcpStream> {
    let deadline = Instant::now() + if place == Place::Here { START_TIMEOUT } else { Duration::ZERO };
    loop {
        match TcpStream::connect_timeout(&address, START_TIMEOUT) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                std::thread::sleep(POLL);
            }
            other => {
                return other
                    .context("doesn't answer: is `hypostyle-bench worker --listen ...` running there?");
            }
        }
    }
}

impl Job {
    fn of(part: &Part) -> Self {
        Self {
            cluster: part.cluster.to_toml(),
            keys: part.keys.iter().map(|key| key.to_pem().to_string()).collect(),
            first: part.first,
            all_clients: part.all_clients,
            load: part.load,
            seed: part.seed,
        }
    }

    /// What it asks for.
    ///
    /// # Errors
    /// When configuration or keys can't be read.
    pub(crate) fn part(&self) -> anyhow::Result<Part> {
        self.load.check(self.keys.len())?;
        let keys = self.keys.iter().map(|pem| SigningKey::from_pem(pem));
        Ok(Part {
            cluster: ClusterConfig::parse(&self.cluster, "the job's cluster.toml")?,
            keys: keys.collect::<Result<_, _>>().context("a client's key")?,
            first: self.first,
            all_clients: self.all_clients,
            load: self.load,
            presigned: None,
            replicas: Vec::new(),
            seed: self.seed,
        })
    }
}

impl Seen {
    /// Of a load that has ended.
    #[must_use]
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self {
            begin: (outcome.begin.acknowledged, outcome.begin.generator),
            end: (outcome.end.acknowledged, outcome.end.generator),
            warmup: outcome.warmup,
            latencies: outcome.latencies.packed(),
            timeline: outcome.timeline.packed(),
            overdue: outcome.overdue,
            ended_by: outcome.ended_by,
            acknowledged: outcome.acknowledged,
        }
    }

    fn outcome(
        &self,
        begin: Sample,
        end: Sample,
        began: SystemTime,
        place: Place,
        load: &Load,
    ) -> anyhow::Result<Outcome> {
        let generator_here = place == Place::Here;
        let sample = |sample: Sample, (acknowledged, generator): (u64, CpuTime)| Sample {
            acknowledged,
            generator,
            generator_here,
            ..sample
        };
        let mut latencies = Latencies::new();
        latencies.add(&self.latencies)?;
        Ok(Outcome {
            begin: sample(begin, self.begin),
            end: sample(end, self.end),
            began,
            warmup: self.warmup,
            latencies,
            timeline: Timeline::merged(load.duration, std::slice::from_ref(&self.timeline))?,
            overdue: self.overdue,
            ended_by: self.ended_by,
            acknowledged: self.acknowledged,
        })
    }
}

/// A connection that carries a line of JSON a message.
#[derive(Debug)]
pub(crate) struct Line {
    reader: BufReader<TcpStream>,
    /// What has come of the next message.
    part: Vec<u8>,
}

impl Line {
    /// # Errors
    /// Those of the socket.
    pub(crate) fn new(stream: TcpStream) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(POLL))?;
        Ok(Self { reader: BufReader::new(stream), part: Vec::new() })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the other end is gone.
    pub(crate) fn tell(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).context("the connection is gone")
    }

    /// The next message, if one comes within some milliseconds.
    ///
    /// # Errors
    /// When the other end is gone, or says what is no message.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let room = LINE_MAX.saturating_sub(self.part.len() as u64);
        match self.reader.by_ref().take(room).read_until(b'\n', &mut self.part) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("the connection is gone"),
            Ok(_) if self.part.last() != Some(&b'\n') => return invalid("the connection ended"),
            Ok(_) => {}
        }
        let message =
            serde_json::from_slice(&self.part).context("what came is no message of this version")?;
        self.part.clear();
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (other, _) = listener.accept().expect("accepted");
        (Line::new(stream).expect("a line"), other)
    }

    fn next(line: &mut Line) -> anyhow::Result<Tell> {
        loop {
            if let Some(message) = line.hear()? {
                return Ok(message);
            }
        }
    }

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let (mut line, mut other) = pair();
        assert!(line.hear::<Tell>().expect("nothing yet").is_none());
        other.write_all(b"\"Beg").expect("written");
        while line.part.is_empty() {
            assert!(line.hear::<Tell>().expect("half of one").is_none());
        }
        other.write_all(b"in\"\n\"Finish\"\n").expect("written");
        assert!(matches!(next(&mut line), Ok(Tell::Begin)));
        assert!(matches!(next(&mut line), Ok(Tell::Finish)));
    }

    #[test]
    fn nonsense_and_an_end_are_errors() {
        let (mut line, mut other) = pair();
        other.write_all(b"nonsense\n\"Beg").expect("written");
        assert!(next(&mut line).is_err());
        drop(other);
        let (mut line, other) = pair();
        drop(other);
        assert!(next(&mut line).expect_err("gone").to_string().contains("ended"));
    }
}
