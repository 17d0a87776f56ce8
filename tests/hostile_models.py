"""Model files that somebody may send to do harm: one function for each kind, from a good file to a bad one.

`KINDS` maps a name to a function that writes one file into a folder and returns its path. A file that could
run something would leave `mark` behind, which the test looks for.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KINDS: dict[str, Callable[[Path], Path]] = {}
COMMAND = "touch {mark}"  # what a file that could run something would do


def good(folder: Path, ending: str = ".keras") -> Path:
    """A small network for images of 32 pixels, as a user saves it."""
    import keras
    from keras import layers

    file = folder.parent / f"good{ending}"
    if not file.exists():
        keras.Sequential(
            [
                layers.Input((32, 32, 3)),
                layers.Rescaling(1 / 255, name="scale"),
                layers.Conv2D(4, 3, activation="relu", name="conv"),
                layers.BatchNormalization(name="norm"),
                layers.Flatten(name="flat"),
                layers.Dense(3, activation="softmax", name="classes"),
            ],
            name="good",
        ).save(file)
    return file


def members(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(good(folder)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(folder: Path, content: dict[str, bytes], **options: Any) -> Path:
    file = folder / "bad.keras"
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return file


def kind(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    KINDS[make.__name__] = make
    return make


# ---------------------------------------------------------------------------------------------------
# The description: what it names, and what it asks for


def described(name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """A kind that changes config.json; what `change` returns, if anything, takes its place."""

    def make(folder: Path) -> Path:
        content = members(folder)
        description = json.loads(content["config.json"])
        changed = change(description)
        description = description if changed is None else changed
        text = json.dumps(description).replace("{mark}", str(folder / "mark"))
        return write(folder, {**content, "config.json": text.encode()})

    KINDS[name] = make


def layer(description: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in description["config"]["layers"] if each["config"].get("name") == name)


def part(class_name: Any, module: Any = "keras.layers", config: Any = None, **more: Any) -> dict[str, Any]:
    config = {"name": "evil"} if config is None else config
    return {"module": module, "class_name": class_name, "config": config, "registered_name": None, **more}


def in_layers(name: str, new: dict[str, Any]) -> None:
    """Put something between the convolution and the rest."""
    described(name, lambda d: d["config"]["layers"].insert(3, copy.deepcopy(new)))


def in_activation(name: str, new: Any) -> None:
    described(name, lambda d: layer(d, "conv")["config"].update(activation=copy.deepcopy(new)))


BYTECODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
LAMBDA = part("Lambda", config={"name": "evil", "function": BYTECODE, "output_shape": None})
in_layers("lambda_layer", LAMBDA)
in_layers("lambda_by_its_inner_module", {**LAMBDA, "module": "keras.src.layers.core.lambda_layer"})
in_layers("lambda_without_a_module", {**LAMBDA, "module": None})
in_layers("lambda_inside_a_wrapper", part("TimeDistributed", config={"name": "w", "layer": LAMBDA}))
in_layers("lambda_inside_a_pipeline", part("Pipeline", config={"name": "p", "layers": [LAMBDA]}))
in_layers(
    "lambda_inside_a_network_inside",
    part("Sequential", "keras", {"name": "s", "layers": [LAMBDA], "build_input_shape": [None, 30, 30, 4]}),
)
in_activation("bytecode_as_activation", BYTECODE)
in_activation("function_of_the_author", part("function", "builtins", "evil", registered_name="function"))
in_activation("builtin_eval", part("eval", "builtins", {"source": "1"}))
in_activation("os_system", part("system", "os", {"command": COMMAND}))
in_activation("subprocess", part("Popen", "subprocess", {"args": ["touch", "{mark}"]}))
in_activation("importlib", part("import_module", "importlib", {"name": "antigravity"}))
in_activation("pickle_module", part("loads", "pickle", {"data": "x"}))
in_activation("keras_switch_of_safe_mode", part("enable_unsafe_deserialization", "keras.config", {}))
in_activation("keras_download", part("get_file", "keras.utils", {"origin": "http://localhost/x"}))
in_activation("keras_load_model", part("load_model", "keras.saving", {"filepath": "/etc/passwd"}))
in_activation("keras_python_module", part("func_load", "keras.src.utils.python_utils", {"code": "x"}))
in_activation("module_reexported_by_keras", part("os", "keras.src.saving.saving_lib", {}))
in_activation("numpy_load", part("load", "numpy", {"file": "/etc/passwd"}))
in_activation("tensorflow_read_file", part("read_file", "tensorflow.io", {"filename": "/etc/passwd"}))
in_activation("typespec", part("__typespec__", "os", [], spec_name="system"))
in_activation("metric", part("Accuracy", "keras.metrics", {}))
in_activation("optimizer", part("Adam", "keras.optimizers", {}))
in_activation("loss", part("MeanSquaredError", "keras.losses", {}))
in_activation("callback", part("CSVLogger", "keras.callbacks", {"filename": "{mark}"}))
in_layers("saved_model_elsewhere", part("TFSMLayer", config={"name": "e", "filepath": "/tmp"}))
in_layers("torch_module", part("TorchModuleWrapper", config={"name": "e", "module": "gASV"}))
in_layers("jax_layer", part("JaxLayer", "keras.utils", {"name": "e", "call_fn": BYTECODE}))
in_layers("flax_layer", part("FlaxLayer", "keras.utils", {"name": "e", "module": "x"}))
in_layers("string_lookup", part("StringLookup", config={"name": "e", "vocabulary": "/etc/passwd"}))
in_layers("integer_lookup", part("IntegerLookup", config={"name": "e", "vocabulary": "/etc/passwd"}))
in_layers(
    "index_lookup",
    part(
        "IndexLookup",
        "keras.src.layers.preprocessing.index_lookup",
        {
            "name": "e",
            "max_tokens": None,
            "num_oov_indices": 1,
            "mask_token": None,
            "oov_token": "x",
            "vocabulary_dtype": "string",
            "vocabulary": "/etc/passwd",
        },
    ),
)
in_layers("text_vectorization", part("TextVectorization", config={"name": "e", "vocabulary": "/etc/passwd"}))
in_layers("feature_space", part("FeatureSpace", "keras.utils", {"name": "e", "features": {"a": "float"}}))
in_layers("distiller", part("Distiller", "keras.distillation", {"name": "e"}))
in_layers("registered_class", part("Dense", config={"units": 3}, registered_name="mine>Dense"))
in_layers("custom_class", part("Mine", "mine", {"name": "e"}, registered_name="mine>Mine"))
in_layers("class_name_is_a_list", part(["Dense"]))
in_layers("class_name_is_a_number", part(7))
in_layers("class_name_is_null", part(None))
in_layers("module_is_a_number", part("Dense", 7, {"units": 3}))
in_layers("module_is_a_path", part("Dense", "keras/../evil", {"units": 3}))
in_layers("module_ends_in_a_dot", part("Mine", "keras.", {"name": "e"}))
in_layers("config_is_a_list", part("Dense", config=[1, 2]))
in_layers("config_is_a_text", part("Dense", config="units"))
in_layers("unknown_argument", part("Dense", config={"units": 3, "evil": 1}))
for where in ("kernel_initializer", "kernel_regularizer", "kernel_constraint", "dtype"):
    described(
        f"code_as_{where}",
        lambda d, where=where: layer(d, "conv")["config"].update({where: part("system", "os", {})}),
    )
described("code_as_build_config", lambda d: layer(d, "conv").update(build_config=part("system", "os", {})))
described(
    "code_in_how_a_network_inside_was_trained",
    lambda d: d["config"]["layers"].insert(
        3,
        part(
            "Sequential",
            "keras",
            {"name": "s", "layers": []},
            compile_config={"optimizer": part("system", "os", {"command": COMMAND})},
        ),
    ),
)
described("whole_is_a_custom_class", lambda d: d.update(class_name="Mine", registered_name="mine>Mine"))
described("whole_is_a_layer", lambda d: layer(d, "conv"))
described("whole_is_a_lambda", lambda d: LAMBDA)
described("whole_is_a_list", lambda d: [d])
described("whole_is_null", lambda d: d.update(class_name=None))
described("empty_description", lambda d: {})
described("no_layers", lambda d: d["config"].update(layers=[]))
described("layers_are_a_text", lambda d: d["config"].update(layers="evil"))
described("too_many_layers", lambda d: d["config"].update(layers=[layer(d, "scale")] * 6000))
described("units_without_end", lambda d: layer(d, "classes")["config"].update(units=2_000_000_000))
described("units_below_zero", lambda d: layer(d, "classes")["config"].update(units=-1))
described("units_are_a_text", lambda d: layer(d, "classes")["config"].update(units="many"))
described(
    "units_of_a_size_too_large_for_a_number", lambda d: layer(d, "classes")["config"].update(units=10**40)
)
described("filters_without_end", lambda d: layer(d, "conv")["config"].update(filters=500_000_000))
described("kernel_larger_than_the_image", lambda d: layer(d, "conv")["config"].update(kernel_size=[99, 99]))
described("stride_of_nothing", lambda d: layer(d, "conv")["config"].update(strides=[0, 0]))
described("unknown_activation", lambda d: layer(d, "conv")["config"].update(activation="evil"))
described("unknown_padding", lambda d: layer(d, "conv")["config"].update(padding="evil"))
described("axis_that_is_not_there", lambda d: layer(d, "norm")["config"].update(axis=17))
described("scale_that_is_no_number", lambda d: layer(d, "scale")["config"].update(scale="evil"))
described("unknown_precision", lambda d: layer(d, "conv")["config"].update(dtype="float1024"))
described("layer_whose_name_is_a_path", lambda d: layer(d, "conv")["config"].update(name="../../conv"))
described("layer_whose_name_is_a_number", lambda d: layer(d, "conv")["config"].update(name=7))
described("two_layers_of_one_name", lambda d: layer(d, "conv")["config"].update(name="norm"))
in_layers("embedding_without_end", part("Embedding", config={"input_dim": 10**9, "output_dim": 64}))
in_layers("resized_without_end", part("Resizing", config={"height": 100_000, "width": 100_000}))
in_layers("enlarged_without_end", part("UpSampling2D", config={"size": [4000, 4000]}))
in_layers("padded_without_end", part("ZeroPadding2D", config={"padding": [90_000, 90_000]}))
in_layers(
    "constant_of_objects",
    part("Rescaling", config={"scale": part("__numpy__", None, {"value": [{}], "dtype": "object"})}),
)


def input_shape(name: str, shape: Any) -> None:
    def change(description: dict[str, Any]) -> None:
        layers = description["config"]["layers"]
        layers[0]["config"]["batch_shape"] = shape
        description["config"].pop("build_input_shape", None)
        description.pop("build_config", None)

    described(name, change)


input_shape("images_without_end", [None, 1_000_000, 1_000_000, 3])
input_shape("images_of_no_size", [None, 0, 0, 3])
input_shape("images_of_less_than_no_size", [None, -5, -5, 3])
input_shape("images_of_five_colours", [None, 32, 32, 5])
input_shape("oblong_images", [None, 32, 64, 3])
input_shape("vectors", [None, 32])
input_shape("images_whose_size_is_a_text", [None, "32", "32", 3])


# ---------------------------------------------------------------------------------------------------
# The container


@kind
def empty_file(folder: Path) -> Path:
    (file := folder / "bad.keras").touch()
    return file


@kind
def no_archive(folder: Path) -> Path:
    (file := folder / "bad.keras").write_text("<html>404</html>")
    return file


@kind
def cut_off(folder: Path) -> Path:
    content = good(folder).read_bytes()
    (file := folder / "bad.keras").write_bytes(content[: len(content) // 2])
    return file


@kind
def folder_instead_of_a_file(folder: Path) -> Path:
    (file := folder / "bad.keras").mkdir()
    (file / "config.json").write_bytes(members(folder)["config.json"])
    return file


@kind
def pipe_instead_of_a_file(folder: Path) -> Path:
    import os

    os.mkfifo(file := folder / "bad.keras")
    return file


def without(name: str, gone: str) -> None:
    KINDS[name] = lambda folder: write(folder, {k: v for k, v in members(folder).items() if k != gone})


without("no_description", "config.json")
without("no_weights", "model.weights.h5")


def with_member(name: str, member: str, content: bytes = b"x") -> None:
    KINDS[name] = lambda folder: write(folder, {**members(folder), member: content})


with_member("member_outside", "../../evil")
with_member("member_with_an_absolute_path", "/tmp/evil")
with_member("assets", "assets/vocabulary.txt")
with_member("weights_in_another_format", "model.weights.npz", pickle.dumps(1))
with_member("program_beside_the_weights", "evil.py", b"raise SystemExit")


@kind
def two_descriptions(folder: Path) -> Path:
    content = members(folder)
    file = write(folder, content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("config.json", json.dumps(LAMBDA))
    return file


@kind
def encrypted(folder: Path) -> Path:
    file = write(folder, members(folder))
    content = bytearray(file.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(signature)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(signature, start + 4)
    file.write_bytes(content)
    return file


def compressed(name: str, how: int) -> None:
    KINDS[name] = lambda folder: write(folder, members(folder), compression=how)


compressed("compressed_by_bzip2", zipfile.ZIP_BZIP2)
compressed("compressed_by_lzma", zipfile.ZIP_LZMA)


def bomb(name: str, member: str, megabytes: int) -> None:
    """A member of nothing but spaces, a thousand times smaller in the file."""

    def make(folder: Path) -> Path:
        file = folder / "bad.keras"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for known, content in members(folder).items():
                if known != member:
                    archive.writestr(known, content)
            with archive.open(member, "w") as out:
                for _ in range(megabytes):
                    out.write(b" " * 1_000_000)
        return file

    KINDS[name] = make


bomb("description_that_grows", "config.json", 600)
bomb("weights_that_grow", "model.weights.h5", 600)
bomb("metadata_that_grow", "metadata.json", 20)


def text(name: str, content: bytes) -> None:
    KINDS[name] = lambda folder: write(folder, {**members(folder), "config.json": content})


described("a_name_that_is_no_text", lambda d: layer(d, "conv")["config"].update(name="\ud800"))
text("deep_lists", b"[" * 200_000)
text("deep_objects", b'{"a":' * 200_000)
text("description_is_a_number", b"7")
text("description_is_no_json", b"import os")
text("description_is_not_utf8", b"\xff\xfe\x00")
text("description_is_empty", b"")


# ---------------------------------------------------------------------------------------------------
# The weights


def weights(name: str, change: Callable[[h5py.File, Path], None]) -> None:
    """A kind that changes model.weights.h5."""

    def make(folder: Path) -> Path:
        content = members(folder)
        inner = folder / "weights.h5"
        inner.write_bytes(content["model.weights.h5"])
        with h5py.File(inner, "a") as file:
            change(file, folder)
        return write(folder, {**content, "model.weights.h5": inner.read_bytes()})

    KINDS[name] = make


def replaced(file: h5py.File, **options: Any) -> None:
    """Put another data set in the place of the kernel of `classes`."""
    group = file["layers/dense/vars"]
    shape, kind = group["0"].shape, group["0"].dtype
    del group["0"]
    group.create_dataset("0", **{"shape": shape, "dtype": kind, **options})


def linked(make: Callable[[Path], Any]) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = make(folder)

    return change


def external(file: h5py.File, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_bytes(b"\x00" * 100_000)
    replaced(file, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, folder: Path) -> None:
    group = file["layers/dense/vars"]
    layout = h5py.VirtualLayout(group["0"].shape, group["0"].dtype)
    layout[:] = h5py.VirtualSource(str(folder.parent / "other.h5"), "x", group["0"].shape)
    del group["0"]
    group.create_virtual_dataset("0", layout)


def hard_link(file: h5py.File, folder: Path) -> None:
    file["layers/again"] = file["layers/dense"]


def loop(file: h5py.File, folder: Path) -> None:
    file["layers/dense/loop"] = file["layers"]


def named_type(file: h5py.File, folder: Path) -> None:
    file["layers/evil"] = np.dtype("f8")


def filled(value: float) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        group = file["layers/dense/vars"]
        group["0"][...] = value

    return change


weights("link_to_another_file", linked(lambda folder: h5py.ExternalLink("/etc/passwd", "/x")))
weights("link_to_another_place", linked(lambda folder: h5py.SoftLink("/layers/dense/vars/1")))
weights("external_storage", external)
weights("virtual_data", virtual)
weights("one_weight_many_times", hard_link)
weights("groups_in_a_loop", loop)
weights("type_among_the_weights", named_type)
weights("texts_for_weights", lambda file, folder: replaced(file, dtype=h5py.string_dtype()))
weights("references_for_weights", lambda file, folder: replaced(file, dtype=h5py.ref_dtype))
weights("compounds_for_weights", lambda file, folder: replaced(file, dtype=[("a", "f4")]))
weights("weights_of_another_shape", lambda file, folder: replaced(file, shape=(7, 7)))
weights("a_weight_without_a_value", lambda file, folder: replaced(file, shape=None, dtype="f4"))
weights("a_shape_without_end", lambda file, folder: replaced(file, shape=(10**6, 10**6), chunks=(10, 10)))
weights(
    "weights_that_grow_inside",
    lambda file, folder: replaced(file, shape=(10**8,), chunks=(10**7,), compression="gzip", fillvalue=1),
)
weights("a_layer_without_weights", lambda file, folder: file.__delitem__("layers/dense"))
weights("no_weights_at_all", lambda file, folder: file.__delitem__("layers"))
weights("weights_that_are_no_numbers", filled(np.nan))
weights("weights_without_bound", filled(np.inf))


@kind
def weights_are_no_hdf5(folder: Path) -> Path:
    return write(folder, {**members(folder), "model.weights.h5": b"<html>404</html>"})


@kind
def weights_are_cut_off(folder: Path) -> Path:
    content = members(folder)
    return write(folder, {**content, "model.weights.h5": content["model.weights.h5"][:3000]})


# ---------------------------------------------------------------------------------------------------
# The older format


def legacy(name: str, change: Callable[[h5py.File], None]) -> None:
    def make(folder: Path) -> Path:
        (file := folder / "bad.h5").write_bytes(good(folder, ".h5").read_bytes())
        with h5py.File(file, "a") as opened:
            change(opened)
        return file

    KINDS[name] = make


def model_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[h5py.File], None]:
    def make(file: h5py.File) -> None:
        description = json.loads(file.attrs["model_config"])
        changed = change(description)
        file.attrs["model_config"] = json.dumps(description if changed is None else changed)

    return make


legacy("older_lambda", model_config(lambda d: d["config"]["layers"].insert(3, LAMBDA)))
legacy("older_custom_class", model_config(lambda d: d["config"]["layers"].insert(3, part("Mine", None))))
legacy("older_lookup", model_config(lambda d: d["config"]["layers"].insert(3, part("StringLookup", None))))
legacy("older_units_without_end", model_config(lambda d: layer(d, "classes")["config"].update(units=10**9)))
legacy("older_description_is_a_list", model_config(lambda d: [d]))
legacy("older_description_is_a_number", lambda file: file.attrs.__setitem__("model_config", 7))
legacy("older_description_is_an_array", lambda file: file.attrs.__setitem__("model_config", np.zeros(9)))
legacy("older_description_is_deep", lambda file: file.attrs.__setitem__("model_config", "[" * 50_000))
legacy("older_weights_are_gone", lambda file: file.__delitem__("model_weights"))
legacy("older_names_are_gone", lambda file: file["model_weights"].attrs.__delitem__("layer_names"))
legacy("older_names_are_numbers", lambda file: file["model_weights"].attrs.__setitem__("layer_names", [1, 2]))
legacy(
    "older_names_lead_elsewhere",
    lambda file: file["model_weights/conv"].attrs.__setitem__("weight_names", ["../../../x"]),
)
legacy(
    "older_link_to_another_file",
    lambda file: file.__setitem__("model_weights/evil", h5py.ExternalLink("/etc/passwd", "/x")),
)


@kind
def older_format_under_the_name_of_the_newer(folder: Path) -> Path:
    (file := folder / "bad.keras").write_bytes(good(folder, ".h5").read_bytes())
    return file


@kind
def newer_format_under_the_name_of_the_older(folder: Path) -> Path:
    (file := folder / "bad.h5").write_bytes(good(folder).read_bytes())
    return file


@kind
def hdf5_without_a_network(folder: Path) -> Path:
    with h5py.File(file := folder / "bad.hdf5", "w") as opened:
        opened["x"] = [1, 2, 3]
    return file


# ---------------------------------------------------------------------------------------------------
# PyTorch weights: pickles


def torch_legacy(name: str, *pickles: bytes) -> None:
    def make(folder: Path) -> Path:
        mark = str(folder / "mark").encode()
        (file := folder / "bad.pth").write_bytes(b"".join(pickles).replace(b"{mark}", mark))
        return file

    KINDS[name] = make


def torch_zip(name: str, description: bytes, storage: bytes = b"\0" * 400, how: int = 0) -> None:
    def make(folder: Path) -> Path:
        mark = str(folder / "mark").encode()
        with zipfile.ZipFile(file := folder / "bad.pth", "w", how) as archive:
            archive.writestr("archive/data.pkl", description.replace(b"{mark}", mark))
            archive.writestr("archive/data/0", storage)
        return file

    KINDS[name] = make


def tensor(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, elements: int = 100) -> bytes:
    """A state dict with one tensor, as opcodes."""

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def words(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    return (
        b"\x80\x02}"
        + words("conv1.weight")
        + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + words("storage")
        + b"ctorch\nFloatStorage\n"
        + words("0")
        + words("cpu")
        + number(elements)
        + b"tQ"
        + number(offset)
        + b"("
        + b"".join(map(number, shape))
        + b"t("
        + b"".join(map(number, stride))
        + b"t\x89}tRs."
    )


HEAD = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
torch_legacy("pickle_that_runs_a_command", b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR.")
torch_zip("zipped_pickle_that_runs_a_command", b"cos\nsystem\n(V" + COMMAND.encode() + b"\ntR.")
torch_legacy("pickle_that_remembers_at_a_huge_place", b"\x80\x02N" + b"r\xff\xff\xff\x7f.")
torch_legacy("pickle_that_remembers_beyond", b"\x80\x02N" + b"r\x00\x00\x00\x80.")
torch_legacy("pickle_that_claims_much", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.")
torch_legacy("pickle_of_another_protocol", pickle.dumps(1) * 5)
torch_legacy("pickle_of_a_list", HEAD, pickle.dumps([1, 2], 2), pickle.dumps([], 2))
torch_legacy("pickle_of_texts", HEAD, pickle.dumps({"conv1.weight": "x"}, 2), pickle.dumps([], 2))
torch_legacy(
    "storage_of_negative_size", HEAD, tensor((1,), (1,)), pickle.dumps(["0"], 2), struct.pack("<q", -1)
)
torch_legacy(
    "storage_without_end", HEAD, tensor((1,), (1,)), pickle.dumps(["0"], 2), struct.pack("<q", 2**60)
)
torch_zip("one_number_six_hundred_million_times", tensor((600_000_000,), (0,)))
torch_zip(
    "tensor_whose_stride_is_a_text",
    tensor((600_000_000,), (0x7E7E7E7E,)).replace(b"J~~~~", b"X\x06\x00\x00\x00stride"),
)
NESTED = b"".join(b"h%ch%c\x86q%c0" % (place, place, place + 1) for place in range(60))
torch_zip("tuple_that_never_ends", b"\x80\x02}K\x01\x85q\x000" + NESTED + b"h\x3cNs.")
torch_zip("tensor_outside_its_storage", tensor((200,), (1,)))
torch_zip("tensor_before_its_storage", tensor((10,), (1,), offset=-5))
torch_zip("tensor_that_goes_backwards", tensor((10,), (-1,), offset=20))
torch_zip("tensor_of_another_network", tensor((10, 10), (10, 1)))
torch_zip("tensor_that_is_no_number", tensor((10,), (1,)), np.full(100, np.nan, "f4").tobytes())
torch_zip(
    "tensor_too_large_for_single_precision",
    tensor((10,), (1,)).replace(b"FloatStorage", b"DoubleStorage"),
    np.full(100, 1e300).tobytes(),
)
torch_zip("compressed_storage", tensor((10,), (1,)), b"\0" * 50_000_000, zipfile.ZIP_DEFLATED)
torch_zip("description_that_is_no_pickle", b"<html>404</html>")


@kind
def torch_archive_without_a_description(folder: Path) -> Path:
    with zipfile.ZipFile(file := folder / "bad.pth", "w") as archive:
        archive.writestr("archive/data/0", b"\0" * 400)
    return file


@kind
def torch_file_cut_off(folder: Path) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", tensor((10,), (1,)))
    (file := folder / "bad.pth").write_bytes(buffer.getvalue()[:100])
    return file
