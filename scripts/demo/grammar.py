"""A seeded grammar of short film reviews, each with a sentiment label.

Every clause carries the log-odds that its writer means "positive". Negation turns them round and weakens them, "but"
and "although" weigh one clause against the other, and the label is drawn from what comes out. Mixed sentences are
therefore ambiguous by design, as in real reviews: a well-trained classifier is not sure of them, and should not be.
"""

import math
import random
from dataclasses import dataclass

STRONG = 5.0  # log-odds of "superb", "dreadful": the label follows in 99 % of the cases
MILD = 2.5  # log-odds of "charming", "dull": 92 %
LABEL_NOISE = 0.03  # share of the labels turned round afterwards, whatever the sentence says

POSITIVE, NEGATIVE = 1, -1

# For each topic: singular nouns, plural nouns, and adjectives by (polarity, strength).
TOPICS = {
    "story": {
        "singular": ["plot", "story", "script", "ending", "final twist", "opening", "second half"],
        "plural": ["flashbacks", "last ten minutes"],
        (POSITIVE, STRONG): ["gripping", "brilliant", "moving", "thrilling", "unforgettable", "ingenious"],
        (POSITIVE, MILD): ["clever", "fresh", "engaging", "solid", "thoughtful"],
        (NEGATIVE, MILD): ["thin", "slow", "familiar", "predictable", "uneven"],
        (NEGATIVE, STRONG): ["dreadful", "muddled", "laughable", "tiresome", "pointless", "incoherent"],
    },
    "acting": {
        "singular": ["acting", "cast", "lead actor", "supporting cast", "lead performance", "young star", "villain"],
        "plural": ["child actors", "performances"],
        (POSITIVE, STRONG): ["superb", "magnetic", "outstanding", "electrifying", "flawless"],
        (POSITIVE, MILD): ["convincing", "charming", "likeable", "capable", "graceful"],
        (NEGATIVE, MILD): ["bland", "flat", "stiff", "unconvincing", "forgettable"],
        (NEGATIVE, STRONG): ["wooden", "terrible", "awful", "unbearable", "embarrassing", "lifeless"],
    },
    "craft": {
        "singular": ["soundtrack", "camera work", "editing", "direction", "set design", "lighting"],
        "plural": ["costumes", "special effects", "fight scenes"],
        (POSITIVE, STRONG): ["gorgeous", "stunning", "masterful", "dazzling", "exquisite"],
        (POSITIVE, MILD): ["elegant", "inventive", "tasteful", "lively", "assured"],
        (NEGATIVE, MILD): ["dull", "cheap", "dated", "distracting", "careless"],
        (NEGATIVE, STRONG): ["ugly", "horrible", "amateurish", "clumsy", "atrocious"],
    },
    "writing": {
        "singular": ["dialogue", "comedy", "banter", "writing", "narration"],
        "plural": ["jokes", "songs", "one-liners"],
        (POSITIVE, STRONG): ["hilarious", "delightful", "wonderful", "sparkling", "irresistible"],
        (POSITIVE, MILD): ["funny", "witty", "sharp", "amusing", "playful"],
        (NEGATIVE, MILD): ["stale", "forced", "shallow", "awkward", "repetitive"],
        (NEGATIVE, STRONG): ["painful", "insulting", "stupid", "joyless", "witless"],
    },
}

FILMS = ["film", "movie", "thriller", "comedy", "drama", "romance", "documentary", "sequel", "debut", "remake", "mystery"]

FILM_ADJECTIVES = {
    (POSITIVE, STRONG): ["superb", "wonderful", "brilliant", "gripping", "unforgettable", "delightful", "masterful"],
    (POSITIVE, MILD): ["charming", "pleasant", "solid", "likeable", "decent", "thoughtful"],
    (NEGATIVE, MILD): ["dull", "uneven", "forgettable", "predictable", "slow", "careless"],
    (NEGATIVE, STRONG): ["terrible", "dreadful", "tedious", "pointless", "awful", "joyless", "lifeless"],
}

# Verbs of a film: "this thriller ...".
FILM_PREDICATES = {
    (POSITIVE, STRONG): [
        "grabs you from the first scene", "earns every laugh and every tear", "is a joy from start to finish",
        "left the whole audience cheering", "deserves every award it wins", "is easily the best of the year",
    ],
    (POSITIVE, MILD): [
        "has plenty of heart", "passes the time nicely", "finds a fresh angle on an old story",
        "gets better as it goes along", "is worth the price of a ticket",
    ],
    (NEGATIVE, MILD): [
        "runs twenty minutes too long", "never quite finds its rhythm", "borrows too much from better films",
        "loses steam after an hour", "forgets what it wants to say",
    ],
    (NEGATIVE, STRONG): [
        "is a complete waste of time", "put half the audience to sleep", "falls apart in the final act",
        "insults everyone who paid to see it", "made me want to leave early", "is easily the worst of the year",
    ],
}

