//! `model.svg`: throughput over cores, a line for each pillar count. Lines are predicted and dashed, dots are measured.

use anyhow::anyhow;
use plotters::prelude::*;

use super::calibration::Calibration;
use super::table::{PILLARS, Row};

const SIZE: (u32, u32) = (960, 600);
const INK: RGBColor = RGBColor(40, 40, 46);
const FAINT: RGBColor = RGBColor(222, 222, 228);
/// Of the pillar counts, apart for the colour-blind too.
const COLOURS: [RGBColor; PILLARS.len()] = [
    RGBColor(31, 90, 166),
    RGBColor(214, 96, 4),
    RGBColor(18, 128, 92),
    RGBColor(150, 60, 140),
    RGBColor(110, 110, 116),
];

/// The figure of these rows, as SVG.
///
/// # Errors
/// When there is nothing to draw, or the drawing fails.
pub fn svg(calibration: &Calibration, rows: &[Row]) -> anyhow::Result<String> {
    let shown: Vec<&Row> = rows.iter().filter(|row| row.replicas == calibration.replicas).collect();
    let least = shown.iter().map(|row| row.ops_per_s).fold(f64::INFINITY, f64::min);
    let most = shown.iter().map(|row| row.ops_per_s).fold(0.0, f64::max);
    let last = shown.iter().map(|row| row.cores).max().unwrap_or(1).max(2);
    if shown.is_empty() || least <= 0.0 {
        return Err(anyhow!("nothing to draw"));
    }
    let mut out = String::new();
    draw(&mut out, calibration, &shown, (least / 1.5, most * 1.6), f64::from(last))
        .map_err(|error| anyhow!("{error}"))?;
    Ok(out)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(out: &mut String, calibration: &Calibration, rows: &[&Row], height: (f64, f64), width: f64) -> Drawn {
    let root = SVGBackend::with_string(out, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = ("sans-serif", 19).into_font().color(&INK);
    root.draw(&Text::new("Throughput over cores: lines predicted, dots measured", (24, 14), title))?;
    let small = ("sans-serif", 14).into_font().color(&INK);
    let subtitle = format!("{}; predicted from {}", calibration.what, calibration.from);
    root.draw(&Text::new(subtitle, (24, 40), small.clone()))?;
    let mut chart = ChartBuilder::on(&root)
        .margin(20)
        .margin_top(68)
        .x_label_area_size(44)
        .y_label_area_size(96)
        .build_cartesian_2d((0.9..width * 1.1).log_scale().base(2.0), (height.0..height.1).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(if calibration.replicas == 1 { "cores of the replica" } else { "cores of the machine" })
        .y_desc("operations a second")
        .x_label_formatter(&|cores| format!("{cores:.0}"))
        .y_label_formatter(&|ops| thousands(*ops))
        .axis_style(INK)
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .label_style(small.clone())
        .draw()?;
    let mut lines: Vec<(u32, RGBColor)> = PILLARS.into_iter().zip(COLOURS).collect();
    for row in rows {
        // Measured, but not among those that are predicted.
        if lines.iter().all(|(pillars, _)| *pillars != row.pillars) {
            lines.push((row.pillars, INK));
        }
    }
    for (pillars, colour) in lines {
        let points = |kind: &'static str| {
            let own = rows.iter().filter(move |row| row.pillars == pillars && row.kind == kind);
            own.map(|row| (f64::from(row.cores), row.ops_per_s))
        };
        if points("predicted").next().is_some() {
            let dashes = DashedLineSeries::new(points("predicted"), 7, 5, colour.stroke_width(2));
            chart
                .draw_series(dashes)?
                .label(format!("P = {pillars} predicted"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 8, y)], colour.stroke_width(2)));
        }
        if points("measured").next().is_some() {
            chart
                .draw_series(points("measured").map(|point| Circle::new(point, 6, colour.filled())))?
                .label(format!("P = {pillars} measured"))
                .legend(move |(x, y)| Circle::new((x + 4, y), 6, colour.filled()));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(FAINT)
        .label_font(small)
        .draw()?;
    root.present()?;
    Ok(())
}

fn thousands(ops: f64) -> String {
    match ops {
        ops if ops >= 1e6 => format!("{} M", ops / 1e6),
        ops if ops >= 1e3 => format!("{} k", ops / 1e3),
        ops => format!("{ops}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::{rows, tests::calibration};

    #[test]
    fn predicted_lines_are_dashed_and_measured_dots_are_solid() {
        let calibration = calibration(1);
        let svg = svg(&calibration, &rows(&calibration, &[1, 2, 4, 8])).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("P = 16 predicted") && svg.contains("P = 2 measured"), "{svg}");
        assert!(!svg.contains("P = 4 measured"), "nobody measured it");
        // One for the measurement and one in the legend.
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn what_was_measured_is_drawn_even_where_nothing_is_predicted() {
        let mut calibration = calibration(1);
        calibration.checks[0].on.pillars = 3;
        let svg = svg(&calibration, &rows(&calibration, &[1, 2])).expect("drawn");
        assert!(svg.contains("P = 3 measured") && !svg.contains("P = 3 predicted"));
    }

    #[test]
    fn nothing_is_no_figure() {
        assert!(svg(&calibration(1), &[]).is_err());
    }
}
