"""What is installed, by pip and by colcon, and what the packaging files say of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

import pytest

from seg_perception import __version__

REPO = Path(__file__).resolve().parent.parent
SITE = Path(sysconfig.get_path("purelib"))

# Import name: (rosdep key, name on PyPI). Other modules that are not Python's own are ROS packages of the same name.
PYTHON_PACKAGES = {
    "av": (None, "av"),
    "cv2": ("python3-opencv", "opencv-python-headless"),
    "numpy": ("python3-numpy", "numpy"),
    "scipy": ("python3-scipy", "scipy"),
    "onnxruntime": ("python3-onnxruntime-pip", "onnxruntime"),
    "rosbags": ("python3-rosbags-pip", "rosbags"),
    "yaml": ("python3-yaml", "PyYAML"),
}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from: building writes into its source folder."""
    copy = tmp_path_factory.mktemp("source") / "seg_perception"
    copy.mkdir()
    for name in ("package.xml", "pyproject.toml", "setup.cfg", "setup.py", "LICENSE", "MANIFEST.in", "CHANGELOG.rst"):
        shutil.copy2(REPO / name, copy)
    for name in ("config", "launch", "resource", "seg_perception"):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="session")
def metadata(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What setup.py says, as setuptools understands it."""
    if importlib.util.find_spec("setuptools") is None:
        pytest.skip("needs setuptools")
    base = tmp_path_factory.mktemp("egg")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", base], cwd=source, check=True, timeout=60
    )
    text = (base / "seg_perception.egg-info" / "PKG-INFO").read_text()
    message = Parser().parsestr(text)
    return {name.lower(): message.get_all(name, []) for name in message}


@pytest.fixture(scope="session")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(REPO / "package.xml").getroot()


def declared(manifest: ElementTree.Element, *tags: str) -> set[str]:
    return {element.text or "" for tag in tags for element in manifest.iter(tag)}


def test_versions_agree(manifest: ElementTree.Element, metadata: dict[str, list[str]]) -> None:
    changelog = re.findall(r"^(\d+\.\d+\.\d+) \(", (REPO / "CHANGELOG.rst").read_text(), re.MULTILINE)
    assert manifest.findtext("version") == __version__
    assert metadata["version"] == [__version__]
    assert changelog[0] == __version__
    assert metadata["name"] == ["seg_perception"] == [manifest.findtext("name")]


def test_package_xml_is_valid() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="needs catkin_pkg, which colcon brings")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(REPO), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.package_format == 3
    assert package.get_build_type() == "ament_python"
    assert package.licenses == ["Apache-2.0"]


def test_pinned_requirements_agree() -> None:
    """A package that several lists name has one version in all of them: the lists are installed one after another."""
    pins: dict[tuple[str, str], set[str]] = {}
    for file in sorted((REPO / "requirements").glob("*.txt")):
        if file.name == "ros-kilted.txt":  # never installed beside ros-jazzy.txt
            continue
        for line in file.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            pin = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.+]+)(?:; (.+))?", line)
            assert pin, f"{file.name}: {line!r} pins nothing"
            pins.setdefault((re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[3] or ""), set()).add(pin[2])
    assert {name: versions for name, versions in pins.items() if len(versions) > 1} == {}


def imported_modules() -> Iterator[tuple[str, Path]]:
    """Every top-level module that the installed code imports, and where; training is for a checkout."""
    files = [f for f in (REPO / "seg_perception").rglob("*.py") if "training" not in f.parts]
    for file in [*files, *(REPO / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], file) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0], file


def test_every_import_is_declared(manifest: ElementTree.Element, metadata: dict[str, list[str]]) -> None:
    keys = declared(manifest, "depend", "exec_depend")
    on_pypi = {re.split(r"[^\w.-]", requirement)[0] for requirement in metadata["requires-dist"]}
    for module, file in imported_modules():
        if module == "seg_perception" or module in sys.stdlib_module_names:
            continue
        key, name = PYTHON_PACKAGES.get(module, (module, None))
        assert key is None or key in keys, f"{file} imports {module}: package.xml lacks {key}"
        assert name is None or name in on_pypi, f"{file} imports {module}: setup.py lacks {name}"


def test_every_message_package_is_declared(manifest: ElementTree.Element) -> None:
    rooms = ("ros", "messages", "seg_perception")
    sources = [f.read_text() for f in (REPO / "seg_perception").rglob("*.py") if f.parent.name in rooms]
    spoken = set(re.findall(r"\b([a-z][a-z0-9_]*_(?:msgs|interfaces))[./](?:msg|srv|action)\b", "\n".join(sources)))
    assert {"sensor_msgs", "vision_msgs", "diagnostic_msgs"} <= spoken  # the search finds what is known to be there
    assert spoken <= declared(manifest, "depend", "exec_depend")


@dataclass(frozen=True)
class Installation:
    prefix: Path
    code: Path
    """The folder that seg_perception is to be imported from."""
    python: Path
    environment: dict[str, str]

    def run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command, env=self.environment, cwd=self.prefix, timeout=60, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def shell_environment(script: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment after a shell script was sourced."""
    command = '. "$0" && exec "$1" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    out = subprocess.run(
        ["/bin/sh", "-c", command, script, sys.base_prefix + "/bin/python3"],
        env=environment,
        timeout=60,
        capture_output=True,
        check=True,
    )
    variables: dict[str, str] = json.loads(out.stdout)
    return variables


