"""What hardware TensorFlow runs on here."""

from __future__ import annotations

import functools
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from advisor.errors import InputError

_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows Subsystem for Linux


def quiet_tensorflow() -> None:
    """Keep TensorFlow's messages off standard error, whoever is the first to import it in this process."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # It warns of tracing one model after another, which is what a comparison does.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if "tensorflow" not in sys.modules and not any(isinstance(each, _Muting) for each in sys.meta_path):
        sys.meta_path.insert(0, _Muting())


class _Muting(MetaPathFinder):
    """Has TensorFlow imported `muted`: while that lasts it writes what no setting of it takes away."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_muted(module: ModuleType) -> None:
                with muted():
                    load(module)

            spec.loader.exec_module = load_muted  # type: ignore[method-assign]
        return spec


def load_tensorflow() -> None:
    """Import TensorFlow now."""
    import tensorflow  # noqa: F401


@contextmanager
def muted() -> Iterator[None]:
    """Keep what native code writes to standard error off the screen; exceptions pass."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@functools.cache
def gpus() -> tuple[str, ...]:
    """Names of the GPUs that TensorFlow sees. Their memory is taken as it is needed, not all at once."""
    if not may_have_gpus():
        return ()
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        tf.config.experimental.set_memory_growth(gpu, True)
    return tuple(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in found)


def may_have_gpus() -> bool:
    """Whether TensorFlow could see a GPU, told without importing it, which takes seconds.

    Linux has a device file for each kind of driver. TensorFlow uses no GPU on Windows itself since 2.11, and
    those of a Mac only through Apple's plug-in.
    """
    if sys.platform == "darwin":
        return any(metadata.distributions(name="tensorflow-metal"))
    return sys.platform != "win32" and any(Path(driver).exists() for driver in _GPU_DRIVERS)


_cpus = os.cpu_count() or 1


def cpus() -> int:
    """How many processor cores this process may use: those of the machine, unless `use_cpus` said fewer."""
    return _cpus


def use_cpus(count: int) -> None:
    """Leave the other cores to other processes, as a worker of a cluster does."""
    global _cpus
    _cpus = count


def cpu() -> str:
    """The processor for people, as in "AMD EPYC, 2 cores"."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name or platform.machine()}, {os.cpu_count()} cores"


def describe() -> str:
    """The device that will train, for people."""
    return f"{len(gpus())} x {gpus()[0]}" if gpus() else cpu()


def strategy() -> Any:
    """All GPUs together where there are several, else TensorFlow's default."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy() if len(gpus()) > 1 else tf.distribute.get_strategy()


def precision() -> str:
    """Keras' dtype policy to train with: half precision where the GPUs compute faster in it, else float32.

    bfloat16 from compute capability 8 (Ampere), float16 from 7 (Volta), as NVIDIA's "Train with mixed
    precision" says.
    """
    if not gpus():
        return "float32"
    import tensorflow as tf

    details = [
        tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")
    ]
    oldest = min(known.get("compute_capability", (0, 0)) for known in details)
    return "mixed_bfloat16" if oldest >= (8, 0) else "mixed_float16" if oldest >= (7, 0) else "float32"


def free_memory() -> int:
    """Bytes that can be used without swapping."""
    import psutil

    return psutil.virtual_memory().available


def name_for_tensorflow(path: Path) -> str:
    """The name of a file or folder as TensorFlow takes it: in UTF-8 whatever the locale is.

    Raises:
        InputError: it is no UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"TensorFlow cannot write to {path}: the name is not UTF-8; rename it") from None
