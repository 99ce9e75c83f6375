"""Texts for the general student: pairs of SST-2's training sentences, then QNLI's questions and sentences.

    python scripts/reproduce/general_texts.py DATA > general.tsv
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pytorch_predictions import read  # noqa: E402


def main():
    sentences = [texts[0] for texts, _ in read("sst2", sys.argv[1])]
    questions = [texts for texts, _ in read("qnli", sys.argv[1])]
    print("first\tsecond")
    for first, second in [*zip(sentences[::2], sentences[1::2]), *questions]:
        print(f"{first}\t{second}")


main()
