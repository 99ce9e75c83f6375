//! What every plot stands on: scales, ticks, axes with their units.

use maud::{html, Markup};
use unicode_width::UnicodeWidthChar;

use super::super::display::neutralise;
use super::super::numbers::thousands;

/// The plots' size in user units, which are the pixels of a narrow screen.
pub(super) const WIDTH: f64 = 360.0;
/// Height of a plot whose shape is free.
pub(super) const HEIGHT: f64 = 240.0;

/// Room around the drawing; to the left more where the ticks are long.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
/// Room for the name of the values upwards and for what is between it, the ticks and the axis.
const Y_NAME: f64 = 21.0;

/// Marks that the values upwards get, about.
const Y_TICKS: usize = 5;

/// From here on ticks are powers of ten, which fit the room.
const MOST_WRITTEN_OUT: f64 = 1e6;
/// Below this too.
const LEAST_WRITTEN_OUT: f64 = 1e-4;
/// Powers of ten that get a mark, at most.
const LOG_TICKS: f64 = 6.0;
/// Decimals of a mark, at most.
const MOST_DECIMALS: f64 = 17.0;
/// Marks of an axis, at most.
const MOST_TICKS: usize = 100;
/// Counts are below this power of ten.
const MOST_POWER: i32 = 20;

/// How values become lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AxisScale {
    /// Evenly from low to high.
    Linear(f64, f64),
    /// Counts from ½ to high by their logarithm; 0 stands at the foot.
    Counts(f64),
    /// From low to high, both above 0, by the logarithm.
    Log(f64, f64),
}

impl AxisScale {
    /// Where `value` stands, from 0 to 1.
    fn share(self, value: f64) -> f64 {
        let share = match self {
            AxisScale::Linear(low, high) => (value - low) / (high - low),
            AxisScale::Counts(high) => (value.max(0.5) / 0.5).ln() / (high / 0.5).ln(),
            AxisScale::Log(low, high) => (value.max(low) / low).ln() / (high / low).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Values worth a mark, about `count` of them, and how each is written.
    pub(super) fn ticks(self, count: usize) -> Vec<(f64, String)> {
        match self {
            AxisScale::Linear(low, high) => linear_ticks(low, high, count),
            AxisScale::Counts(high) => {
                let powers = (0..MOST_POWER).map(|power| 10f64.powi(power));
                let powers = powers.take_while(|value| *value <= high);
                powers.map(|value| (value, thousands(value as usize))).collect()
            }
            AxisScale::Log(low, high) => log_ticks(low, high),
        }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, with as many decimals as it takes. None where there is
/// no room between the ends, as in a report that somebody wrote.
fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / count.max(1) as f64;
    if !(rough.is_normal() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|f| f * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, MOST_DECIMALS) as usize;
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let written = |value: f64| match value {
        value if high >= MOST_WRITTEN_OUT && value > 0.0 => format!("{value:e}"),
        value if step >= 1.0 && value >= 0.0 => thousands(value.round() as usize),
        value if value < 0.0 => format!("−{:.decimals$}", -value),
        value => format!("{value:.decimals$}"),
    };
    let clean = |value: f64| if value.abs() < step / 1e6 { 0.0 } else { value };
    let values = (first..=last).take(MOST_TICKS).map(|i| clean(i as f64 * step));
    values.map(|value| (value, written(value))).collect()
}

/// 1, 2 and 5 times each power of ten; over more than two of them 1 and 3 times, then the powers alone,
/// and over many every second or third.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    if !(low > 0.0 && high.is_finite()) {
        return Vec::new();
    }
    let decades = (high / low).log10();
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let factors: &[u8] = match decades {
        decades if decades <= 2.0 => &[1, 2, 5],
        decades if decades <= 3.0 => &[1, 3],
        _ => &[1],
    };
    let every = (decades / LOG_TICKS).ceil().max(1.0) as usize;
    let written = |value: f64| match value {
        value if value < LEAST_WRITTEN_OUT => format!("{value:e}"),
        value => value.to_string(),
    };
    let marks = (first..=last).step_by(every).flat_map(|power| {
        // Read from its digits, a mark is the number that it shows.
        factors.iter().filter_map(move |factor| format!("{factor}e{power}").parse::<f64>().ok())
    });
    marks
        .filter(|value| (low..=high).contains(value))
        .map(|value| (value, written(value)))
        .collect()
}

/// Room that `text` takes at a plot's 11 units, in DejaVu Sans, which is wider than other fonts.
pub(super) fn text_width(text: &str) -> f64 {
    let width = |c: char| match c {
        ' ' | '!' | '\'' | '(' | ')' | ',' | '-' | '.' | '/' | ':' | ';' | '[' | '\\' | ']'
        | '|' => 4.5,
        'f' | 'i' | 'j' | 'l' | 'r' | 't' => 4.5,
        '#' | '%' | '+' | '<' | '=' | '>' | '@' | 'M' | 'W' | '^' | 'm' | 'w' | '~' | '…' => 11.0,
        '&' | 'A'..='Z' => 8.75,
        c if c.is_ascii() => 7.0,
        // One column or two: letters of other scripts, ideographs, emoji.
        c => 10.5 + 3.5 * (c.width().unwrap_or(1) as f64 - 1.0),
    };
    text.chars().map(width).sum()
}

/// A drawing area with two axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    /// Of the values to the right.
    pub x: AxisScale,
    /// Of the values upwards.
    pub y: AxisScale,
    /// Of the whole picture, user units.
    pub height: f64,
}

