"""PyTorch's side of the training benchmark, and its report. See train_step.sh.

    train_step.py make FOLDER             writes the checkpoint that both sides train
    train_step.py run FOLDER THREADS      some steps -> one line of JSON
    train_step.py report FILE             medians of such lines
"""

import collections
import json
import statistics
import sys
import time

# As in train_step.rs.
BATCH = 32
TOKENS = 32
WARM_UP = 3
STEPS = 10
LEARNING_RATE = 1e-4


def make(folder):
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"w{i}" for i in range(config.vocab_size - len(words))]
    model = tokenizers.models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    tokenizers.Tokenizer(model).save(f"{folder}/tokenizer.json")


def run(folder, threads):
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.BertForSequenceClassification.from_pretrained(folder).train()
    decaying = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decaying, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
    labels = torch.arange(BATCH) % 2
    mask = torch.ones(BATCH, TOKENS, dtype=torch.long)

    def step(number):
        first = number * BATCH * TOKENS
        ids = 1000 + torch.arange(first, first + BATCH * TOKENS).reshape(BATCH, TOKENS) * 7919 % 29000
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    for number in range(WARM_UP):
        step(number)
    clock, cpu = time.perf_counter(), time.process_time()
    for number in range(WARM_UP, WARM_UP + STEPS):
        loss = step(number)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    line = {
        "engine": f"torch {torch.__version__}",
        "threads": threads,
        "examples_per_cpu_second": STEPS * BATCH / cpu,
        "examples_per_second": STEPS * BATCH / clock,
        "loss": loss,
    }
    print(json.dumps(line))


def report(path):
    runs = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, file):
            runs[line["threads"], line["engine"]].append(line)
    print("threads  engine               runs  examples per CPU second (median, range)    per second       loss")
    for (threads, engine), lines in sorted(runs.items()):
        per_cpu = sorted(line["examples_per_cpu_second"] for line in lines)
        per_second = statistics.median(line["examples_per_second"] for line in lines)
        print(
            f"{threads:7}  {engine:20} {len(lines):4}  {statistics.median(per_cpu):10.1f}"
            f"   {per_cpu[0]:8.1f} … {per_cpu[-1]:<12.1f} {per_second:15.1f} {lines[0]['loss']:10.6f}"
        )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            make(folder)
        case ["run", folder, threads]:
            run(folder, int(threads))
        case ["report", path]:
            report(path)
        case _:
            sys.exit(__doc__)
