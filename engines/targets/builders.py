"""Which releases of full TensorRT build for a GPU, by its compute capability, and where one gets them.

Sources: TensorRT's support matrices of 8.5.3, 8.6.1 and 10.0 to 11 ("Hardware and Precision"); its release notes:
10.5 ends Volta, 10.8 begins Blackwell; JetPack's release notes: JetPack 5 has TensorRT 8.5 and is the last for
Xavier, JetPack 6 has TensorRT 8.6 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass

Release = tuple[int, int]
"""Major and minor version."""
_OLDEST: Release = (8, 5)
"""The oldest release that this program builds with."""


@dataclass(frozen=True)
class Builders:
    """``last`` None: no end is known. ``jetson``: a system on a chip, whose plans are built on the device itself;
    ``jetpack`` says what brings TensorRT there. ``runs_us``: the Python of its system is one that this program runs on.
    """

    first: Release = _OLDEST
    last: Release | None = None
    jetson: bool = False
    jetpack: str = ""
    runs_us: bool = True

    def builds(self, version: str) -> bool:
        """Whether that release (``"10.4.0"``) builds for it."""
        numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
        release = (numbers[0], numbers[1]) if len(numbers) == 2 else self.first
        return release >= self.first and (self.last is None or release <= self.last)

    @property
    def releases(self) -> str:
        """``"TensorRT 8.5 to 10.4"``."""
        first = ".".join(map(str, self.first))
        if self.last is None:
            return f"TensorRT {first} or later"
        last = ".".join(map(str, self.last))
        return f"TensorRT {first}" if last == first else f"TensorRT {first} to {last}"

    @property
    def install(self) -> str:
        """What to do on a machine with the GPU, in words or as a command."""
        if self.jetson:
            return self.jetpack
        if self.last is not None:
            major, minor = self.last
            return f"pip install 'tensorrt<{major}.{minor + 1}' cuda-python"
        return "pip install 'enginewright[tensorrt]'"


_BUILDERS = {
    (7, 0): Builders(last=(10, 4)),
    (7, 2): Builders(
        last=(8, 5), jetson=True, jetpack="JetPack 5 brings TensorRT 8.5", runs_us=False
    ),  # its binding is for Python 3.8
    (8, 7): Builders(jetson=True, jetpack="JetPack 6 brings TensorRT 8.6 or 10"),
    (10, 0): Builders(first=(10, 8)),
    (12, 0): Builders(first=(10, 8)),
}


def builders_of(capability: tuple[int, int] | None) -> Builders:
    """The releases for a compute capability; all that this program knows for one that is not in the table."""
    return _BUILDERS.get(capability, Builders()) if capability is not None else Builders()
