//! The page of a report as a person sees it: rendered in headless Chromium, at a phone's and at a screen's width.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hypostyle_bench::latency::Latencies;
use serde_json::{Value, json};

const PHONE: u32 = 390;
const SCREEN: u32 = 1280;
/// Chromium makes no window that is narrower: the page lies in a frame of its own width.
const WINDOW_MIN: u32 = 500;

#[test]
fn the_page_is_whole_at_every_width() {
    let Some(browser) = Browser::find() else { return };
    let directory = tempfile::tempdir().expect("temporary directory");
    results(directory.path());
    report(directory.path());
    let page = fs::read_to_string(directory.path().join("report.html")).expect("the page");
    for width in [PHONE, SCREEN] {
        let framed = directory.path().join(format!("{width}.html"));
        fs::write(&framed, in_a_frame(&page, width)).expect("written");
        let seen = browser.probe(&framed);
        assert_eq!(seen["title"], "made-up <b>run</b>", "{seen}");
        assert_eq!(
            (&seen["window"], &seen["content"]),
            (&width.into(), &width.into()),
            "wider than the window"
        );
        let figures = seen["figures"].as_array().expect("a list");
        assert_eq!(figures.len(), 7, "{seen}");
        for figure in figures {
            assert_eq!(figure["pictures"], 1, "one of its two drawings is shown: {figure}");
            assert_eq!(figure["clipped"], json!([]), "texts that leave the picture: {figure}");
        }
        for (scheme, bright) in [(Scheme::Light, true), (Scheme::Dark, false)] {
            let shot = browser.screenshot(&framed, width, number(&seen["height"]), scheme);
            let picture = Picture::read(&shot);
            for figure in figures {
                let (colours, ground) = picture.colours_and_ground(figure);
                assert!(colours > 100, "{scheme:?}, {width}: {} is blank ({colours} coloured)", figure["id"]);
                assert_eq!(ground > 128, bright, "{scheme:?}: {} has a ground of {ground}", figure["id"]);
            }
        }
    }
}

fn number(value: &Value) -> u32 {
    value.as_f64().map_or(0, |value| format!("{value:.0}").parse().expect("a whole number"))
}

fn report(directory: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_hypostyle-bench"))
        .args(["report", "--json"])
        .arg(directory)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let files = written["files"].as_array().expect("a list");
    assert!(
        files.iter().any(|file| file.as_str().is_some_and(|file| file.ends_with("summary.md"))),
        "{written}"
    );
    for file in files {
        assert!(Path::new(file.as_str().expect("a path")).is_file(), "{file}");
    }
}

/// A results folder with data for every figure, and text that would be markup if it could.
fn results(directory: &Path) {
    let put = |name: &str, text: &str| fs::write(directory.join(name), text).expect("written");
    put("notes.md", "# made-up <b>run</b>\n");
    let manifest = json!({
        "command": ["hypostyle-bench", "sweep", "--pillars", "1,2,4", "--out", "a <script>console.error(1)</script>"],
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "began_unix_s": 1_795_288_365_u64,
    });
    put("manifest.json", &manifest.to_string());
    put("env.json", &json!({"cpu_model": "Some CPU", "cores": 2}).to_string());
    let mut points = String::from(
        "name,repeat,n,pillars,auth,client_auth,replies,bundle,batch_max,clients,outstanding_per_client,payload_bytes,\
         throughput_ops_per_s,latency_us_p50,latency_us_p99,replica_cpu_us_per_op,replica_cpu_us_per_op_scaled,\
         client_cpu_us_per_op_scaled,rss_mb_max,marks\n",
    );
    let mut phases = String::from("name,phase,mean_us\n");
    for pillars in [1_u32, 2, 4] {
        for outstanding in [1_u32, 10, 100] {
            for repeat in 0..2_u32 {
                let name = format!("p{pillars}-c8x{outstanding}-{repeat}");
                let throughput = 9000 * pillars * outstanding / (outstanding + 9) + 100 * repeat;
                let p50 = 900 + 70 * outstanding + 30 * repeat;
                let marks =
                    if (pillars, outstanding, repeat) == (4, 100, 1) { "<img src=x> noisy" } else { "" };
                points.push_str(&format!(
                    "{name},{repeat},4,{pillars},ed25519,mac,merkle,64,100,8,{outstanding},100,{throughput},{p50},{},9,8,1,40,{marks}\n",
                    2 * p50
                ));
                for (phase, part) in [
                    ("on the way to the primary of its pillar or passed on by a backup", 6),
                    ("ordering", 2),
                    ("execution", 9),
                    ("reply", 5),
                ] {
                    phases.push_str(&format!("{name},{phase},{}\n", p50 / part));
                }
                latencies(&directory.join(format!("{name}.hlog")), u64::from(p50));
            }
        }
    }
    put("points.csv", &points);
    put("phases.csv", &phases);
    put("knees.csv", "name\np1-c8x10-0\n");
    let mut timeline = String::from("name,second,operations,throughput_ops_per_s,latency_us_p99,event\n");
    for second in 1..=10 {
        let (operations, event) = if second == 5 {
            (0, "replica 0 (the primary of pillar 0) killed with SIGKILL for good and its port was taken")
        } else {
            (9000 + second, "")
        };
        timeline.push_str(&format!("p2-c8x10-0,{second},{operations},{operations},2000,{event}\n"));
    }
    put("timeline.csv", &timeline);
    put(
        "scaling.csv",
        "threads,pillars,cores,throughput_ops_per_s,cpu_ns_per_op\none worker does all,1,1,1400000,700\n\
         \"two workers, executor, not pinned\",2,2,2500000,750\n",
    );
}

