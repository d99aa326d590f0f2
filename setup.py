"""Install seg_perception, with pip or with colcon (ament_python)."""

from __future__ import annotations

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "seg_perception"

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Street-scene segmentation for ROS 2: camera images in, semantic masks out.",
    author="seg_perception contributors",
    maintainer="seg_perception contributors",
    maintainer_email="seg_perception@users.noreply.github.com",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["models/*.onnx", "models/*.md", "py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/config", sorted(glob("config/*.*"))),
        (f"share/{PACKAGE}/config/training", sorted(glob("config/training/*.yaml"))),
        (f"share/{PACKAGE}/launch", sorted(glob("launch/*.py"))),
        (f"lib/{PACKAGE}", ["resource/segmentation_node"]),
    ],
    zip_safe=False,
    # For pip alone: colcon takes these packages from rosdep. Beside a ROS 2 installation use colcon, or
    # `pip install --no-deps`, as cv_bridge does not work beside pip's OpenCV.
    install_requires=[
        "numpy>=1.21",
        "onnxruntime>=1.14",
        "opencv-python-headless>=4.5",
        "PyYAML>=5.4",
        "rosbags>=0.10.8",
        "scipy>=1.8",
    ],
    extras_require={
        "video": ["av>=10"],
        "training": ["torch>=2.1", "onnx>=1.14", "matplotlib>=3.5", "tensorboard>=2.12"],
        "test": [
            "pytest>=7",
            "mcap",
            "mcap-ros2-support",
            "onnx>=1.14",
            "ruff",
            "mypy",
            "types-PyYAML",
            "colcon-common-extensions",
            "setuptools<80",
        ],
    },
    entry_points={
        "console_scripts": [
            "seg_perception = seg_perception.cli:main",
            "segmentation_node = seg_perception.ros.node:main",
        ],
    },
)
