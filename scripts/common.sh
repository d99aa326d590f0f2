# Sourced by the scripts beside it: where things are, and which ROS 2 they use.
repository=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
environment=$repository/.venv

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

# The Python of the ROS 2 wheels restarts itself once with a library path of its own, and hands that and the mark
# that it did so on to its children. Another interpreter started with them would load the wrong libraries.
if [[ -n ${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-} ]]; then
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
fi

# Prints the interpreter of the sourced ROS 2 installation; fails when there is none.
find_sourced_ros() {
  [[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} ]] || return 1
  local candidate
  for candidate in "${PYTHON:-python3}" /usr/bin/python3; do
    if "$candidate" -c 'import rclpy' 2>/dev/null; then
      command -v -- "$candidate"
      return
    fi
  done
  say "ROS 2 $ROS_DISTRO is sourced, but neither ${PYTHON:-python3} nor /usr/bin/python3 imports its rclpy." \
    "The wheels are used instead."
  return 1
}

# Sets ros (sourced, jazzy or kilted) and ros_python. For the wheels, what a ROS 2 installation left in the
# environment is taken out: Python and CMake would prefer it.
choose_ros() {
  ros=${SEG_PERCEPTION_ROS_DISTRO:-}
  ros_python=
  if [[ -z $ros ]] && ros_python=$(find_sourced_ros); then
    ros=sourced
    return
  fi
  ros=${ros:-jazzy}
  if [[ $ros != jazzy && $ros != kilted ]]; then
    fail "SEG_PERCEPTION_ROS_DISTRO is '$ros', and there are wheels of jazzy and kilted. To use another" \
      "distribution, install it, source its setup.bash and leave the variable unset."
  fi
  unset AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONPATH PYTHONHOME
  unset ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION
}
