//! Columns, encodings and numbers that are not those of the reference, each with what to do.

use serde_json::Value;

use super::common::{note, number, says, with, Sandbox};
use super::*;

#[test]
fn logits_and_probabilities_that_contradict_each_other_are_refused() {
    let header = "logit_negative,logit_positive,probability_negative,probability_positive";
    // softmax(1.0986123, 0) = (0.75, 0.25).
    let table = |p: &str| format!("{header}\n0,0,0.5,0.5\n1.0986123,0,{p}\n0,0,0.5,0.5\n");
    refused_file(
        "s.csv",
        table("0.6,0.4"),
        &["line 3, column `probability_negative`", "0.6", "0.7500", "contradict each other"],
    );
    for agreeing in ["0.75,0.25", "0.7501,0.2499", ",", "much,0.25"] {
        let (sandbox, files) = pair(table("0.75,0.25"), table(agreeing));
        assert_eq!(number(&sandbox.row(&files), "sigma"), 0.0, "{agreeing}");
    }
    // Probabilities of two decimals: half a unit is 0.005, and softmax(1.1, 0) = (0.7503, 0.2497).
    let rounded = format!("{header}\n1.1,0,0.75,0.25\n0.3,0,0.57,0.43\n2,0,0.88,0.12\n");
    // Logits of one decimal: 1.1 was 1.14, whose softmax is 0.7577.
    let coarse = format!("{header}\n1.1,0,0.7577,0.2423\n-0.3,0,0.4255,0.5745\n");
    // `%.2g` writes 12.34 as 12 and 0.01744 as 0.017.
    let short = format!("{header}\n-1.2,0.017,0.2212,0.7788\n12,11,0.7858,0.2142\n");
    for text in [rounded, coarse, short] {
        let (sandbox, files) = pair(&text, &text);
        assert_eq!(number(&sandbox.row(&files), "sigma"), 0.0, "{text}");
    }
    // Other names for the labels: the numbers must be the same, whatever the names mean.
    let ids = |p: &str| table(p).replace("logit_negative,logit_positive", "logit_0,logit_1");
    refused_file("s.csv", ids("0.6,0.4"), &["line 3", "0.4", "0.2500", "contradict each other"]);
    let (sandbox, files) = pair(ids("0.25,0.75"), ids("0.75,0.25"));
    assert_eq!(number(&sandbox.row(&files), "sigma"), 0.0);
}

#[test]
fn probabilities_called_logits_are_refused() {
    let header = "logit_negative,logit_positive\n";
    let table = |rows: &str| format!("{header}{rows}");
    let words = [
        "sums to 1",
        "softmax would be applied twice",
        "`logit_negative` to `probability_negative`",
    ];
    refused(table("0.9,0.1\n0.2,0.8\n0.55,0.45\n"), table("1,2\n3,4\n5,6\n"), &words);
    refused(table("0.91,0.1\n0.2,0.8\n0.55,0.45\n"), table("1,2\n3,4\n5,6\n"), &words);
    // One row that is not a distribution, or too few rows, and they are logits.
    for rows in ["0.9,0.1\n0.2,0.8\n0.5,0.6\n", "0.9,0.1\n0.2,0.8\n", "0.5,0.5\n"] {
        let (sandbox, files) = pair(table(rows), table(rows));
        assert_eq!(number(&sandbox.row(&files), "sigma"), 0.0, "{rows}");
    }
}

