//! The command line that reproduces settings.

use super::{Origin, Settings};

/// Settings that change only the speed of an audit.
pub const WITHOUT_EFFECT: [&str; 3] = ["threads", "token_budget", "cache"];

impl Settings {
    /// The arguments of `audit` that reproduce these settings: the task, the config, and the given
    /// flags that can change a result. `teacher` and `student` replace the models, such as by a Hub id
    /// at its commit.
    pub fn arguments(&self, teacher: Option<&str>, student: Option<&str>) -> Vec<String> {
        let mut words = CommandLine::default();
        words.option("task", &self.task.name);
        if let Some(config) = &self.config {
            words.option("config", &config.display().to_string());
        }
        for (key, model) in [("teacher", teacher), ("student", student)] {
            match model {
                Some(model) => words.option(key, model),
                None => self.typed(key, &mut words),
            }
        }
        words.0.extend(self.flags());
        words.0
    }

    /// The given flags, without the models and flags that change no result.
    pub fn flags(&self) -> Vec<String> {
        let mut words = CommandLine::default();
        let keys = self.values().map(|(key, _)| key);
        let others = keys.filter(|key| !["teacher", "student"].contains(key));
        for key in others.filter(|key| !WITHOUT_EFFECT.contains(key)) {
            self.typed(key, &mut words);
        }
        let library = self.onnxruntime.as_ref();
        if let Some(library) = library.filter(|_| self.origin("onnxruntime") != Origin::Default) {
            words.option("onnxruntime", &library.display().to_string());
        }
        words.0
    }

    /// Adds `key` if a flag set it.
    fn typed(&self, key: &str, words: &mut CommandLine) {
        let (Origin::Flag(flag), Some(value)) = (self.origin(key), self.value(key)) else { return };
        // A bound is one unit: a neutral value was not given, or has no effect.
        let neutral = matches!((key, value), ("alpha", "0.0") | ("gamma", "1.0"));
        match value.parse::<toml::Value>() {
            _ if neutral => {}
            _ if key == "casing" => words.flag(&flag), // --cased or --uncased
            Ok(toml::Value::Boolean(true)) => words.flag(key),
            Ok(toml::Value::Boolean(false)) => {}
            Ok(toml::Value::String(text)) => words.option(key, &text),
            _ => words.option(key, value),
        }
    }
}

/// `audit` with `words` as arguments, quoted for a POSIX shell.
pub fn command_line(words: &[String]) -> String {
    let words = std::iter::once("audit").chain(words.iter().map(String::as_str));
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// `word` quoted for a POSIX shell.
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), |quoted| quoted.into_owned())
}

/// The arguments of a command line.
#[derive(Default)]
struct CommandLine(Vec<String>);

impl CommandLine {
    fn flag(&mut self, key: &str) {
        self.0.push(format!("--{}", key.replace('_', "-")));
    }

    /// `--key value`; `--key=value` if the value looks like a flag.
    fn option(&mut self, key: &str, value: &str) {
        self.flag(key);
        match (value.starts_with('-'), self.0.last_mut()) {
            (true, Some(flag)) => flag.extend(["=", value]),
            _ => self.0.push(value.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Settings};
    use crate::cli::Cli;
    use clap::Parser;

    /// The settings of a command line, as `audit` reads it.
    fn settings(config: Option<&str>, line: &str) -> Settings {
        let words = std::iter::once("audit".to_owned()).chain(shlex::split(line).unwrap());
        let cli = Cli::try_parse_from(words).unwrap();
        let config = match config {
            Some(text) => Config::from_text(text, "c/my audit.toml".as_ref()).unwrap(),
            None => Config::default(),
        };
        config.settings(&cli.audit.tasks.task[0], &cli.audit.settings).unwrap()
    }

    /// The settings without their origins.
    fn in_force(settings: &Settings) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            settings.teacher,
            settings.student,
            settings.data,
            (&settings.split, &settings.secondary_splits),
            settings.limit,
            settings.allow_skipped,
            settings.bound,
            settings.bound_source,
            (settings.statistic, settings.confidence),
            settings.label_map,
            (settings.teacher_head, settings.student_head),
            settings.casing,
            settings.stop,
            settings.max_length,
            settings.seed,
            settings.device,
        )
    }

    const CONFIG: &str = "[defaults]\nbound = \"from-student\"\nmax_length = 64\ndelta = 0.01\n\
                          threads = 2\n[task.mine]\ntext = \"t\"\nlabel = \"l\"\n\
                          splits = { train = \"a.csv\" }\nteacher = \"org/a@main\"\n";

    #[test]
    fn the_arguments_reproduce_the_settings() {
        for (config, line) in [
            (None, "--task mrpc"),
            (
                None,
                "--task mrpc --teacher=-t --student 'a b' --data=-d --seed 18446744073709551615",
            ),
            (None, "--task sst2 --split dev,train --kappa 0.1 --limit 20 --allow-skipped"),
            (None, "--task sst2 --beta 10 --alpha 0.5 --gamma 2 --statistic centred --uncased"),
            (None, "--task sst2 --sequential --delta 0.01 --device cuda:1 --max-length 64"),
            (None, "--task sst2 --fail-fast --label-map 'student:a=b,c=d' --teacher-head pooled"),
            (Some(CONFIG), "--task mine --seed 7"),
            (Some(CONFIG), "--task mine --bound policy"),
            (Some(CONFIG), "--task mine --kappa 0.2 --confidence teacher-class"),
            (Some(CONFIG), "--task mine --sequential"),
            (Some("[defaults]\nkappa = 0.1\ngamma = 1.0\n"), "--task rte --bound from-student"),
        ] {
            let first = settings(config, line);
            let words = first.arguments(None, None);
            let again =
                settings(config, &shlex::try_join(words.iter().map(String::as_str)).unwrap());
            assert_eq!(in_force(&again), in_force(&first), "{words:?}");
        }
    }

    #[test]
    fn flags_that_were_not_given_or_change_no_result_are_left_out() {
        let words = |config, line| settings(config, line).arguments(None, None).join(" ");
        assert_eq!(
            words(None, "--task mrpc --threads 2 --no-cache --token-budget 9"),
            "--task mrpc"
        );
        assert_eq!(
            words(Some(CONFIG), "--task mine --seed 7"),
            "--task mine --config c/my audit.toml --seed 7"
        );
        let settings = settings(Some(CONFIG), "--task mine");
        let pinned = settings.arguments(Some("org/a@0123"), None).join(" ");
        assert_eq!(pinned, "--task mine --config c/my audit.toml --teacher org/a@0123");
        assert_eq!(settings.flags(), [""; 0]);
    }
}
