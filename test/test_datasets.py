"""Every kind of data set as it lies on disk, whole and damaged."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from datasets_on_disk import CITY_IDS, camvid, cityscapes, folder, picture, png, write

from seg_perception.datasets import CAMVID_CLASSES, DatasetItem, open_dataset, read_pair
from seg_perception.datasets.cityscapes import CITYSCAPES_TRAIN_ID
from seg_perception.datasets.pictures import read_label_values
from seg_perception.errors import DatasetError
from seg_perception.labels import CITYSCAPES, Label, LabelSet

YARD = """
name: yard
classes:
  - {name: path, value: [1, 4], covers: [road, sidewalk]}
  - {name: person, value: 2, covers: [person, rider]}
  - {name: sky, value: 700}
void: [0, 255]
"""
COLOURED = """
classes:
  - {name: path, color: [[128, 64, 128], [244, 35, 232]], covers: [road, sidewalk]}
  - {name: person, color: [220, 20, 60]}
void: [[0, 0, 0]]
"""


def some_labels(values: list[int], height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return (
        np.random.default_rng(seed).choice(values, (height, width)).astype(np.uint16 if max(values) > 255 else np.uint8)
    )


class TestCamVid:
    def frames(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {f"0016E5_{i:05}": (picture(seed=i), some_labels([*range(12), 255], seed=i)) for i in range(3)}

    def test_whole(self, tmp_path: Path) -> None:
        frames = self.frames()
        dataset = open_dataset(camvid(tmp_path, frames))
        assert (dataset.name, dataset.split, dataset.classes) == ("CamVid", "val", CAMVID_CLASSES)
        assert [item.name for item in dataset.items] == sorted(frames)
        for item in dataset.items:
            image, labels = read_pair(item)
            np.testing.assert_array_equal(image, frames[item.name][0])
            expected = frames[item.name][1]
            assert all((255 if e >= 11 else e) == g for e, g in zip(expected.flat, labels.flat))

    def test_a_split_by_name_and_one_that_is_not_there(self, tmp_path: Path) -> None:
        camvid(tmp_path, self.frames(), "train")
        assert len(open_dataset(str(tmp_path), "train").items) == 3
        with pytest.raises(DatasetError, match="no split 'val' with images and labels; there are train"):
            open_dataset(tmp_path)

    def test_values_that_mean_nothing_are_named(self, tmp_path: Path) -> None:
        labels = np.zeros((12, 16), np.uint8)
        labels[0, :3], labels[1, 0] = 77, 12
        camvid(tmp_path, {"a": (picture(), labels)})
        with pytest.raises(DatasetError, match=r"a\.png: 4 pixels have the value 12, 77, which is neither"):
            open_dataset(tmp_path).items[0].read_labels()

    def test_an_image_without_labels(self, tmp_path: Path) -> None:
        camvid(tmp_path, self.frames())
        (tmp_path / "valannot" / "0016E5_00001.png").unlink()
        with pytest.raises(DatasetError, match="1 of 3 images .* first 0016E5_00001"):
            open_dataset(tmp_path)


class TestCityscapes:
    def labels(self) -> np.ndarray:
        return some_labels(list(CITY_IDS.values()))

    @pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
    def test_label_ids_and_train_ids_give_the_same(self, tmp_path: Path, kind: str) -> None:
        of_name = {
            "road": 0,
            "sidewalk": 1,
            "building": 2,
            "car": 13,
            "license plate": 255,
            "ego vehicle": 255,
            "sky": 10,
        }
        label_ids = self.labels()
        name_of = {value: name for name, value in CITY_IDS.items()}
        truth = np.array([[of_name[name_of[int(v)]] for v in row] for row in label_ids], np.uint8)
        frames = {
            f"{city}_000001_000019": (picture(), label_ids if kind == "labelIds" else truth) for city in ("ulm", "bonn")
        }
        dataset = open_dataset(cityscapes(tmp_path, frames, kind=kind))
        assert [item.name for item in dataset.items] == ["bonn_000001_000019", "ulm_000001_000019"]
        assert dataset.classes == tuple(label.name for label in CITYSCAPES)
        for item in dataset.items:
            np.testing.assert_array_equal(read_pair(item)[1], truth)
        np.testing.assert_array_equal(dataset.class_of(CITYSCAPES)[:20], [*range(19), 255])

    def test_train_ids_of_the_published_scripts(self) -> None:
        order = (
            "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, "
            "person, rider, car, truck, bus, train, motorcycle, bicycle"
        )
        assert ", ".join(label.name for label in CITYSCAPES) == order
        assert sorted(CITYSCAPES_TRAIN_ID.values()) == list(range(19))
        assert sorted(CITYSCAPES_TRAIN_ID) == list(CITYSCAPES_TRAIN_ID)

    def test_incomplete_ones(self, tmp_path: Path) -> None:
        cityscapes(tmp_path, {"ulm_0_0": (picture(), self.labels())})
        with pytest.raises(DatasetError, match="no split 'train'.* there are val"):
            open_dataset(tmp_path, "train")
        with pytest.raises(DatasetError, match="no split '../val'"):
            open_dataset(tmp_path, "../val")
        write(tmp_path / "leftImg8bit" / "val" / "ulm" / "ulm_0_1_leftImg8bit.png", picture())
        with pytest.raises(DatasetError, match="1 of 2 images .* first ulm_0_1: expected .*gtFine_labelIds.png"):
            open_dataset(tmp_path)

    def test_a_label_id_that_is_none(self, tmp_path: Path) -> None:
        cityscapes(tmp_path, {"ulm_0_0": (picture(), np.full((12, 16), 34, np.uint8))})
        with pytest.raises(DatasetError, match="192 pixels have the value 34"):
            open_dataset(tmp_path).items[0].read_labels()


class TestFolder:
    def test_values_of_16_bits(self, tmp_path: Path) -> None:
        truth = some_labels([0, 1, 2, 4, 255, 700])
        dataset = open_dataset(folder(tmp_path, YARD, {"day/one": (picture(), truth), "two": (picture(), truth)}))
        assert (dataset.name, dataset.split, dataset.classes) == ("yard", "all", ("path", "person", "sky"))
        assert dataset.covers == (("road", "sidewalk"), ("person", "rider"), ("sky",))
        assert [item.name for item in dataset.items] == ["day/one", "two"]
        meaning = {0: 255, 255: 255, 1: 0, 4: 0, 2: 1, 700: 2}
        for item in dataset.items:
            assert [meaning[int(v)] for v in truth.flat] == read_pair(item)[1].ravel().tolist()

    def test_colours(self, tmp_path: Path) -> None:
        colours = np.array([[128, 64, 128], [244, 35, 232], [220, 20, 60], [0, 0, 0]], np.uint8)
        which = some_labels([0, 1, 2, 3])
        dataset = open_dataset(folder(tmp_path, COLOURED, {"a": (picture(), colours[which])}))
        assert dataset.name == tmp_path.name
        np.testing.assert_array_equal(dataset.items[0].read_labels(), np.array([0, 0, 1, 255], np.uint8)[which])
        folder(tmp_path, COLOURED, {"a": (picture(), picture(seed=4))})
        with pytest.raises(DatasetError, match=r"a\.png: 192 pixels have the colour \(\d+, \d+, \d+\), .* \.\.\."):
            open_dataset(tmp_path).items[0].read_labels()

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    @pytest.mark.parametrize("kind", [0, 3])
    def test_few_bits_and_palettes_keep_their_values(self, tmp_path: Path, bits: int, kind: int) -> None:
        values = np.random.default_rng(0).integers(0, min(2**bits, 200), (5, 13)).astype(np.uint8)
        path = tmp_path / "l.png"
        path.write_bytes(png(values, bits, kind, bytes(range(3 * min(2**bits, 85))) if kind == 3 else b""))
        np.testing.assert_array_equal(read_label_values(path), values)

    def test_splits(self, tmp_path: Path) -> None:
        labels = some_labels([1, 2])
        folder(tmp_path, YARD, {"a": (picture(), labels)}, "train", ".jpg")
        folder(tmp_path, YARD, {"b": (picture(), labels), "c": (picture(), labels)}, "val")
        assert [item.name for item in open_dataset(tmp_path).items] == ["b", "c"]
        assert [item.name for item in open_dataset(tmp_path, "train").items] == ["a"]
        with pytest.raises(DatasetError, match="no split 'test'; there are train, val"):
            open_dataset(tmp_path, "test")
        plain = folder(tmp_path / "plain", YARD, {"a": (picture(), labels)})
        assert open_dataset(plain, "all").split == "all"
        with pytest.raises(DatasetError, match="no split 'val'; there are none, only images and labels"):
            open_dataset(plain, "val")

    def test_two_images_of_one_name_and_one_without_labels(self, tmp_path: Path) -> None:
        folder(tmp_path, YARD, {"a": (picture(), some_labels([1]))})
        write(tmp_path / "images" / "b.jpg", picture())
        with pytest.raises(DatasetError, match="1 of 2 images .* first b: expected .*b.png"):
            open_dataset(tmp_path)
        write(tmp_path / "images" / "a.jpg", picture())
        with pytest.raises(DatasetError, match=r"a\.(jpg|png) and a\.(jpg|png) in .* share one label"):
            open_dataset(tmp_path)

    def test_a_size_that_differs(self, tmp_path: Path) -> None:
        dataset = open_dataset(folder(tmp_path, YARD, {"a": (picture(12, 16), some_labels([1], 16, 12))}))
        with pytest.raises(DatasetError, match="a: the image has 16x12 pixels, its labels 12x16"):
            read_pair(dataset.items[0])

    def test_void_only_where_it_is_declared(self, tmp_path: Path) -> None:
        undeclared = YARD.replace("void: [0, 255]", "")
        dataset = open_dataset(folder(tmp_path, undeclared, {"a": (picture(), some_labels([0]))}))
        with pytest.raises(DatasetError, match="192 pixels have the value 0"):
            dataset.items[0].read_labels()

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("", "expected 'classes' and 'void', got None"),
            ("[1, 2]", "expected 'classes' and 'void', got a list of 2"),
            ("classes: {}", "expected 'classes' as a list of 1 to"),
            ("classes: []", "expected 'classes' as a list of 1 to"),
            ("classes: [{name: a, value: 1}]\nignore: 3", "'ignore' is not known; known are classes, name, void"),
            ("classes: [a]", r"classes\[0\]: expected name, value and covers, got 'a'"),
            ("classes: [{value: 1}]", r"classes\[0\]: the name must be a non-empty text, got None"),
            ("classes: [{name: a}]", r"classes\[0\] \(a\), value: expected integers from 0 to 65535, got None"),
            ("classes: [{name: a, value: []}]", r"classes\[0\] \(a\): no value"),
            ("classes: [{name: a, value: 1.5}]", "got 1.5"),
            ("classes: [{name: a, value: true}]", "got True"),
            ("classes: [{name: a, value: -1}]", "got -1"),
            ("classes: [{name: a, value: 1, colour: 3}]", "'colour' is not known"),
            ("classes: [{name: a, value: 1}, {name: a, value: 2}]", r"classes\[1\]: a second class of the name 'a'"),
            ("classes: [{name: a, value: 1}, {name: b, value: 1}]", "value 1 belongs to 'a' and to 'b'"),
            ("classes: [{name: a, value: 1}]\nvoid: [1]", "value 1 belongs to 'a' and to void"),
            ("classes: [{name: a, value: 1, covers: []}]", "covers must list names"),
            ("classes: [{name: a, value: 1, covers: [3]}]", "covers: the name must be a non-empty text, got 3"),
            ("classes: [{name: a, color: 7}]", r"expected \[red, green, blue\] or a list of such, got 7"),
            (
                "classes: [{name: a, color: [1, 2, 300]}]",
                r"expected \[red, green, blue\] from 0 to 255, got a list of 3",
            ),
            ("classes: [{name: a, color: [1, 2, 3]}]\nvoid: 0", "void: expected"),
            ("classes: [{name: a, color: [1, 2, 3]}, {name: b, value: 2}]", "'value' is not known"),
            (
                "classes: [{name: a, color: [1, 2, 3]}]\nvoid: [[1, 2, 3]]",
                r"colour \(1, 2, 3\) belongs to 'a' and to void",
            ),
            (
                "classes: [{name: a, value: 1, covers: road}, {name: road, value: 2}]",
                "'road' and 'a' both cover 'road'",
            ),
            ("classes: [{name: a, value: 1}]\nname: [x]", "name: expected text, got a list of 1"),
            ("classes: [", "not YAML"),
            ("!!python/object/apply:os.system [exit 3]", "not YAML"),
            ("x: " + "[" * 3000, "not YAML"),
            ("\x00", "not YAML"),
        ],
    )
    def test_a_label_map_that_is_wrong(self, tmp_path: Path, text: str, complaint: str) -> None:
        folder(tmp_path, text, {"a": (picture(), some_labels([1]))})
        with pytest.raises(DatasetError, match=complaint):
            open_dataset(tmp_path)

    def test_yaml_aliases_that_multiply_are_refused_quickly(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
        folder(tmp_path, "\n".join([*lines, "classes: *a29"]), {"a": (picture(), some_labels([1]))})
        with pytest.raises(DatasetError, match="'a0' is not known"):
            open_dataset(tmp_path)
        (tmp_path / "labels.yaml").write_bytes(b"#" * (1 << 21))
        with pytest.raises(DatasetError, match="at most"):
            open_dataset(tmp_path)


class TestHostileFiles:
    def item(self, tmp_path: Path) -> DatasetItem:
        return open_dataset(folder(tmp_path, YARD, {"a": (picture(), some_labels([1]))})).items[0]

    @pytest.mark.parametrize("which", ["image_path", "label_path"])
    def test_cut_changed_empty_missing(self, tmp_path: Path, which: str) -> None:
        item = self.item(tmp_path)
        path: Path = getattr(item, which)
        whole = path.read_bytes()
        middle = len(whole) // 2
        for damaged in (
            whole[:middle],
            whole[:middle] + b"\xff" + whole[middle + 1 :],
            b"",
            b"\x89PNG",
            b"rubbish" * 9,
        ):
            path.write_bytes(damaged)
            with pytest.raises(DatasetError, match=re.escape(str(path))):
                read_pair(item)
        path.unlink()
        with pytest.raises(DatasetError, match=r"cannot be read \(No such file"):
            read_pair(item)

    def test_a_damaged_palette_file_is_named(self, tmp_path: Path) -> None:
        item = self.item(tmp_path)
        whole = png(some_labels([1, 2]), 8, 3, bytes(range(30)))
        for cut in range(8, len(whole)):
            item.label_path.write_bytes(whole[:cut])
            with pytest.raises(DatasetError, match="a.png"):
                item.read_labels()
        for position in range(12, len(whole)):
            item.label_path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
            try:
                assert set(np.unique(item.read_labels())) <= {0, 1}
            except DatasetError as exc:
                assert "a.png" in str(exc)

    def test_a_jpeg_and_a_coloured_picture_are_no_labels(self, tmp_path: Path) -> None:
        item = self.item(tmp_path)
        item.label_path.write_bytes(cv2.imencode(".jpg", some_labels([1]))[1].tobytes())
        with pytest.raises(DatasetError, match="labels must be PNG"):
            item.read_labels()
        write(item.label_path, picture())
        with pytest.raises(DatasetError, match="a coloured picture; expected labels as one value a pixel"):
            item.read_labels()

    def test_a_bomb_is_refused_before_it_is_unpacked(self, tmp_path: Path) -> None:
        item = self.item(tmp_path)
        small = png(np.zeros((1, 1), np.uint8), 8, 0)
        header = small.index(b"IHDR")
        import struct
        import zlib

        body = b"IHDR" + struct.pack(">II", 60000, 60000) + small[header + 12 : header + 17]
        item.label_path.write_bytes(small[:header] + body + struct.pack(">I", zlib.crc32(body)) + small[header + 21 :])
        with pytest.raises(DatasetError, match=r"a\.png: not a readable image \(too large\)"):
            item.read_labels()


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="not a data set that is known; expected leftImg8bit and gtFine"):
        open_dataset(tmp_path)
    (tmp_path / "leftImg8bit" / "val").mkdir(parents=True)
    with pytest.raises(DatasetError, match="no split 'val' .* there are none"):
        open_dataset(tmp_path)


def test_a_model_with_classes_of_its_own(tmp_path: Path) -> None:
    dataset = open_dataset(folder(tmp_path, YARD, {"a": (picture(), some_labels([1]))}))
    labels = LabelSet(
        "own", tuple(Label(i, n, (0, 0, i), False, "ignored") for i, n in enumerate(["rider", "dog", "road"]))
    )
    table = dataset.class_of(labels)
    assert table.dtype == np.uint8 and table.shape == (256,) and table[:3].tolist() == [1, 255, 0]
    assert (table[3:] == 255).all()
    with pytest.raises(DatasetError, match="the label set 'own' has none of them, it has dog"):
        dataset.class_of(LabelSet("own", (Label(0, "dog", (0, 0, 0), False, "ignored"),)))


def test_real_camvid(camvid_root: Path) -> None:
    for split, count in (("train", 367), ("val", 101)):
        dataset = open_dataset(camvid_root, split)
        assert len(dataset.items) == count
        image, labels = read_pair(dataset.items[-1])
        raw = cv2.imread(str(dataset.items[-1].label_path), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(labels, np.where(raw < 11, raw, 255))
        np.testing.assert_array_equal(image[..., ::-1], cv2.imread(str(dataset.items[-1].image_path)))
