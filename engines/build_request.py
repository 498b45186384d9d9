"""What is asked of a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engines.feeds.batching import Batching
from engines.profile import ShapeProfile
from engines.targets.target import LibraryName, Target


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build.

    ``model`` is the graph in the form its target wants (for TensorRT already typed: Q/DQ, casts); ``out`` the engine
    directory to create; ``precision`` what the graph's heavy nodes compute in, for the manifest (types live in the
    graph; a wish such as "auto" does not). ``more_profiles`` are optimization profiles besides ``profile``. ``options``
    are those of ``engines.tensorrt.options`` and concern TensorRT only. ``library`` overrides the choice of
    ``choose_library``. ``time_limit_s`` and ``memory_limit_mb`` (the builder's own pages, mapped weights not counted)
    end a build that takes more. ``batching`` is what is known of axis 0, ``not_finite`` the outputs that hold NaN or
    infinity in the model as given, and the inputs that may hold NaN: both for the manifest. ``node_types`` say what
    each node of ``model`` computes in (``"fp32"``, ``"fp16"``, ``"int8"``), for libraries whose networks do not take
    their types from the graph (``Capabilities.strongly_typed`` is False: TensorRT 8); a node that is not named is left
    to the builder. ``afresh``: built even where the engine cache has it.
    """

    model: Path
    target: Target
    profile: ShapeProfile
    out: Path
    precision: str
    sparse_weights: bool = False
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    library: LibraryName | None = None
    threads: int | None = None
    more_profiles: tuple[ShapeProfile, ...] = ()
    batching: Batching | None = None
    not_finite: tuple[str, ...] = ()
    node_types: dict[str, str] = field(default_factory=dict)
    afresh: bool = False

    @property
    def profiles(self) -> tuple[ShapeProfile, ...]:
        return (self.profile, *self.more_profiles)