fn latencies(path: &Path, p50_us: u64) {
    let mut latencies = Latencies::new();
    (1..=1000).for_each(|share| latencies.record(Duration::from_micros(share * p50_us / 500)));
    let mut log = Vec::new();
    latencies.write_hlog(&mut log, SystemTime::now(), Duration::from_secs(1)).expect("written");
    fs::write(path, log).expect("written");
}

/// A page that shows another one in a frame of this width, and tells how it lies there.
fn in_a_frame(page: &str, width: u32) -> String {
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        r#"<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" style="border:0;display:block;width:{width}px;height:800px" srcdoc="{page}"></iframe>
<pre id="probe" hidden></pre>
<script>{PROBE}</script></body>"#
    )
}

const PROBE: &str = r#"
const frame = document.getElementById("page");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  frame.style.height = root.scrollHeight + "px";
  const shown = (e) => e.getBoundingClientRect().width > 0;
  const leaves = (text, box) => { const b = text.getBBox(); return b.x < -0.5 || b.x + b.width > box.width + 0.5; };
  const figures = [...page.querySelectorAll("figure")].map((figure) => {
    const pictures = [...figure.querySelectorAll("svg")].filter(shown);
    const clipped = pictures.flatMap((picture) => [...picture.querySelectorAll("text")]
      .filter((text) => leaves(text, picture.viewBox.baseVal)).map((text) => text.textContent));
    const { left, top, width, height } = pictures[0].getBoundingClientRect();
    return { id: figure.id, pictures: pictures.length, clipped, left, top, width, height };
  });
  document.getElementById("probe").textContent = JSON.stringify({ title: page.title, window: root.clientWidth,
    content: root.scrollWidth, height: root.scrollHeight, figures });
};"#;

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Light,
    Dark,
}

struct Browser(&'static str);

impl Browser {
    /// Fails where there is none, unless `.ci/run` found that none can be installed.
    fn find() -> Option<Self> {
        let works =
            |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
        if let Some(name) = ["chromium", "google-chrome"].into_iter().find(works) {
            return Some(Self(name));
        }
        assert!(
            std::env::var_os("HYPOSTYLE_NO_BROWSER").is_some(),
            "no Chromium to look at the page with: apt-get install chromium"
        );
        eprintln!("no Chromium, and it can't be installed: the page is not looked at");
        None
    }

    /// What the page in the frame tells of itself. It has said nothing on the console.
    fn probe(&self, framed: &Path) -> Value {
        let (dom, log) = self.run(&["--dump-dom".to_owned()], framed);
        assert!(!log.contains(":CONSOLE"), "{log}");
        let (_, rest) =
            dom.split_once("<pre id=\"probe\" hidden=\"\">").unwrap_or_else(|| panic!("{dom}\n{log}"));
        let (text, _) = rest.split_once("</pre>").expect("its end");
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{log}"))
    }

    fn screenshot(&self, framed: &Path, width: u32, height: u32, scheme: Scheme) -> Vec<u8> {
        let file = framed.with_extension("png");
        let size = format!("--window-size={},{height}", width.max(WINDOW_MIN));
        let mut flags = vec![format!("--screenshot={}", file.display()), size];
        if matches!(scheme, Scheme::Dark) {
            flags.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let (_, log) = self.run(&flags, framed);
        fs::read(&file).unwrap_or_else(|error| panic!("{error}\n{log}"))
    }

    /// What it prints, and what it logs.
    fn run(&self, flags: &[String], page: &Path) -> (String, String) {
        let profile = tempfile::tempdir().expect("temporary directory");
        // A browser that hangs is ended, and the test with it.
        let output = Command::new("timeout")
            .args([
                "--kill-after=5",
                "60",
                self.0,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args([
                "--disable-sync",
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .output()
            .expect("timeout(1) starts");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {log}", output.status);
        (String::from_utf8_lossy(&output.stdout).into_owned(), log)
    }
}

#[test]
fn what_a_page_says_on_the_console_is_heard() {
    let Some(browser) = Browser::find() else { return };
    let directory = tempfile::tempdir().expect("temporary directory");
    let page = directory.path().join("loud.html");
    fs::write(&page, "<script>console.error('wrong')</script>").expect("written");
    let (_, log) = browser.run(&["--dump-dom".to_owned()], &page);
    assert!(log.contains(":CONSOLE"), "{log}");
}

/// A screenshot, three or four bytes a pixel.
struct Picture {
    bytes: Vec<u8>,
    line: usize,
    channels: usize,
}

impl Picture {
    fn read(png: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
        let mut bytes = vec![0; reader.output_buffer_size().expect("a size that fits")];
        let frame = reader.next_frame(&mut bytes).expect("a picture");
        assert_eq!(frame.bit_depth, png::BitDepth::Eight);
        Self { bytes, line: frame.line_size, channels: frame.color_type.samples() }
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = y * self.line + x * self.channels;
        self.bytes.get(at..at + 3).and_then(|pixel| pixel.try_into().ok()).unwrap_or_default()
    }

    /// How many pixels of a figure are neither grey nor its ground, and how bright the ground is.
    fn colours_and_ground(&self, figure: &Value) -> (usize, u8) {
        let at = |name: &str| number(&figure[name]) as usize;
        let (left, top) = (at("left"), at("top"));
        let pixels = (top..top + at("height")).flat_map(|y| (left..left + at("width")).map(move |x| (x, y)));
        let coloured = |[r, g, b]: [u8; 3]| r.max(g).max(b) - r.min(g).min(b) > 60;
        let count = pixels.filter(|(x, y)| coloured(self.pixel(*x, *y))).count();
        (count, self.pixel(left + 3, top + 3)[0])
    }
}
