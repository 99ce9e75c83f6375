//! Label cells of data sets: names, ids, or nothing.

use std::collections::HashMap;

use super::readers::Cell;
use super::spelling::did_you_mean;
use crate::error::{failure, Diagnostic};

/// Reads label cells for one column of one file.
#[derive(Debug, Clone, Default)]
pub struct LabelReader {
    /// Names by id. Empty: any id from 0 up is accepted, and no name.
    names: Vec<String>,
    index: LabelIndex,
    /// Whole number → id of the first name that is it.
    by_number: HashMap<i64, usize>,
    numbers: Numbers,
}

/// The meaning of a whole number in a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Numbers {
    /// The name with this spelling; without one, an id.
    #[default]
    NamesThenIds,
    /// Always a name, since all names are whole numbers: with the names 1 and 2, the id 1 and the name
    /// 1 could not be distinguished.
    Names,
    /// Always an id, since the file itself names its ids: id in the file → id of the task.
    Ids(Vec<u32>),
}

/// Maximum number of labels; ImageNet-21k has 21,841.
pub const MOST_LABELS: usize = 1 << 16;

/// Maximum number of names in a message.
const SHOWN: usize = 20;

/// The first names of a list for a message, separated by commas.
pub fn listed(names: &[String]) -> String {
    let mut shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        shown.push_str(", …");
    }
    shown
}

/// The letters and digits of a name in lower case.
fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Ids by name, for many look-ups; each takes a time that does not depend on the number of names.
#[derive(Debug, Clone, Default)]
pub struct LabelIndex {
    exact: HashMap<String, usize>,
    /// Name without case, spaces and punctuation → its id; `None` if several names are alike.
    alike: HashMap<String, Option<usize>>,
}

impl LabelIndex {
    /// The ids of `names`, the first of names that are equal.
    pub fn new(names: &[String]) -> LabelIndex {
        let mut index = LabelIndex::default();
        for (id, name) in names.iter().enumerate() {
            index.exact.entry(name.clone()).or_insert(id);
            let same = index.alike.entry(folded(name)).or_insert(Some(id));
            if *same != Some(id) {
                *same = None;
            }
        }
        index.alike.remove("");
        index
    }

    /// As [`find_label`].
    pub fn find(&self, name: &str) -> Option<usize> {
        self.exact(name).or_else(|| self.alike.get(&folded(name)).copied().flatten())
    }

    /// The id of the name with the same spelling.
    fn exact(&self, name: &str) -> Option<usize> {
        self.exact.get(name).copied()
    }
}

/// The id of `name` among `names`: the same spelling, else the only name that is the same without
/// case, spaces and punctuation. [`LabelIndex`] is for many names.
pub fn find_label(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|known| known == name).or_else(|| {
        let wanted = folded(name);
        let mut alike =
            (0..names.len()).filter(|&i| !wanted.is_empty() && folded(&names[i]) == wanted);
        alike.next().filter(|_| alike.next().is_none())
    })
}

/// The id in each name if the names are ids in any order: `LABEL_0`, `LABEL_1`, … or `0`, `1`, ….
/// `None` if they are names.
pub fn label_ids(names: &[String]) -> Option<Vec<usize>> {
    let id = |name: &String| name.strip_prefix("LABEL_").unwrap_or(name).parse::<usize>().ok();
    let ids: Vec<usize> = names.iter().map(id).collect::<Option<_>>()?;
    let mut found = vec![false; ids.len()];
    ids.iter().for_each(|&id| _ = found.get_mut(id).map(|found| *found = true));
    found.iter().all(|found| *found).then_some(ids)
}

