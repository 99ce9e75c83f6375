//! How numbers are written for people: text, Markdown, JUnit and annotations share these.

/// Stands where a value is not defined.
pub(crate) const ABSENT: &str = "–";

/// Decimals of σ, κ, accuracies and confidences.
const DECIMALS: usize = 4;

/// A count with separators: `67,349`.
pub(crate) fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Four decimals; more where the value would show as zero and is not.
pub(crate) fn decimal(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = if magnitude == 0.0 || magnitude >= 1e-3 {
        DECIMALS
    } else {
        (3 - magnitude.log10().floor() as i64).clamp(DECIMALS as i64, 8) as usize
    };
    format!("{value:.decimals$}")
}

/// [`decimal`], with `–` for a value that is not defined.
pub(crate) fn decimal_or_absent(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), decimal)
}

/// [`decimal`] with its sign: `+0.0182`.
pub(crate) fn signed(value: f64) -> String {
    if value < 0.0 {
        format!("−{}", decimal(-value))
    } else {
        format!("+{}", decimal(value))
    }
}

/// σ and κ, with enough decimals to tell them apart.
pub(crate) fn sigma_and_kappa(sigma: f64, kappa: f64) -> (String, String) {
    told_apart((sigma, kappa), decimal, DECIMALS + 1)
}

/// Two numbers as `written` writes them; where they would look alike and are not, with as many
/// decimals as it takes, at least `from`.
fn told_apart(
    (a, b): (f64, f64),
    written: impl Fn(f64) -> String,
    from: usize,
) -> (String, String) {
    let plain = (written(a), written(b));
    if plain.0 != plain.1 || a == b {
        return plain;
    }
    let mut longer = (from..=17).map(|n| (format!("{a:.n$}"), format!("{b:.n$}")));
    longer.find(|(a, b)| a != b).unwrap_or(plain)
}

/// `0.0446 ≤ κ 0.0500`, with enough decimals to tell them apart; `within` comes from the budget.
pub(crate) fn against_kappa(sigma: f64, within: bool, kappa: f64) -> String {
    let (sigma, kappa) = sigma_and_kappa(sigma, kappa);
    format!("{sigma} {} κ {kappa}", if within { "≤" } else { ">" })
}

/// A share as a percentage: `79.6 %`. Shows `100 %` and `0 %` for exactly that alone.
pub(crate) fn percent(share: f64) -> String {
    if share == 0.0 || share == 1.0 {
        return format!("{:.0} %", share * 100.0);
    }
    let written = (1..=12)
        .map(|decimals| format!("{:.decimals$}", share * 100.0))
        .find(|text| text.parse::<f64>().is_ok_and(|shown| shown != 100.0 && shown != 0.0))
        .unwrap_or_else(|| format!("{:e}", share * 100.0));
    match written.split_once('.') {
        Some((whole, part)) => match whole.parse::<usize>() {
            Ok(whole) => format!("{}.{part} %", thousands(whole)),
            Err(_) => format!("{written} %"),
        },
        None => format!("{written} %"),
    }
}

/// At least four significant digits, for sums whose size is not known beforehand: `168.4`.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i64;
    if !(-5..=9).contains(&exponent) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - exponent).clamp(0, 8) as usize;
    format!("{value:.decimals$}")
}

/// A parameter that somebody chose, as they would have typed it: `0.0025`, `1`.
pub(crate) fn chosen(value: f64) -> String {
    let shortest = format!("{value}");
    if shortest.len() <= 8 {
        shortest
    } else {
        significant(value)
    }
}

/// [`significant`] of two numbers, with enough decimals to tell them apart.
pub(crate) fn spent_and_budget(spent: f64, budget: f64) -> (String, String) {
    told_apart((spent, budget), significant, 1)
}

/// `1 example`, `2 examples`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_carry_separators() {
        let written: Vec<_> = [0, 12, 999, 1_000, 67_349, 1_234_567].map(thousands).into();
        assert_eq!(written, ["0", "12", "999", "1,000", "67,349", "1,234,567"]);
        assert_eq!(counted(1, "example", "examples"), "1 example");
    }

    #[test]
    fn sigma_and_kappa_never_look_equal_when_they_differ() {
        assert_eq!(sigma_and_kappa(0.0446, 0.05), ("0.0446".into(), "0.0500".into()));
        assert_eq!(sigma_and_kappa(0.0500004, 0.05), ("0.0500004".into(), "0.0500000".into()));
        assert_eq!(sigma_and_kappa(0.05, 0.05), ("0.0500".into(), "0.0500".into()));
        let next = f64::from_bits(0.05_f64.to_bits() + 1);
        let (sigma, kappa) = sigma_and_kappa(next, 0.05);
        assert_ne!(sigma, kappa);
    }

    #[test]
    fn small_values_do_not_show_as_zero() {
        assert_eq!(decimal(0.0), "0.0000");
        assert_eq!(decimal(0.001218), "0.0012");
        assert_eq!(decimal(0.000123456), "0.0001235");
        assert_eq!(signed(-0.25), "−0.2500");
    }

    #[test]
    fn a_share_shows_a_hundred_per_cent_for_one_alone() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.7957), "79.6 %");
        assert_eq!(percent(0.99996), "99.996 %");
        assert_eq!(percent(1.0000001), "100.00001 %");
        assert_eq!(percent(52.34), "5,234.0 %");
        assert_eq!(percent(0.0), "0 %");
    }

    #[test]
    fn sums_keep_four_digits() {
        assert_eq!(significant(168.3725), "168.4");
        assert_eq!(significant(0.0961), "0.09610");
        assert_eq!(significant(67349.0), "67349");
        assert_eq!(
            spent_and_budget(168.37251, 168.3725),
            ("168.37251".to_owned(), "168.37250".to_owned())
        );
        assert_eq!(chosen(0.0025), "0.0025");
        assert_eq!(chosen(1.0), "1");
        assert_eq!(chosen(168.37251234), "168.4");
    }
}
