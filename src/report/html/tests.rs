//! The page by an independent HTML parser; how it looks is tests/browser.rs's.

use scraper::{Html, Selector};

use super::super::samples;
use super::*;

fn parsed(report: &Report) -> Html {
    html_of(&render(report))
}

/// A page that an independent parser has nothing to say against.
pub(super) fn html_of(page: &str) -> Html {
    let page = Html::parse_document(page);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    page
}

/// The text of every element that `selector` finds.
pub(super) fn texts(page: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    page.select(&selector).map(|element| element.text().collect()).collect()
}

/// The ids of a page, sorted, each of which must be one element's.
pub(super) fn ids_of_one_element<'a>(page: &'a Html, name: &str) -> Vec<&'a str> {
    let ids = Selector::parse("[id]").unwrap();
    let mut ids: Vec<&str> = page.select(&ids).filter_map(|e| e.value().id()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{name}");
    ids
}

#[test]
fn every_report_is_html_without_an_error_and_every_id_is_one_element_s() {
    for (name, report) in samples::all() {
        let page = parsed(&report);
        let ids = ids_of_one_element(&page, name);
        for reference in texts_of_attribute(&page, "[aria-labelledby]", "aria-labelledby") {
            assert!(reference.split(' ').all(|id| ids.contains(&id)), "{name}: {reference}");
        }
    }
}

fn texts_of_attribute(page: &Html, selector: &str, attribute: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    page.select(&selector).filter_map(|e| e.value().attr(attribute)).map(str::to_owned).collect()
}

#[test]
fn the_sections_stand_in_their_order() {
    let page = parsed(&samples::preserved());
    let headings = texts(&page, "h1, h2, h3");
    assert_eq!(
        headings,
        [
            "Confidence audit of sst2",
            "How the budget was spent",
            "Teacher against student",
            "The difference d(x)",
            "Reliability",
            "σ by part",
            "Metrics",
            "Inputs furthest apart",
            "Recalibrated",
            "Manifest",
            "Run it again",
            "What decided the numbers",
            "Conventions",
        ]
    );
    let verdict = &texts(&page, ".verdict")[0];
    for part in ["PRESERVED", "σ 0.0446 ≤ κ 0.0500", "67,349 examples", "β 168.4 nats"] {
        assert!(verdict.contains(part), "{verdict}");
    }
    assert!(texts(&page, ".beside")[0].contains("validation: not preserved, σ 0.1010 > κ 0.0500"));
    assert_eq!(texts(&page, "#manifest pre").len(), 1);
}

#[test]
fn every_plot_has_a_title_and_a_description() {
    let page = parsed(&samples::suite());
    let (plots, all) = (Selector::parse("figure > svg[role=img]").unwrap(), page.root_element());
    let mut count = 0;
    for plot in all.select(&plots) {
        let text = |tag: &str| {
            let tag = Selector::parse(tag).unwrap();
            plot.select(&tag).next().map(|e| e.text().collect::<String>()).unwrap_or_default()
        };
        assert!(!text("title").is_empty() && text("desc").len() > 40);
        assert!(!plot.html().contains("NaN") && !plot.html().contains("inf"));
        count += 1;
    }
    // Two tasks ran, one of them on two splits: budget, confidences, d, reliability, σ by label.
    assert_eq!(count, 3 * 5);
}

#[test]
fn a_suite_begins_with_its_tasks_at_a_glance() {
    let page = parsed(&samples::suite());
    let rows = texts(&page, ".glance tbody tr");
    assert_eq!(rows.len(), 4);
    assert!(rows[0].starts_with("sst2train") && rows[1].contains("(beside)"));
    assert!(rows[3].contains("could not run"));
    let targets = texts_of_attribute(&page, ".glance a", "href");
    assert_eq!(targets, ["#task-0", "#task-0", "#task-1", "#task-2"]);
    assert!(texts(&page, "#task-2 .verdict")[0].contains("Hint: these look like"));
}

#[test]
fn hostile_text_arrives_as_text() {
    let page = parsed(&samples::hostile());
    let foreign =
        Selector::parse("script, img, iframe, object, a[href^='http'], [onclick]").unwrap();
    assert_eq!(page.select(&foreign).count(), 0);
    let shown = texts(&page, ".inputs .text p");
    // Text and pair of each: the nine and the one of 10,000 characters.
    assert_eq!(shown.len(), 20);
    for text in samples::HOSTILE {
        assert!(shown.contains(&neutralise(text)), "{text}");
    }
    assert!(shown.iter().any(|text| text.chars().count() == 10_000));
}

#[test]
fn nothing_is_fetched_and_the_page_is_small() {
    for (name, report) in samples::all() {
        let text = render(&report);
        for bad in ["<script", "http://", "https://", "@import", "url("] {
            assert!(name == "hostile" || !text.contains(bad), "{bad} in {name}");
        }
        assert!(text.len() < 2_000_000, "{name}: {}", text.len());
    }
}

#[test]
fn texts_of_any_length_leave_the_page_below_two_megabytes() {
    let mut report = samples::suite();
    for input in report.tasks.iter_mut().flat_map(|row| &mut row.worst) {
        (input.text, input.pair) = (Some("<&> ".repeat(60_000)), Some("שלום ".repeat(50_000)));
    }
    let text = render(&report);
    assert!(text.len() < 2_000_000, "{}", text.len());
    assert!(text.contains("of 240,000 characters; report.json has them all"));
}

#[test]
fn a_report_of_an_older_version_has_its_page() {
    let mut report = samples::preserved();
    for row in &mut report.tasks {
        (row.figures.differences, row.figures.confidences, row.figures.intervals) =
            (None, None, None);
        (row.labels, row.sigma_unseen, row.recalibrated) = (Vec::new(), None, None);
        for model in [&mut row.figures.teacher, &mut row.figures.student].into_iter().flatten() {
            (model.reliability, model.intervals) = Default::default();
        }
    }
    report.manifest.commands.clear();
    let page = parsed(&report);
    assert_eq!(texts(&page, "h3").len(), 11);
    assert_eq!(texts(&page, "section > p").iter().filter(|t| *t == words::NOTHING).count(), 3);
}