impl LabelReader {
    /// For a task with these names and a file whose metadata names its ids `in_file`.
    ///
    /// The same names in another order are matched by name. Other names are ignored, in favour of
    /// the task's own.
    pub fn new(names: &[String], in_file: Option<&Vec<String>>) -> LabelReader {
        let index = LabelIndex::new(names);
        let by_name = |in_file: &Vec<String>| -> Vec<u32> {
            let id = |name: &String| index.find(name).map(|id| id as u32);
            let ids: Option<Vec<u32>> = in_file.iter().map(id).collect();
            let same_set = ids.filter(|ids| ids.len() == names.len());
            same_set.unwrap_or_else(|| (0..names.len() as u32).collect())
        };
        let is_number = |name: &String| name.parse::<i64>().is_ok();
        let numbers = match in_file {
            _ if names.is_empty() => Numbers::NamesThenIds,
            Some(in_file) => Numbers::Ids(by_name(in_file)),
            None if names.iter().all(is_number) => Numbers::Names,
            None => Numbers::NamesThenIds,
        };
        let mut by_number = HashMap::new();
        for (id, name) in names.iter().enumerate() {
            if let Ok(number) = name.parse::<i64>() {
                by_number.entry(number).or_insert(id);
            }
        }
        LabelReader { names: names.to_vec(), index, by_number, numbers }
    }

    /// The label id; `None` if the row has no label.
    pub(super) fn read(&self, cell: &Cell) -> Result<Option<u32>, Diagnostic> {
        match cell {
            Cell::Missing | Cell::Null => Ok(None),
            Cell::Bool(value) if self.numbers == Numbers::Names => self.number(i64::from(*value)),
            Cell::Bool(value) => {
                self.text(if *value { "true" } else { "false" }).or_else(|error| {
                    // Without names true and false, they are the ids 1 and 0.
                    if self.names.len() > 2 {
                        Err(error)
                    } else {
                        Ok(Some(u32::from(*value)))
                    }
                })
            }
            Cell::Integer(id) => self.number(*id),
            Cell::Number(value) if value.is_nan() => Ok(None),
            Cell::Number(value) if value.fract() == 0.0 && value.abs() < 1e9 => {
                self.number(*value as i64)
            }
            Cell::Number(value) => Err(self.not_an_id(&value.to_string())),
            Cell::Text(text) => self.text(text.trim()),
            cell @ (Cell::List(_) | Cell::Other(_)) => {
                let kind = cell.kind();
                Err(failure!("the label is {kind}").hint("a label is a name or an id"))
            }
        }
    }