#[test]
fn other_separators_and_encodings_are_named() {
    let semicolons = "id;probability_negative;probability_positive\n0;0,9;0,1\n";
    refused_file("s.csv", semicolons, &["separates its columns by semicolons", "decimal points"]);
    let tabs = semicolons.replace(';', "\t").replace(',', ".");
    refused_file("s.csv", &tabs, &["separates its columns by tabs", "name it .tsv"]);
    refused_file(
        "s.tsv",
        tabs.replace('\t', ","),
        &["by commas, and a .tsv file has tabs", "name it .csv"],
    );
    refused_file("s.csv", format!("sep=;\n{semicolons}"), &["line `sep=;`", "remove that line"]);
    let quoted = "id,probability_negative,probability_positive\n0,\"0,9\",\"0,1\"\n";
    refused_file(
        "s.csv",
        quoted,
        &["line 2, column `probability_negative`", "`0,9` is not a number", "0.9"],
    );
    let bare = quoted.replace('"', "");
    refused_file("s.csv", bare, &["line 2: 5 columns where the header has 3", "decimal comma"]);
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    refused_file("s.csv", utf16("\u{feff}id,score\n"), &["UTF-16", "iconv -f UTF-16"]);
    refused_file("s.csv", utf16("id,score\n"), &["NUL", "probably UTF-16"]);
    refused_file("s.jsonl", utf16("\u{feff}{}\n"), &["UTF-16", "iconv -f UTF-16"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    let none = |_| String::new();
    let text = csv("", &in_order(), none, student_margin);
    let json = |i: usize| {
        format!("{{\"logit_negative\": {}, \"logit_positive\": 0}}\n", student_margin(i))
    };
    for (name, text) in [
        ("s.csv", text.clone()),
        ("s.tsv", text.replace(',', "\t")),
        ("s.jsonl", (0..ROWS).map(json).collect()),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("t.csv", csv("", &in_order(), none, margin));
        sandbox.write(name, format!("\u{feff}{text}"));
        let row = sandbox.row(&check("t.csv", name));
        assert!((number(&row, "sigma") - SIGMA).abs() < 1e-9, "{name}");
    }
}

#[test]
fn columns_with_other_names_are_named_with_what_to_call_them() {
    let p = "0.9,0.1\n0.2,0.8\n";
    let z = "3.5,-1\n0.2,0.8\n";
    for (header, rows, words) in [
        ("prob_0,prob_1", p, ["`prob_0` to `probability_0`", "`prob_1` to `probability_1`"]),
        ("p0,p1", p, ["`p0` to `probability_0`", "`p1` to `probability_1`"]),
        ("proba_0,proba_1", p, ["`proba_0` to `probability_0`", "`proba_1` to"]),
        ("0,1", p, ["too few to tell them from logits", "columns logit_<label>"]),
        ("1,2", p, ["`1` to `probability_1`", "`2` to `probability_2`"]),
        ("negative,other", p, ["logit_<label>", "probability_<label>"]),
        ("logits_neg,Logits_0", z, ["logit_<label>", "probability_<label>"]),
        ("logits_0,logits_1", z, ["`logits_0` to `logit_0`", "`logits_1` to `logit_1`"]),
        (
            "score,prediction",
            "0.9,positive\n",
            ["`score` to `confidence`", "`prediction` to `predicted`"],
        ),
        (
            "confidence,pred",
            "0.9,positive\n",
            ["rename `pred` to `predicted`", "[confidence, pred]"],
        ),
    ] {
        refused_file("s.csv", format!("{header}\n{rows}"), &words);
    }
}

#[test]
fn a_pipeline_s_label_and_score_are_the_predicted_label_and_its_confidence() {
    let plain = "confidence,predicted\n0.9,positive\n0.75,negative\n";
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", plain.replace("0.9", "0.8"));
    sandbox.write("s.csv", plain);
    let expected = sandbox.row(&check("t.csv", "s.csv"));
    // d = (0.1, 0): σ = √(0.01 / 2).
    assert!((number(&expected, "sigma") - 0.005f64.sqrt()).abs() < 1e-12);
    for (name, text) in [
        ("p.csv", "label,score\npositive,0.9\nnegative,0.75\n"),
        ("p.csv", ",label,score\n0,POSITIVE,0.9\n1,NEGATIVE,0.75\n"),
        ("p.csv", "label,score\nLABEL_1,0.9\nLABEL_0,0.75\n"),
        (
            "p.jsonl",
            "{\"label\": \"positive\", \"score\": 0.9}\n{\"label\": \"negative\", \"score\": 0.75}\n",
        ),
    ] {
        sandbox.write(name, text);
        let row = sandbox.row(&check("t.csv", name));
        for key in ["sigma", "agreement", "negative_flips"] {
            assert_eq!(row[key], expected[key], "{text}");
        }
        assert_eq!(row["student"]["labelled"], 0, "its label is no true label: {text}");
    }
    // With other columns `label` may be the true label.
    sandbox.write("p.csv", "id,label,score\n0,positive,0.9\n1,negative,0.75\n");
    let words = ["`score` to `confidence`", "`label` to `predicted`", "true label"];
    sandbox.audit(&check("t.csv", "p.csv")).fails(3, &words);
}

#[test]
fn json_that_is_not_json_is_named_with_its_key() {
    let line = |value: &str| format!("{{\"logit_negative\": 1, \"logit_positive\": {value}}}\n");
    for token in ["NaN", "Infinity", "-Infinity"] {
        let text = line("0") + &line(token);
        let name = format!("`{token}` of the key `logit_positive`");
        refused_file("s.jsonl", text, &["line 2", &name, "is not JSON", "null"]);
    }
    let twice = "{\"logit_negative\": 1, \"logit_positive\": 0, \"logit_negative\": 2}\n";
    let words = ["line 2", "the key `logit_negative` is there twice", "leave one"];
    refused_file("s.jsonl", line("0") + twice, &words);
}

#[test]
fn rounded_probabilities_are_divided_by_their_sum_when_asked() {
    let header = "probability_negative,probability_positive\n";
    let teacher = format!("{header}0.8,0.2\n0.3,0.7\n");
    // 0.66 / 0.99 = 2/3 and 0.7: d = (0.8 − 2/3, 0).
    let student = format!("{header}0.66,0.33\n0.3,0.7\n");
    let (sandbox, files) = pair(&teacher, &student);
    let words =
        ["s.csv` line 2", "sum to 0.99", "not to 1", "--normalise", "more digits", "logits"];
    sandbox.audit(&files).fails(3, &words);
    let asked = with(&files, &["--normalise"]);
    let row = sandbox.row(&asked);
    let d = 0.8 - 2.0 / 3.0;
    assert!((number(&row, "sigma") - (d * d / 2.0f64).sqrt()).abs() < 1e-12, "{}", row["sigma"]);
    let note = note(&row, "rows-normalised");
    says(note["message"].as_str().unwrap(), &["1 of 2 rows", "student"]);
    // The report's command repeats it.
    let report = with(&asked, &["--output-dir", "out", "--exit-zero"]);
    assert_eq!(sandbox.audit(&report).code, 0);
    let saved: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    says(saved["manifest"]["commands"][0]["command"].as_str().unwrap(), &["--normalise"]);
    let verified = sandbox.audit(&["verify", "out/report.json"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    // Further off than two labels of two decimals can be, 0.01; and no decimals at all.
    for rows in ["0.66,0.31\n0.3,0.7\n", "1,1\n0,1\n"] {
        sandbox.write("s.csv", format!("{header}{rows}"));
        let run = sandbox.audit(&asked);
        run.fails(3, &["s.csv` line 2", "not to 1", "all labels"]);
        assert!(!run.stderr.contains("--normalise"), "{}", run.stderr);
    }
    // A table that sums to one has the same bits with the flag and no note.
    let (sandbox, files) = pair(&teacher, &teacher);
    let [plain, asked] = [files.clone(), with(&files, &["--normalise"])].map(|it| sandbox.row(&it));
    assert_eq!((&plain["sigma"], &plain["notes"]), (&asked["sigma"], &asked["notes"]));
    let raw = format!("{header}3.5,-1\n0.3,0.7\n");
    refused(&raw, &teacher, &["t.csv` line 2", "outside [0, 1]", "logit_<label>"]);
}
