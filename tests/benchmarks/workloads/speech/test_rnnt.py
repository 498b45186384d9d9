"""LibriSpeech: recordings become log-mel features, three graphs decode greedily, words are compared."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks.workloads.evaluate import evaluate
from benchmarks.workloads.speech.librispeech import read_audio, read_utterances, word_errors
from benchmarks.workloads.speech.log_mel import RATE, features, mel_filters
from benchmarks.workloads.speech.rnnt import ALPHABET, BLANK, RNNT, RnntEngine, text
from engines.engine import Array
from graphs.errors import BadInput
from tests.benchmarks.workloads.graphs_for_tests import save_graph
from tests.drawing import seeded

WIDTH = BLANK + 1
RNG = seeded(3)


def tone(hertz: float, seconds: float = 0.5) -> Array:
    return np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE).astype(np.float32)


def write_wav(path: Path, samples: Array, rate: int = RATE, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that projects and halves nothing, a decoder with one state that remembers, a joint that adds."""
    folder = tmp_path_factory.mktemp("rnnt")
    save_graph(
        f"""
        encoder (float[time,batch,240] features, int64[batch] lengths)
            => (float[batch,time,{WIDTH}] encoded, int64[batch] counts) {{
            turned = Transpose <perm = [1, 0, 2]> (features)
            encoded = MatMul(turned, w)
            counts = Identity(lengths)
        }}""",
        folder / "encoder.onnx",
        {"w": (RNG.standard_normal((240, WIDTH)) * 0.4).astype(np.float32)},
    )
    save_graph(
        f"""
        decoder (int64[batch,1] token, float[1,batch,{WIDTH}] state)
            => (float[batch,1,{WIDTH}] predicted, float[1,batch,{WIDTH}] next) {{
            embedded = Gather(table, token)
            turned = Transpose <perm = [1, 0, 2]> (embedded)
            faded = Mul(state, half)
            next = Add(faded, turned)
            predicted = Transpose <perm = [1, 0, 2]> (next)
        }}""",
        folder / "decoder.onnx",
        {"table": (RNG.standard_normal((WIDTH, WIDTH)) * 2).astype(np.float32), "half": np.array(0.5, np.float32)},
    )
    save_graph(
        f"""
        joint (float[batch,1,{WIDTH}] e, float[batch,1,{WIDTH}] p) => (float[batch,1,1,{WIDTH}] scores) {{
            both = Add(e, p)
            raised = Add(both, bias)
            scores = Unsqueeze(raised, axis)
        }}""",
        folder / "joint.onnx",
        {"bias": np.eye(WIDTH, dtype=np.float32)[BLANK] * 6, "axis": np.array([1])},
    )
    return folder


def decoded_by_hand(folder: Path, values: Array) -> list[int]:
    """The greedy decoder again, on plain arrays."""
    import onnx
    from onnx import numpy_helper

    def weight(graph: str, name: str) -> Array:
        tensors = onnx.load(folder / f"{graph}.onnx").graph.initializer
        return next(numpy_helper.to_array(tensor) for tensor in tensors if tensor.name == name)

    table, bias, encoded = weight("decoder", "table"), weight("joint", "bias"), values @ weight("encoder", "w")
    said: list[int] = []
    state = table[BLANK]
    for frame in encoded:
        for _ in range(30):
            symbol = int((frame + state + bias).argmax())
            if symbol == BLANK:
                break
            said.append(symbol)
            state = 0.5 * state + table[symbol]
    return said


def test_decoding_is_greedy_and_scores_against_transcripts(graphs: Path, tmp_path: Path) -> None:
    speech = tmp_path / "speech" / "1" / "2"
    speech.mkdir(parents=True)
    sounds = [tone(300) * 0.5, tone(1500, 0.3) + 0.1 * RNG.standard_normal(4800).astype(np.float32)]
    heard = []
    for number, sound in enumerate(sounds):
        write_wav(speech / f"1-2-{number}.wav", np.clip(sound, -1, 1))
        values = features(read_audio(speech / f"1-2-{number}.wav"))
        heard.append(text(np.array(decoded_by_hand(graphs, values))))
    assert all(heard) and heard[0] != heard[1], "the tiny graphs say something"
    (speech / "1-2.trans.txt").write_text(f"1-2-0 {heard[0].upper()}\n1-2-1 {heard[1].upper()} EXTRA\n")
    with RnntEngine.open(str(graphs)) as engine:
        task = RNNT.open(tmp_path / "speech", engine.inputs, engine.outputs)
        score = evaluate(engine, task)
    words = len(heard[0].split()) + len(heard[1].split()) + 1
    assert score.details["WER"] == pytest.approx(1 / words)
    assert score.value == pytest.approx(1 - 1 / words)


def test_features_show_the_tone_and_are_normalised() -> None:
    spectrum = mel_filters()
    assert spectrum.shape == (80, 257) and (spectrum >= 0).all()
    peaks = spectrum.argmax(1) * RATE / 512
    assert (np.diff(peaks) >= 0).all() and 900 < peaks[np.abs(peaks - 1000).argmin()] < 1100
    areas = spectrum[40:].sum(1) * RATE / 512
    np.testing.assert_allclose(areas, 1.0, rtol=0.1)  # unit area, up to the grid
    values = features(tone(1000, 1.0))
    assert values.shape == (34, 240), "100 frames in threes"
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
    assert features(tone(500, 0.05)).shape == (2, 240)


def test_word_errors_count_edits() -> None:
    assert word_errors("the cat sat", "the cat sat") == (0, 3)
    assert word_errors("the cat sat", "a cat sat down") == (2, 3)
    assert word_errors("the cat", "") == (2, 2)


def test_mlperfs_manifest_is_read(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(440))
    entry = {"files": [{"fname": "a.wav"}], "transcript": "Hello There"}
    (tmp_path / "dev-clean-wav.json").write_text(json.dumps([entry]))
    (found,) = read_utterances(tmp_path)
    assert found.transcript == "hello there"
    assert set(found.transcript) <= set(ALPHABET)


def test_unusable_recordings_and_folders_are_named(graphs: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no utterances"):
        read_utterances(tmp_path)
    (tmp_path / "a.trans.txt").write_text("a-1 HELLO\n")
    with pytest.raises(BadInput, match=r"a-1\.flac: no such recording"):
        read_utterances(tmp_path)
    write_wav(tmp_path / "b.wav", tone(440), rate=8000)
    with pytest.raises(BadInput, match="has 8000 Hz"):
        read_audio(tmp_path / "b.wav")
    (tmp_path / "c.wav").write_text("no sound")
    with pytest.raises(BadInput, match="not a WAV file"):
        read_audio(tmp_path / "c.wav")
    with pytest.raises(BadInput, match="has no 'encoder'"):
        RnntEngine.open(str(tmp_path))