impl Axes {
    /// Where `value` stands to the right, user units.
    pub(super) fn at_x(&self, value: f64) -> f64 {
        let left = self.left();
        round(left + self.x.share(value) * (WIDTH - left - RIGHT))
    }

    /// The left end of the drawing, user units.
    pub(super) fn left(&self) -> f64 {
        let ticks = self.y.ticks(Y_TICKS).into_iter();
        round(ticks.map(|(_, text)| Y_NAME + text_width(&text)).fold(LEFT, f64::max))
    }

    /// Where `value` stands upwards, user units.
    pub(super) fn at_y(&self, value: f64) -> f64 {
        round(self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM))
    }

    /// The top of the drawing, user units.
    pub(super) fn top(&self) -> f64 {
        TOP
    }

    /// The foot of the drawing, user units.
    pub(super) fn foot(&self) -> f64 {
        self.height - BOTTOM
    }

    /// The right end of the drawing, user units.
    pub(super) fn right(&self) -> f64 {
        WIDTH - RIGHT
    }

    /// Grid, axes, ticks and what they are in.
    pub(super) fn draw(&self, x_label: &str, y_label: &str) -> Markup {
        let (left, foot) = (self.left(), self.foot());
        let middle = (TOP + foot) / 2.0;
        html! {
            @for (value, text) in self.y.ticks(Y_TICKS) {
                line.grid x1=(left) x2=(self.right()) y1=(self.at_y(value)) y2=(self.at_y(value)) {}
                text x=(left - 5.0) y=(self.at_y(value) + 4.0) text-anchor="end" { (text) }
            }
            @for (value, text) in self.x.ticks(5) {
                line.axis x1=(self.at_x(value)) x2=(self.at_x(value)) y1=(foot) y2=(foot + 4.0) {}
                text x=(self.at_x(value)) y=(foot + 17.0) text-anchor="middle" { (text) }
            }
            path.axis d=(format!("M{left} {TOP}V{foot}H{}", self.right())) {}
            text.title x=((left + self.right()) / 2.0) y=(self.height - 6.0) text-anchor="middle" {
                (x_label)
            }
            text.title transform=(format!("translate(11 {middle}) rotate(-90)")) text-anchor="middle" {
                (y_label)
            }
        }
    }
}

