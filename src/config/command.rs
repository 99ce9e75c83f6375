//! The command that asks for the same settings again.

use super::{BoundSource, Origin, Settings, BOUND_KEYS};

/// Keys that change no result, and those that are told in a way of their own.
const TOLD_APART: [&str; 9] =
    ["threads", "token_budget", "cache", "teacher", "student", "data", "split", "casing", "bound"];

impl Settings {
    /// The words that give these settings again after `audit`, without a config but that of a task of
    /// the user's own: every setting that is not the program's default, those that change no result
    /// apart. `teacher` and `student` stand for the models, where they are other than in the settings.
    pub fn arguments(&self, teacher: Option<&str>, student: Option<&str>) -> Vec<String> {
        let mut words = Words(vec!["--task".to_owned(), self.task.name.clone()]);
        let own_task = self.task.description().is_some();
        words.option("config", self.config.as_ref().filter(|_| own_task).map(|p| p.display()));
        words.option("teacher", teacher.or(self.teacher.as_deref()));
        words.option("student", student.or(self.student.as_deref()));
        words.option("data", self.data.as_ref().map(|data| data.display()));
        self.others(&mut words, |origin| *origin != Origin::Default);
        words.0
    }

    /// The flags among these settings, those for models, data and tasks apart.
    pub fn flags(&self) -> Vec<String> {
        let mut words = Words(Vec::new());
        self.others(&mut words, |origin| matches!(origin, Origin::Flag(_)));
        words.0
    }

    /// Every setting whose origin counts.
    fn others(&self, words: &mut Words, counts: impl Fn(&Origin) -> bool) {
        let asked = |key: &str| counts(&self.origin(key));
        let splits: Vec<&str> = self.split.iter().chain(&self.beside).map(String::as_str).collect();
        words.option("split", asked("split").then(|| splits.join(",")));
        if asked("kappa") {
            self.bound_arguments(words);
        }
        let from_student = self.bound_source == BoundSource::FromStudent && asked("bound");
        words.option("bound", from_student.then_some("from-student"));
        for (key, value) in self.values() {
            let other = !BOUND_KEYS.contains(&key) && !TOLD_APART.contains(&key);
            words.setting(key, value.filter(|_| other && asked(key)));
        }
        if let (true, Some(casing)) = (asked("casing"), self.value("casing")) {
            let casing = casing.trim_matches('"');
            words.flag(casing, casing != "auto");
        }
    }

    /// The policy's bound as one unit, where it gates.
    fn bound_arguments(&self, words: &mut Words) {
        if self.bound_source == BoundSource::FromStudent {
            return;
        }
        for key in BOUND_KEYS {
            let value = self.value(key);
            let neutral = matches!((key, value), ("alpha", Some("0.0")) | ("gamma", Some("1.0")));
            words.setting(key, value.filter(|_| !neutral));
        }
    }
}

/// The words of a command line.
struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, name: &str, given: bool) {
        self.0.extend(given.then(|| format!("--{}", name.replace('_', "-"))));
    }

    fn option(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.flag(name, true);
            self.0.push(value.to_string());
        }
    }

    /// A key with its value as TOML.
    fn setting(&mut self, key: &str, value: Option<&str>) {
        match value.and_then(|value| value.parse::<toml::Value>().ok()) {
            Some(toml::Value::Boolean(given)) => self.flag(key, given),
            Some(toml::Value::String(value)) => self.option(key, Some(value)),
            Some(other) => self.option(key, Some(other)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Layer};

    fn arguments(config: &str, flags: &Layer) -> String {
        let config = Config::from_text(config, "c/audit.toml".as_ref()).unwrap();
        config.settings("mrpc", flags).unwrap().arguments(None, None).join(" ")
    }

    #[test]
    fn what_nobody_asked_for_is_left_out() {
        assert_eq!(arguments("", &Layer::default()), "--task mrpc");
    }

    #[test]
    fn flags_and_config_are_told_alike_and_speed_is_left_out() {
        let config = "[defaults]\nkappa = 0.1\nmax_length = 64\nthreads = 2\nfail_fast = true\n\
                      [task.mrpc]\nteacher = \"out/{task}\"\nsplit = \"dev,train\"\n";
        let flags = Layer {
            student: Some("a b".to_owned()),
            seed: Some(7),
            uncased: true,
            token_budget: Some(9),
            ..Layer::default()
        };
        assert_eq!(
            arguments(config, &flags),
            "--task mrpc --teacher out/mrpc --student a b --split validation,train --kappa 0.1 \
             --fail-fast --max-length 64 --seed 7 --uncased"
        );
    }

    #[test]
    fn a_bound_is_told_as_one_unit() {
        let config = "[defaults]\nbeta = 10.0\nalpha = 0.5\ngamma = 2.0\n";
        let flags = Layer::default();
        assert_eq!(arguments(config, &flags), "--task mrpc --beta 10.0 --alpha 0.5 --gamma 2.0");
        let config = "[defaults]\nbound = \"from-student\"\n";
        assert_eq!(arguments(config, &flags), "--task mrpc --bound from-student");
    }

    #[test]
    fn a_task_of_one_s_own_names_its_config_and_models_may_be_pinned() {
        let config = "[task.mine]\ntext = \"t\"\nlabel = \"l\"\n\
                      splits = { train = \"a.csv\" }\nteacher = \"org/a@main\"\n";
        let config = Config::from_text(config, "c/audit.toml".as_ref()).unwrap();
        let settings = config.settings("mine", &Layer::default()).unwrap();
        assert_eq!(
            settings.arguments(Some("org/a@0123"), None).join(" "),
            "--task mine --config c/audit.toml --teacher org/a@0123"
        );
    }
}