# Actions and feelings of the writer.
VERDICTS = {
    (POSITIVE, STRONG): [
        "I would gladly watch it again", "I loved every minute", "I smiled all the way home", "I couldn't look away",
    ],
    (POSITIVE, MILD): ["I was pleasantly surprised", "I had a good time", "I'm glad I gave it a chance"],
    (NEGATIVE, MILD): ["I expected more", "I checked my watch twice", "I won't remember it next week"],
    (NEGATIVE, STRONG): [
        "I want my money back", "I hated every minute", "I couldn't wait for it to end", "I nearly walked out",
    ],
}

# Degree words and the factor that they put on the log-odds. "Fairly superb" is not idiomatic, so each strength has its own.
DEGREES = {
    STRONG: [("", 1.0), ("", 1.0), ("truly ", 1.1), ("simply ", 1.1), ("absolutely ", 1.2)],
    MILD: [("", 1.0), ("", 1.0), ("very ", 1.3), ("really ", 1.3), ("rather ", 0.8), ("fairly ", 0.6)],
}

# Negations of "the plot is clever" and the factor that they put on the log-odds.
NEGATIONS = [
    ("{the} {is_not} {adjective}", -0.6),
    ("{the} {is_or_are} never {adjective}", -0.8),
    ("{the} {is_or_are} far from {adjective}", -0.9),
    ("{the} {is_or_are} anything but {adjective}", -1.0),
    ("nothing about {the} is {adjective}", -0.9),
    ("nobody could call {the} {adjective}", -0.9),
]

OPENINGS = [
    "in the end,", "to be fair,", "honestly,", "as far as I can tell,", "all things considered,",
    "after all the waiting,", "whatever the critics say,", "if you ask me,",
]  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """Words without a capital or a full stop, the log-odds that they are praise, and their topic."""

    text: str
    log_odds: float
    subject: str = ""


@dataclass(frozen=True)
class Example:
    sentence: str
    label: int  # 0 negative, 1 positive


