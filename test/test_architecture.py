"""The rooms and who may enter them, from the syntax trees: nothing has to be imported for it."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "seg_perception"
FILES = sorted(PACKAGE.rglob("*.py"))
ROS = (
    "rclpy", "rcl_interfaces", "sensor_msgs", "std_msgs", "vision_msgs", "diagnostic_msgs", "builtin_interfaces",
    "geometry_msgs", "nav_msgs", "tf2_msgs", "visualization_msgs",
)  # fmt: skip
LAYERS = [  # from the bottom up; a room may import from its own layer and below
    {"errors"},
    {"labels", "latency", "files", "parameters", "objects"},
    {"types", "camera_config", "config", "metrics"},
    {"geometry", "image_files", "messages", "model", "datasets"},
    {"images"},
    {"fit", "visualise", "video", "simulate", "backends", "perception"},
    {"lettering", "draw_objects", "draw_obstacles", "birds_eye"},
    {"surroundings", "encounters", "evaluation"},
    {"pipeline"},
    {"outputs", "bag", "bench"},
    {"sources"},
    {"recorded_ground", "demo_report", "bench_ground", "bench_objects", "bench_object_cost"},
    {"training"},
    {"ros", "cli", "__main__"},
]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names of everything the file imports, wherever in it."""
    return _names_imported(path, ast.walk(ast.parse(path.read_text())))


def imports_of_module_body(path: Path) -> set[str]:
    """Dotted names of what importing the file imports at once."""
    return _names_imported(path, ast.parse(path.read_text()).body)


def _names_imported(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_its_room_imports_ros_or_torch(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    if room_of(path) != "ros":
        assert not roots & set(ROS)
    if room_of(path) != "training":
        assert not roots & {"torch", "onnx"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    level = {room: i for i, layer in enumerate(LAYERS) for room in layer}
    room = room_of(path)
    if room == "__init__":
        assert not [n for n in imports_of(path) if n.startswith("seg_perception")]
        return
    assert room in level, f"{path.name}: a new room needs its place in LAYERS and in docs/architecture.md"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "seg_perception" or len(parts) < 2 or parts[1] == "__version__":
            continue
        other = parts[1]
        assert level[other] <= level[room], f"{room} imports {other}, which stands above it"
        assert other != "training" or room in ("training", "cli")
    if room != "training":  # a verb that needs the training extra asks for it when it runs
        assert not [n for n in imports_of_module_body(path) if n.startswith("seg_perception.training")]


def test_every_all_names_what_is_there() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text())
        listed = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets)
        ]
        if not listed:
            continue
        defined = set()
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Assign):
                defined |= {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                defined.add(node.target.id)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                defined |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        assert set(listed[0]) <= defined, path
        # A small helper may stay out of __all__; a public class may not.
        classes = {n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"}
        assert classes <= set(listed[0]), path


def test_import_is_light() -> None:
    """Neither NumPy nor an engine comes with the package itself."""
    code = "import sys; import seg_perception; print('numpy' in sys.modules, 'onnxruntime' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout
    assert out.split() == ["False", "False"]


def test_the_pipeline_brings_neither_ros_nor_torch() -> None:
    code = (
        "import sys; import seg_perception.pipeline, seg_perception.backends.onnx_runtime;"
        "heavy = {'torch', 'rclpy', 'onnx', 'matplotlib', 'rosbags', 'av'};"
        "print([m for m in sys.modules if m.split('.')[0] in heavy])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout
    assert out.strip() == "[]"
