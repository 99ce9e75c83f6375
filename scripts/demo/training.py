"""The three classifiers of the demo and how each is trained."""

import math

import torch
from torch.nn.functional import cross_entropy, log_softmax
from transformers import BertConfig, BertForSequenceClassification

LABELS = {0: "negative", 1: "positive"}
MAX_LENGTH = 64
BATCH_SIZE = 32
WARMUP_SHARE = 0.1  # of the steps; the learning rate falls linearly to zero afterwards
STUDENT_FROM_TEACHER_LAYERS = [1, 3]  # 0-based: layers 2 and 4, every second one, as TinyBERT maps layers


def bert(vocabulary_size, layers, dropout):
    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=MAX_LENGTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        id2label=LABELS,
        label2id={name: label for label, name in LABELS.items()},
    )
    return BertForSequenceClassification(config)


def student_of(teacher):
    """A two-layer student that starts from the teacher's embeddings, two of its layers, and its head. No dropout."""
    student = bert(teacher.config.vocab_size, len(STUDENT_FROM_TEACHER_LAYERS), dropout=0.0)
    student.bert.embeddings.load_state_dict(teacher.bert.embeddings.state_dict())
    for own, source in zip(student.bert.encoder.layer, STUDENT_FROM_TEACHER_LAYERS):
        own.load_state_dict(teacher.bert.encoder.layer[source].state_dict())
    student.bert.pooler.load_state_dict(teacher.bert.pooler.state_dict())
    student.classifier.load_state_dict(teacher.classifier.state_dict())
    return student


def train_on_labels(model, inputs, labels, epochs, learning_rate, seed):
    """Cross-entropy on the hard labels. `inputs` is a list of token ids, `labels` an integer tensor (N)."""
    train(model, inputs, lambda logits, batch: cross_entropy(logits, labels[batch]), epochs, learning_rate, seed)


def distill(student, teacher, inputs, epochs, learning_rate, seed):
    """Soft cross-entropy against the teacher's logits at temperature 1, alpha = 0: no label is seen."""
    teacher_probabilities = logits_of(teacher, inputs).softmax(dim=-1)  # (N, K)

    def soft_loss(logits, batch):
        return -(teacher_probabilities[batch] * log_softmax(logits, dim=-1)).sum(dim=-1).mean()

    train(student, inputs, soft_loss, epochs, learning_rate, seed)


def train(model, inputs, loss_of, epochs, learning_rate, seed):
    """AdamW with linear warm-up and decay. `loss_of(logits, batch)` gives the mean loss of the examples in `batch`."""
    torch.manual_seed(seed)  # order of the examples and dropout
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    steps = epochs * math.ceil(len(inputs) / BATCH_SIZE)
    warmup = WARMUP_SHARE * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / (steps - warmup))
    )
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH_SIZE):
            loss = loss_of(model(**padded([inputs[i] for i in batch])).logits, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval()


@torch.no_grad()
def logits_of(model, inputs):
    """Logits (N, K) in evaluation mode."""
    model.eval()
    batches = [inputs[start : start + 256] for start in range(0, len(inputs), 256)]
    return torch.cat([model(**padded(batch)).logits for batch in batches])


def padded(inputs):
    """`input_ids` and `attention_mask` (B, L), padded with id 0, which is [PAD]."""
    length = max(len(ids) for ids in inputs)
    return {
        "input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids in inputs]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in inputs]),
    }