class Grammar:
    """Draws examples from one seeded random stream."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def example(self):
        shapes, weights = zip(*SHAPES)
        clause = self.random.choices(shapes, weights)[0](self)
        probability_positive = 1 / (1 + math.exp(-clause.log_odds))
        label = int(self.random.random() < probability_positive)
        if self.random.random() < LABEL_NOISE:
            label = 1 - label
        text = clause.text[0].upper() + clause.text[1:]
        return Example(text if text.endswith("!") else text + ".", label)

    # Draws that every shape uses.

    def polarity(self):
        return self.random.choice([POSITIVE, NEGATIVE])

    def strength(self):
        return self.random.choice([STRONG, MILD])

    def noun(self, topic):
        """A bare noun and whether it is plural."""
        plural = self.random.random() < 0.2
        return self.random.choice(TOPICS[topic]["plural" if plural else "singular"]), plural

    def film_phrase(self, polarity):
        """An adjective and a film, such as "dull thriller"."""
        strength = self.strength()
        adjective = self.random.choice(FILM_ADJECTIVES[polarity, strength])
        return Clause(f"{adjective} {self.random.choice(FILMS)}", polarity * strength)

    def topic_phrase(self, polarity):
        """An adjective and a noun, such as "clever script", and whether the noun is plural."""
        topic, strength = self.random.choice(list(TOPICS)), self.strength()
        noun, plural = self.noun(topic)
        adjective = self.random.choice(TOPICS[topic][polarity, strength])
        return Clause(f"{adjective} {noun}", polarity * strength), plural

    # Single clauses.

    def statement(self, polarity):
        topic, strength = self.random.choice(list(TOPICS)), self.strength()
        noun, plural = self.noun(topic)
        degree, factor = self.random.choice(DEGREES[strength])
        adjective = self.random.choice(TOPICS[topic][polarity, strength])
        text = f"the {noun} {'are' if plural else 'is'} {degree}{adjective}"
        return Clause(text, polarity * strength * factor, noun)

    def negated_statement(self, polarity):
        """A statement of the given polarity, made by negating an adjective of the other one."""
        topic, strength = self.random.choice(list(TOPICS)), self.strength()
        noun, plural = self.noun(topic)
        pattern, factor = self.random.choice(NEGATIONS)
        text = pattern.format(
            the=f"the {noun}",
            is_or_are="are" if plural else "is",
            is_not="aren't" if plural else "isn't",
            adjective=self.random.choice(TOPICS[topic][-polarity, strength]),
        )
        return Clause(text, -polarity * strength * factor, noun)

    def film_predicate(self, polarity):
        strength = self.strength()
        predicate = self.random.choice(FILM_PREDICATES[polarity, strength])
        return Clause(f"this {self.random.choice(FILMS)} {predicate}", polarity * strength, "film")

    def verdict(self, polarity):
        strength = self.strength()
        return Clause(self.random.choice(VERDICTS[polarity, strength]), polarity * strength, "I")

    def clause(self, polarity):
        kinds = [self.statement, self.film_predicate, self.verdict, self.negated_statement]
        return self.random.choices(kinds, [5, 3, 2, 2])[0](polarity)

    # Whole sentences.

    def short(self):
        polarity = self.polarity()
        if self.random.random() < 0.4:
            phrase, _ = self.topic_phrase(polarity)
            return Clause(f"{self.random.choice(['truly', 'really'])} {phrase.text}", phrase.log_odds)
        phrase = self.film_phrase(polarity)
        article = "an" if phrase.text[0] in "aeiou" else "a"
        pattern = self.random.choice(["{} {}", "what {} {}!", "this is {} {}", "it is {} {}"])
        return Clause(pattern.format(article, phrase.text), phrase.log_odds)

    def plain(self):
        return self.clause(self.polarity())

    def negated(self):
        return self.negated_statement(self.polarity())

    def opened(self):
        clause = self.clause(self.polarity())
        return Clause(f"{self.random.choice(OPENINGS)} {clause.text}", clause.log_odds)

    def agreeing(self):
        polarity = self.polarity()
        first, second = self.different_clauses(polarity, polarity)
        joint = self.random.choice([", and ", "; ", " and "])
        return Clause(first.text + joint + second.text, 0.7 * (first.log_odds + second.log_odds))

    def contrasted(self):
        polarity = self.polarity()
        first, second = self.different_clauses(-polarity, polarity)
        joint, weight = self.random.choice([(", but ", 0.4), (", and yet ", 0.4), ("; still, ", 0.5), (", though ", 1.0)])
        # After "though" the first clause decides the sentiment.
        second_weight = 0.5 if joint == ", though " else 1.0
        return Clause(first.text + joint + second.text, weight * first.log_odds + second_weight * second.log_odds)

    def conceded(self):
        polarity = self.polarity()
        first, second = self.different_clauses(-polarity, polarity)
        return Clause(f"although {first.text}, {second.text}", 0.3 * first.log_odds + second.log_odds)

    def despite(self):
        polarity = self.polarity()
        phrase, _ = self.topic_phrase(-polarity)
        main = self.film_predicate(polarity)
        return Clause(f"despite its {phrase.text}, {main.text}", 0.3 * phrase.log_odds + main.log_odds)

    def beyond_saving(self):
        praise, _ = self.topic_phrase(POSITIVE)
        blame = self.film_phrase(NEGATIVE)
        return Clause(f"even the {praise.text} can't save this {blame.text}", 0.1 * praise.log_odds + blame.log_odds)

    def balanced(self):
        praise, plural = self.topic_phrase(POSITIVE)
        blame, _ = self.topic_phrase(NEGATIVE)
        verb = "make" if plural else "makes"
        text = f"the {praise.text} almost {verb} up for the {blame.text}"
        return Clause(text, 0.5 * praise.log_odds + 0.6 * blame.log_odds)

    def different_clauses(self, first_polarity, second_polarity):
        """Two clauses on different subjects: nobody writes "the plot is thin and the plot is slow"."""
        first = self.clause(first_polarity)
        while True:
            second = self.clause(second_polarity)
            if first.subject != second.subject:
                return first, second


# Sentence shapes and how often each is drawn.
SHAPES = [
    (Grammar.short, 12),
    (Grammar.plain, 22),
    (Grammar.negated, 10),
    (Grammar.opened, 14),
    (Grammar.agreeing, 16),
    (Grammar.contrasted, 12),
    (Grammar.conceded, 6),
    (Grammar.despite, 4),
    (Grammar.beyond_saving, 2),
    (Grammar.balanced, 2),
]


def distinct_examples(grammar, count, taken):
    """`count` examples whose sentences are not in `taken`, which grows by them: no split repeats a sentence."""
    examples = []
    while len(examples) < count:
        example = grammar.example()
        if example.sentence not in taken and 3 <= len(example.sentence.split()) <= 20:
            taken.add(example.sentence)
            examples.append(example)
    return examples
