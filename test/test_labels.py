import numpy as np
import pytest

from seg_perception.errors import LabelError
from seg_perception.labels import CITYSCAPES, Label, LabelSet


def test_cityscapes_train_ids() -> None:
    """Spelt out from the published table, not from the code."""
    expected = (
        "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider car "
        "truck bus train motorcycle bicycle"
    )
    assert [label.name.replace(" ", "_") for label in CITYSCAPES] == expected.split()
    assert {label.name for label in CITYSCAPES if label.is_thing} == {
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    }  # fmt: skip
    assert CITYSCAPES.palette[0].tolist() == [128, 64, 128] and CITYSCAPES.palette[13].tolist() == [0, 0, 142]
    assert not CITYSCAPES.palette[19:].any()
    assert len({tuple(c) for c in CITYSCAPES.palette[:19].tolist()}) == 19


def test_only_the_road_is_drivable_and_every_thing_an_obstacle() -> None:
    assert [label.name for label in CITYSCAPES if label.role == "drivable"] == ["road"]
    assert all(label.role == "obstacle" for label in CITYSCAPES if label.is_thing)


def test_json_there_and_back() -> None:
    assert LabelSet.from_json(CITYSCAPES.to_json()) == CITYSCAPES


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("name"),
        lambda d: d["labels"].reverse(),
        lambda d: d["labels"][3].update(name="road"),
        lambda d: d["labels"][3].update(color=[1, 2]),
        lambda d: d["labels"][3].update(color=[1, 2, 256]),
        lambda d: d["labels"][3].update(role="wall"),
        lambda d: d["labels"][3].update(id="3"),
        lambda d: d["labels"].clear(),
        lambda d: d.update(labels=None),
        lambda d: d["labels"].append("car"),
    ],
)
def test_a_damaged_set_is_refused(damage) -> None:
    data = CITYSCAPES.to_json()
    damage(data)
    with pytest.raises(LabelError):
        LabelSet.from_json(data)


def test_ids_stay_below_void() -> None:
    with pytest.raises(LabelError, match="0 to 254"):
        Label(255, "void", (0, 0, 0), False, "ignored")
    with pytest.raises(LabelError, match="no 'lorry'; it has road"):
        CITYSCAPES.id_of("lorry")
    assert CITYSCAPES.palette.dtype == np.uint8 and not CITYSCAPES.palette.flags.writeable