@pytest.fixture
def bare(tmp_path: Path) -> Installation:
    """A virtual environment that sees the packages of this one, without a trace of seg_perception."""
    home = tmp_path / "bare"
    beside_ros = "include-system-site-packages = true" in _read(Path(sys.prefix) / "pyvenv.cfg")
    venv.create(home, system_site_packages=beside_ros, symlinks=True)
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in SITE.iterdir():
        if "seg_perception" not in entry.name and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    site = home / SITE.relative_to(sys.prefix)
    (site / "packages.pth").write_text(f"{packages}\n")
    environment = {
        **os.environ,
        # Where the wheels of ROS 2 have their packages; of a ROS 2 installation the name is set already.
        "AMENT_PREFIX_PATH": os.environ.get("AMENT_PREFIX_PATH", sys.prefix),
        "PATH": os.pathsep.join([str(home / "bin"), os.environ["PATH"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    python = home / "bin" / "python"
    probe = [str(python), "-c", "import importlib.util as u; print(u.find_spec('seg_perception'))"]
    found = subprocess.run(probe, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    if found.stdout.strip() != "None":
        pytest.skip(f"seg_perception is on this environment's path: {found.stdout.strip()}")
    return Installation(home, site / "seg_perception", python, environment)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.fixture(params=["pip", "colcon", "colcon --symlink-install"])
def installed(request: pytest.FixtureRequest, bare: Installation, source: Path, tmp_path: Path) -> Installation:
    """seg_perception, installed in one of the three ways."""
    if request.param == "pip":
        bare.run(bare.python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", source)
        return bare
    if importlib.util.find_spec("colcon_core") is None:
        pytest.skip("needs colcon")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    colcon = "from colcon_core.command import main; main()"
    symlinks = ["--symlink-install"] if "symlink" in request.param else []
    subprocess.run(
        [bare.python, "-c", colcon, "build", "--base-paths", source, *symlinks],
        cwd=workspace,
        env={**bare.environment, "COLCON_HOME": str(tmp_path / "colcon")},
        check=True,
        timeout=120,
        capture_output=True,
    )
    prefix = workspace / "install" / "seg_perception"
    within = prefix / SITE.relative_to(sys.prefix)
    return Installation(
        prefix=prefix,
        code=(workspace / "build" / "seg_perception" if symlinks else within) / "seg_perception",
        python=bare.python,
        environment=shell_environment(workspace / "install" / "setup.sh", bare.environment),
    )


DESCRIBE = """
import importlib.resources as resources, json, seg_perception
models = resources.files("seg_perception") / "models"
print(json.dumps([seg_perception.__file__, {m.name: len(m.read_bytes()) for m in models.iterdir() if m.is_file()}]))
"""

WAIT_FOR_DIAGNOSTICS = """
import sys, time, rclpy
from diagnostic_msgs.msg import DiagnosticArray
rclpy.init()
node, names = rclpy.create_node("listener"), []
node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: names.extend(s.name for s in m.status), 10)
end = time.monotonic() + 30
while not names and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.2)
print(*names)
node.destroy_node()
rclpy.shutdown()
"""


def test_installation(installed: Installation) -> None:
    """Files are where ROS and Python look for them, and the installed executable publishes over DDS."""
    prefix = installed.prefix
    assert (prefix / "share/ament_index/resource_index/packages/seg_perception").is_file()
    assert (prefix / "share/seg_perception/package.xml").is_file()
    for folder in ("launch", "config"):
        expected = {file.name for file in (REPO / folder).iterdir() if file.is_file()}
        found = {file.name for file in (prefix / "share/seg_perception" / folder).iterdir() if file.is_file()}
        assert found == expected
    for program in ("bin/seg_perception", "bin/segmentation_node", "lib/seg_perception/segmentation_node"):
        assert os.access(prefix / program, os.X_OK), program

    file, models = json.loads(installed.run(installed.python, "-c", DESCRIBE))
    assert Path(file) == installed.code / "__init__.py"
    source_models = (REPO / "seg_perception/models").iterdir()
    assert models == {f.name: f.stat().st_size for f in source_models if f.suffix in (".onnx", ".md")}
    assert installed.run(prefix / "bin/seg_perception", "--version").split() == ["seg_perception", __version__]

    pytest.importorskip("onnxruntime", reason="the node needs onnxruntime")
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("the node needs ROS 2")
    _assert_publishes(installed, prefix / "lib/seg_perception/segmentation_node")


def _assert_publishes(installed: Installation, program: Path) -> None:
    environment = {
        **installed.environment,
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    if environment.get("ROS_DISTRO") == "humble":
        environment["ROS_LOCALHOST_ONLY"] = "1"
    node = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        listen = [str(installed.python), "-c", WAIT_FOR_DIAGNOSTICS]
        heard = subprocess.run(listen, env=environment, capture_output=True, text=True, timeout=60, check=False)
    finally:
        node.send_signal(signal.SIGINT)
        output, _ = node.communicate(timeout=20)
    assert "segmentation" in heard.stdout, heard.stdout + heard.stderr + output
