"""Start the segmentation node on one camera, with RViz if asked.

    ros2 launch seg_perception segmentation.launch.py image:=/front/image_raw rviz:=true

The shared-memory profile is set for what is started here, unless you have a Fast DDS profile of your own;
the camera's process needs it as well (config/fastdds_shm.xml says how).
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from seg_perception.ros import dds

# Installed under share/seg_perception/launch, or in the source tree: config is beside it in both.
CONFIG = Path(__file__).parent.parent / "config"

ARGUMENTS = (
    DeclareLaunchArgument("image", default_value="image", description="The camera's image topic."),
    DeclareLaunchArgument(
        "camera_info", default_value="", description="Its camera_info topic; empty is the image's neighbour."
    ),
    DeclareLaunchArgument("model", default_value="", description="Model name or file; empty is what the file says."),
    DeclareLaunchArgument("backend", default_value="", description="Inference engine; empty is what the file says."),
    DeclareLaunchArgument(
        "params_file", default_value=str(CONFIG / "node.yaml"), description="Parameter file; this one explains all."
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and of its results."),
    DeclareLaunchArgument(
        "use_sim_time", default_value="false", choices=["true", "false"], description="Follow /clock."
    ),
    DeclareLaunchArgument("rviz", default_value="false", choices=["true", "false"], description="Start RViz too."),
    DeclareLaunchArgument(
        "log_level",
        default_value="info",
        choices=["debug", "info", "warn", "error", "fatal"],
        description="Lowest severity that is logged.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The actions, now that the arguments have values."""
    value = {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS}
    profile = dds.profile_environment(CONFIG / dds.PROFILE_FILE, context.environment)
    told = [LogInfo(msg=f"{name}={path}; the camera's process needs it too") for name, path in profile.items()]
    rviz = [_rviz(value, profile)] if value["rviz"] == "true" else []
    return [*told, *rviz, _segmentation(value, profile)]  # where RViz is missing, nothing is left behind


def _segmentation(value: dict[str, str], profile: dict[str, str]) -> Node:
    given = {name: value[name] for name in ("model", "backend") if value[name]}
    folder, slash, _ = value["image"].rpartition("/")
    camera_info = value["camera_info"] or f"{folder}{slash}camera_info"
    return Node(
        package="seg_perception",
        executable="segmentation_node",
        name="segmentation",
        namespace=value["namespace"],
        parameters=[value["params_file"], {"use_sim_time": value["use_sim_time"] == "true", **given}],
        remappings=[("image", value["image"]), ("camera_info", camera_info)],
        ros_arguments=["--log-level", value["log_level"]],
        additional_env=profile,
        output="screen",
        emulate_tty=True,
    )


_SHOWN = (
    "mask", "overlay", "panoptic", "drivable/grid", "drivable/boundary", "obstacles/markers", "obstacles/points"
)  # fmt: skip
"""What config/segmentation.rviz has displays for."""


def _rviz(value: dict[str, str], profile: dict[str, str]) -> Node:
    prefix = f"/{value['namespace'].strip('/')}/".replace("//", "/")
    image = value["image"] if value["image"].startswith("/") else prefix + value["image"]
    results = [(f"/segmentation/{name}", f"{prefix}segmentation/{name}") for name in _SHOWN]
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(CONFIG / "segmentation.rviz")],
        parameters=[{"use_sim_time": value["use_sim_time"] == "true"}],
        remappings=[("/image", image), *results],
        additional_env=profile,
    )