/// A figure of that height in user units: its caption with a remark below, and `drawing` with a
/// description for a screen reader. `id` is unique in the page.
pub(super) fn figure(
    id: &str,
    caption: &str,
    remark: &str,
    description: &str,
    height: f64,
    drawing: &Markup,
) -> Markup {
    let (title, desc, caption) = (format!("{id}-title"), format!("{id}-desc"), neutralise(caption));
    html! {
        figure id=(id) {
            figcaption {
                b { (caption) }
                @if !remark.is_empty() { span.quiet { (remark) } }
            }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{title} {desc}")) {
                title id=(title) { (caption) }
                desc id=(desc) { (neutralise(description)) }
                (drawing)
            }
        }
    }
}

/// To a hundredth of a user unit, which nobody sees.
pub(super) fn round(length: f64) -> f64 {
    (length * 100.0).round() / 100.0
}

/// `M0 0L1 1…` through the points.
pub(super) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let steps = points.enumerate().map(|(i, (x, y))| {
        let command = if i == 0 { 'M' } else { 'L' };
        format!("{command}{x} {y}")
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scale: AxisScale, count: usize) -> Vec<String> {
        scale.ticks(count).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn an_axis_without_room_or_end_has_few_marks() {
        for scale in [
            AxisScale::Linear(0.5, 0.5),
            AxisScale::Linear(1.0, 0.0),
            AxisScale::Linear(0.0, 1e-310),
            AxisScale::Linear(1e-300, 2e-300),
            AxisScale::Linear(-1e308, 1e308),
            AxisScale::Linear(1e300, 1e300 * (1.0 + f64::EPSILON)),
            AxisScale::Linear(0.0, f64::NAN),
            AxisScale::Counts(f64::INFINITY),
            AxisScale::Log(0.0, 1.0),
            AxisScale::Log(1.0, f64::INFINITY),
            AxisScale::Log(f64::NAN, 1.0),
        ] {
            assert!(scale.ticks(5).len() <= MOST_TICKS, "{scale:?}");
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            written(AxisScale::Linear(0.5, 1.0), 5),
            ["0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
        );
        assert_eq!(
            written(AxisScale::Linear(-0.1, 0.1), 4),
            ["−0.10", "−0.05", "0.00", "0.05", "0.10"]
        );
        assert_eq!(
            written(AxisScale::Linear(0.0, 67_349.0), 4),
            ["0", "20,000", "40,000", "60,000"]
        );
        assert_eq!(written(AxisScale::Counts(2_500.0), 5), ["1", "10", "100", "1,000"]);
        assert_eq!(written(AxisScale::Linear(0.0, 2.57), 5), ["0", "1", "2"]);
        assert_eq!(written(AxisScale::Linear(0.0, 4.2e9), 5), ["0", "1e9", "2e9", "3e9", "4e9"]);
    }

    #[test]
    fn ticks_by_the_logarithm_are_as_many_as_fit() {
        assert_eq!(written(AxisScale::Log(0.018, 0.4), 5), ["0.02", "0.05", "0.1", "0.2"]);
        assert_eq!(
            written(AxisScale::Log(0.0008, 0.2), 5),
            ["0.001", "0.003", "0.01", "0.03", "0.1"]
        );
        assert_eq!(written(AxisScale::Log(5e-9, 0.3), 5), ["1e-7", "1e-5", "0.001", "0.1"]);
    }

    #[test]
    fn equal_ratios_are_equally_far_by_the_logarithm() {
        let scale = AxisScale::Log(0.01, 1.0);
        assert_eq!((scale.share(0.01), scale.share(1.0), scale.share(0.0)), (0.0, 1.0, 0.0));
        assert!((scale.share(0.1) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn values_stand_between_the_ends() {
        let axes =
            Axes { x: AxisScale::Linear(0.0, 1.0), y: AxisScale::Counts(500.0), height: HEIGHT };
        assert_eq!((axes.at_x(0.0), axes.at_x(1.0), axes.at_x(7.0)), (LEFT, 348.0, 348.0));
        assert_eq!((axes.at_y(0.0), axes.at_y(500.0)), (HEIGHT - BOTTOM, TOP));
        assert!(axes.at_y(1.0) < axes.foot());
    }
}
