"""DATA to labels and splits."""

import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from advisor import api
from advisor.data import sources
from advisor.data.checks import leave_out
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.errors import InputError


def fill(folder, counts: dict[str, int]):
    """Write different one-coloured images; 65,536 of them at most."""
    number = 0
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (4, 5), (number % 256, number // 256, 0)).save(folder / label / f"{i}.png")
            number += 1
    return folder


def test_class_folders(tmp_path):
    data = sources.load(str(fill(tmp_path, {"b": 30, "a": 70})))
    assert data.class_names == ("a", "b")
    assert list(data.counts()) == [70, 30]
    assert [len(data.indices(split)) for split in SPLITS] == [80, 10, 10]
    assert data.given_splits == frozenset()
    assert (data.shorter_sides == 4).all()
    for split in ("validation", "test"):  # stratified
        assert list(np.bincount(data.labels[data.indices(split)])) == [7, 3]


def test_images_in_folders_within_a_class(tmp_path):
    fill(tmp_path, {"a": 3, "b": 2})
    fill(tmp_path / "b", {"more/still more": 2})
    assert list(sources.load(str(tmp_path)).counts()) == [3, 4]


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "VAL", None])
def test_given_splits(validation, tmp_path):
    fill(tmp_path, {"train/a": 20, "train/b": 20, "test/a": 5, "test/b": 6})
    if validation:
        fill(tmp_path / validation, {"a": 3, "b": 3})
        for file in (tmp_path / validation).rglob("*.png"):  # not the same images as in training
            Image.new("RGB", (4, 5), (int(file.stem), 0, ord(file.parent.name))).save(file)
    data = sources.load(str(tmp_path))
    assert len(data.indices("test")) == 11
    if validation:
        assert [len(data.indices(split)) for split in SPLITS] == [40, 6, 11]
    else:
        assert len(data.indices("validation")) == 5  # a tenth, taken from training
        assert data.given_splits == {"train", "test"}


def test_splits_come_from_the_seed(tmp_path):
    fill(tmp_path, {"a": 40, "b": 40})
    same = [sources.load(str(tmp_path), seed=1) for _ in range(2)]
    assert (same[0].splits == same[1].splits).all()
    assert same[0].fingerprint() == same[1].fingerprint()
    assert (same[0].splits != sources.load(str(tmp_path), seed=2).splits).any()


def test_fingerprint_knows_what_changed(tmp_path):
    fill(tmp_path, {"a": 5, "b": 5})
    before = sources.load(str(tmp_path)).fingerprint()
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "0.png")
    changed = sources.load(str(tmp_path)).fingerprint()
    (tmp_path / "a").rename(tmp_path / "c")
    assert len({before, changed, sources.load(str(tmp_path)).fingerprint()}) == 3


def test_moved_data_are_the_same_data(tmp_path):
    fill(tmp_path / "here", {"a": 5, "b": 5})
    before = sources.load(str(tmp_path / "here")).fingerprint()
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert sources.load(str(tmp_path / "there")).fingerprint() == before


def test_digits_come_along():
    data = sources.load("sklearn:digits")
    assert (len(data), data.class_names) == (1797, tuple("0123456789"))


def test_without_unreadable_files(tmp_path):
    data = sources.load(str(fill(tmp_path, {"a": 10, "b": 2})))
    first = data.paths[0]
    rest = leave_out(data, [Skipped(first, "truncated")])
    assert len(rest) == 11
    assert rest.skipped == (Skipped("a/0.png", "truncated"),)
    with pytest.raises(InputError, match="'b' has 1 readable image"):
        leave_out(data, [Skipped(data.paths[-1], "truncated")])


def test_of_very_many_files_some_are_looked_at(tmp_path):
    fill(tmp_path, {"a": 60, "b": 30})
    for number in range(10):
        (tmp_path / "a" / f"broken{number}.png").write_bytes(b"no image")
    data = sources.load(str(tmp_path), enough=50)
    looked_at = data.looked_at
    reasons = len(data.skipped)
    assert looked_at.sum() + reasons == 50
    assert len(data) + reasons == 100
    assert 30 <= looked_at[data.labels == 0].sum() + reasons <= 40  # each class has its share
    assert [told for told in data.warnings if told.startswith("of 100 files 50 were looked at")]
    assert f"{reasons} of them cannot be read, so about {2 * reasons} in all" in "\n".join(data.warnings)
    unknown = np.flatnonzero(~looked_at)[:3]
    named = data.with_identities(unknown)
    assert all(named.identities[i] for i in unknown)
    assert sum(map(bool, named.identities)) == looked_at.sum() + 3
    assert sources.load(str(tmp_path), enough=100).looked_at.all()


def test_advice_on_what_was_not_looked_at(tmp_path, monkeypatch):
    """Files that turn out to be none when the sample is measured are left out as elsewhere."""
    monkeypatch.setattr(sources, "ENOUGH", 30)
    fill(tmp_path, {"a": 60, "b": 60})
    for number in range(40):
        (tmp_path / "a" / f"broken{number}.png").write_bytes(b"no image")
    advice = api.recommend(str(tmp_path), image_size=32, sample=150)
    assert advice.data.images == 120
    assert len(advice.data.skipped) == 40
    assert any("of 160 files 30 were looked at" in warning for warning in advice.warnings)
    assert re.search(r"\b(\d+) of \1 images are smaller than 112 pixels", " ".join(advice.warnings))


def test_sample_is_stratified():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    chosen = sample(labels, 32, seed=0)
    assert list(np.bincount(labels[chosen])) == [20, 10, 2]
    assert len(sample(labels, 1000, seed=0)) == 160


def test_unlabelled(tmp_path):
    fill(tmp_path, {"a": 2})
    (tmp_path / "text.png").write_text("no image")
    paths = [str(tmp_path / "a" / "0.png"), str(tmp_path / "text.png")]
    data = sources.unlabelled(paths, "these")
    assert (len(data), len(data.skipped)) == (1, 1)
    with pytest.raises(InputError, match="no readable images"):
        sources.unlabelled(paths[1:], "these")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("pictures"), {"a": 6, "b": 6})


CELLS = st.one_of(
    st.sampled_from(
        ["a/0.png", "a/1.png", "b/2.png", "a", "b", "train", "val", "test", "path", "label", "split"]
    ),
    st.sampled_from(["", " ", '"', '"a', ",", "..", "/", "~", "\0", "\r", "\n", "\ufeff", "../" * 40]),
    st.text(max_size=8),
)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.lists(CELLS, max_size=4), max_size=12), noise=st.binary(max_size=6))
@example(rows=[["a/\0.png", "a"], ["a/0.png", "\ud800"]], noise=b"")
def test_any_csv_is_read_or_refused(rows, noise, pictures):
    """Whatever stands in the file: a data set with what it says, or one line; never another error."""
    good = [[f"{label}/{i}.png", label] for label in "ab" for i in range(6)]
    lines = "\n".join(",".join(row) for row in [["path", "label"], *good, *rows])
    file = pictures / "labels.csv"
    file.write_bytes(lines.encode(errors="surrogatepass") + noise)
    _load_or_refuse(file)
    file.write_bytes("\n".join(",".join(row) for row in rows).encode(errors="surrogatepass") + noise)
    _load_or_refuse(file)


def _load_or_refuse(file):
    try:
        data = sources.load(str(file))
    except InputError:
        return
    assert len(data.labels) == len(data.splits) == len(data.paths) >= 4
    assert all(0 <= label < len(data.class_names) for label in data.labels)
    assert all(len(data.indices(split)) for split in SPLITS)