    /// Names take precedence over ids: `1` of the names 1 to 5 is the first.
    fn text(&self, text: &str) -> Result<Option<u32>, Diagnostic> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(id) = self.index.exact(text) {
            return Ok(Some(id as u32));
        }
        if let Ok(number) = text.parse::<i64>() {
            return self.number(number);
        }
        match text.parse::<f64>() {
            // pandas writes a column of ids with gaps as decimals.
            Ok(value) if value.fract() == 0.0 && value.abs() < 1e9 => self.number(value as i64),
            Ok(value) if value.is_nan() => Ok(None),
            Ok(_) => Err(self.not_an_id(text)),
            Err(_) => match self.index.find(text) {
                Some(id) => Ok(Some(id as u32)),
                None => Err(self.unknown(text)),
            },
        }
    }

    fn number(&self, number: i64) -> Result<Option<u32>, Diagnostic> {
        let name = || self.by_number.get(&number).copied();
        match &self.numbers {
            Numbers::Ids(_) => self.id(number),
            Numbers::NamesThenIds => {
                name().map_or_else(|| self.id(number), |id| Ok(Some(id as u32)))
            }
            Numbers::Names => match name() {
                Some(id) => Ok(Some(id as u32)),
                None if number == -1 => Ok(None),
                None => Err(failure!("label {number} is not one of the names").hint(format!(
                    "the labels [{}] are numbers, so a number is read as a name, never as an id",
                    listed(&self.names)
                ))),
            },
        }
    }

    fn id(&self, id: i64) -> Result<Option<u32>, Diagnostic> {
        if id == -1 {
            return Ok(None); // GLUE's mark for unlabelled test rows
        }
        let known = if self.names.is_empty() { MOST_LABELS } else { self.names.len() } as i64;
        if !(0..known).contains(&id) {
            return Err(self.out_of_range(id));
        }
        let id = u32::try_from(id).expect("checked against the range");
        Ok(Some(match &self.numbers {
            Numbers::Ids(ids) => ids[id as usize],
            Numbers::NamesThenIds | Numbers::Names => id,
        }))
    }

    fn out_of_range(&self, id: i64) -> Diagnostic {
        let hint = match self.names.len() {
            0 => format!("ids are from 0 to {}; −1 or nothing means no label", MOST_LABELS - 1),
            count => format!(
                "the ids 0 to {} are [{}]; −1 or nothing means no label",
                count - 1,
                listed(&self.names)
            ),
        };
        failure!("label {id} is out of range").hint(hint)
    }

    fn not_an_id(&self, text: &str) -> Diagnostic {
        failure!("label {text} is a fraction, not a class")
            .hint("confidence is defined for classes, not for a regression; name another column")
    }

    fn unknown(&self, text: &str) -> Diagnostic {
        let hint = if self.names.is_empty() {
            "name the labels in the order of their ids: labels = [\"…\", \"…\"]".to_owned()
        } else {
            let guess = did_you_mean(text, self.names.iter().map(String::as_str));
            format!("{guess}the labels are [{}]", listed(&self.names))
        };
        failure!("unknown label `{text}`").hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    fn reader(list: &[&str]) -> LabelReader {
        LabelReader::new(&names(list), None)
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn names_and_ids_are_labels() {
        let reader = reader(&["negative", "positive"]);
        for cell in [text("positive"), text("1"), text(" 1 "), text("1.0"), Cell::Integer(1)] {
            assert_eq!(reader.read(&cell).unwrap(), Some(1), "{cell:?}");
        }
        assert_eq!(reader.read(&Cell::Number(0.0)).unwrap(), Some(0));
        assert_eq!(reader.read(&Cell::Bool(true)).unwrap(), Some(1));
    }

    #[test]
    fn an_empty_cell_and_minus_one_are_unlabelled() {
        let reader = reader(&["negative", "positive"]);
        for cell in [
            Cell::Null,
            Cell::Missing,
            text(""),
            text("-1"),
            text("nan"),
            Cell::Integer(-1),
            Cell::Number(f64::NAN),
            Cell::Number(-1.0),
        ] {
            assert_eq!(reader.read(&cell).unwrap(), None, "{cell:?}");
        }
    }

    #[test]
    fn a_wrong_label_is_refused_with_the_labels() {
        let reader = reader(&["negative", "positive"]);
        let error = reader.read(&text("positve")).unwrap_err();
        assert_eq!(error.message, "unknown label `positve`");
        assert_eq!(
            error.hint.unwrap(),
            "did you mean `positive`? the labels are [negative, positive]"
        );
        for cell in [text("2"), Cell::Integer(2), Cell::Integer(-2)] {
            let error = reader.read(&cell).unwrap_err();
            assert!(error.message.contains("out of range"), "{error:?}");
            assert!(error.hint.as_ref().unwrap().contains("0 to 1"), "{error:?}");
        }
        for cell in [text("2.5"), Cell::Number(2.5)] {
            assert!(reader.read(&cell).unwrap_err().hint.unwrap().contains("regression"));
        }
        assert!(reader.read(&Cell::Other("a list")).is_err());
    }

    #[test]
    fn names_that_look_like_ids_are_names_in_every_format() {
        let stars = reader(&["1", "2", "more"]);
        assert_eq!(stars.read(&text("1")).unwrap(), Some(0));
        assert_eq!(stars.read(&Cell::Integer(2)).unwrap(), Some(1));
        assert_eq!(stars.read(&Cell::Integer(0)).unwrap(), Some(0), "no name, so an id");
    }

    #[test]
    fn where_all_names_are_numbers_a_number_is_a_name_or_an_error() {
        let stars = reader(&["1", "2"]);
        for cell in [text("2"), text("2.0"), Cell::Integer(2), Cell::Number(2.0)] {
            assert_eq!(stars.read(&cell).unwrap(), Some(1), "{cell:?}");
        }
        // Taken for an id, 0 would be the same label as the name 1.
        for cell in [text("0"), text("0.0"), Cell::Integer(0), Cell::Bool(false), text("3")] {
            let error = stars.read(&cell).unwrap_err();
            assert!(error.message.contains("not one of the names"), "{cell:?}: {error:?}");
            assert!(error.hint.as_ref().unwrap().contains("[1, 2]"), "{error:?}");
        }
        assert_eq!(stars.read(&Cell::Integer(-1)).unwrap(), None);
        assert_eq!(reader(&["-1", "1"]).read(&Cell::Integer(-1)).unwrap(), Some(0));
        assert_eq!(reader(&["0", "1"]).read(&Cell::Bool(true)).unwrap(), Some(1));
    }

    #[test]
    fn a_file_that_names_its_ids_has_ids_even_if_the_names_are_numbers() {
        let stars = names(&["1", "2"]);
        for in_file in [names(&["1", "2"]), names(&["bad", "good"])] {
            let reader = LabelReader::new(&stars, Some(&in_file));
            assert_eq!(reader.read(&Cell::Integer(0)).unwrap(), Some(0), "{in_file:?}");
            assert_eq!(reader.read(&Cell::Integer(1)).unwrap(), Some(1), "{in_file:?}");
            assert!(reader.read(&Cell::Integer(2)).is_err());
        }
        let turned = LabelReader::new(&stars, Some(&names(&["2", "1"])));
        assert_eq!(turned.read(&Cell::Integer(0)).unwrap(), Some(1));
    }

    #[test]
    fn a_file_that_numbers_the_same_names_differently_is_matched_by_name() {
        let task = names(&["positive", "negative"]);
        let reader = LabelReader::new(&task, Some(&names(&["negative", "positive"])));
        assert_eq!(reader.read(&Cell::Integer(0)).unwrap(), Some(1));
        assert_eq!(reader.read(&Cell::Integer(-1)).unwrap(), None);
        let renamed = LabelReader::new(&task, Some(&names(&["0", "1"])));
        assert_eq!(renamed.read(&Cell::Integer(0)).unwrap(), Some(0));
    }

    #[test]
    fn names_are_found_in_any_case_if_unambiguous() {
        let nli = names(&["entailment", "not_entailment"]);
        assert_eq!(find_label(&nli, "Not Entailment"), Some(1));
        assert_eq!(find_label(&nli, "neutral"), None);
        let signs = names(&["-", "+"]);
        assert_eq!((find_label(&signs, "+"), find_label(&signs, "*")), (Some(1), None));
        assert_eq!(find_label(&names(&["C", "C++"]), "c"), None, "both are alike");
    }

    #[test]
    fn an_index_finds_what_a_search_finds() {
        for known in [&["a", "A", "b", "-", "b"][..], &["C", "C++"], &["Not it", "it"], &[]] {
            let index = LabelIndex::new(&names(known));
            for name in ["a", "A", "B", "b", "-", "c", "C", "C+", "not-it", "IT", ""] {
                assert_eq!(
                    index.find(name),
                    find_label(&names(known), name),
                    "{name} in {known:?}"
                );
            }
        }
    }

    #[test]
    fn as_many_labels_as_may_be_are_read_and_twenty_are_printed() {
        let many: Vec<String> = (0..MOST_LABELS).map(|i| format!("name {i}")).collect();
        let reader = LabelReader::new(&many, Some(&many));
        for (i, name) in many.iter().enumerate() {
            let cell = if i % 2 == 0 { text(name) } else { text(&name.to_uppercase()) };
            assert_eq!(reader.read(&cell).unwrap(), Some(i as u32));
        }
        let ids: Vec<String> = (0..MOST_LABELS).map(|i| format!("LABEL_{i}")).collect();
        assert_eq!(label_ids(&ids).unwrap().len(), MOST_LABELS);
        let hint = LabelReader::new(&many, None).read(&text("other")).unwrap_err().hint.unwrap();
        assert!(hint.ends_with("name 19, …]"), "{hint}");
    }

    #[test]
    fn ids_in_any_order_are_not_names() {
        assert_eq!(label_ids(&names(&["LABEL_1", "LABEL_0"])), Some(vec![1, 0]));
        assert_eq!(label_ids(&names(&["0", "1", "2"])), Some(vec![0, 1, 2]));
        assert_eq!(label_ids(&names(&["1", "2"])), None, "stars, say");
        assert_eq!(label_ids(&names(&["0", "0"])), None);
    }

    #[test]
    fn without_names_any_id_is_taken_and_names_are_asked_for() {
        let reader = reader(&[]);
        assert_eq!(reader.read(&text("7")).unwrap(), Some(7));
        assert!(reader.read(&text("65536")).unwrap_err().message.contains("out of range"));
        assert!(reader.read(&text("good")).unwrap_err().hint.unwrap().contains("labels = ["));
    }
}
