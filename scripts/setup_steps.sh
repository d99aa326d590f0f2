# Sourced by scripts/setup: steps that show their progress, keep a log, and are not done twice.
stamps=$environment/.setup

digest() { cat -- "$@" | sha256sum | cut -d' ' -f1; }

# run_logged TITLE NAME COMMAND...: one line with the seconds it took; the end of the log when it fails.
run_logged() {
  local title=$1 log=$stamps/$2.log started=$SECONDS job
  shift 2
  printf '  %-44s' "$title" >&2
  # A process group of its own, so that an interrupt reaches pip's and CMake's children too.
  set -m
  (set -e; "$@") >"$log" 2>&1 </dev/null &
  job=$!
  set +m
  trap 'kill -TERM -- "-$job" 2>/dev/null; say " stopped"; exit 130' INT TERM HUP
  while [[ -t 2 ]] && kill -0 "$job" 2>/dev/null; do
    sleep 0.5
    printf '\r  %-44s%5d s' "$title" $((SECONDS - started)) >&2
  done
  if ! wait "$job"; then
    say " failed"
    tail -n 25 -- "$log" >&2
    fail "$title failed; the whole log is $log"
  fi
  trap - INT TERM HUP
  if [[ -t 2 ]]; then printf '\r  %-44s' "$title" >&2; fi
  printf '%5d s\n' $((SECONDS - started)) >&2
}

is_done() { [[ -f $stamps/$1.done && $(<"$stamps/$1.done") == "$2" ]]; }

# step TITLE NAME KEY COMMAND...: runs the command unless it has succeeded for this key.
step() {
  local title=$1 name=$2 key=$3
  shift 3
  if is_done "$name" "$key"; then return; fi
  if [[ -z ${announced:-} ]]; then say "Setting up $environment ($(describe_ros))"; fi
  announced=yes
  # pip believes a package installed whose files an interrupted run left incomplete.
  repair=()
  if [[ -e $stamps/$name.begun ]]; then repair=(--force-reinstall); fi
  rm -f "$stamps/$name.done"
  touch "$stamps/$name.begun"
  run_logged "$title" "$name" "$@"
  printf '%s' "$key" >"$stamps/$name.done"
  rm "$stamps/$name.begun"
}

run_pip() {
  "$environment/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    ${repair[@]+"${repair[@]}"} "$@"
}

# require_packages PACKAGE...: installs missing Debian packages when root, else says how to.
require_packages() {
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    fail "missing: $*. On Debian and Ubuntu: sudo apt-get update && sudo apt-get install -y $*"
  fi
  if [[ -z ${apt_updated:-} ]]; then run_logged "apt-get update" apt-update apt-get update; fi
  apt_updated=yes
  run_logged "apt-get install $*" apt-install \
    env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

is_suitable() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in python3 python3.11 python3.12 python3.10 /usr/bin/python3; do
    if is_suitable "$candidate"; then
      command -v -- "$candidate"
      return
    fi
  done
  return 1
}

# Sets python: the interpreter that .venv is made with.
choose_python() {
  if [[ $ros == sourced ]]; then
    python=$ros_python
  elif [[ -n ${PYTHON:-} ]]; then
    python=$PYTHON
  elif ! python=$(find_python); then
    require_packages python3 python3-venv python3-dev g++
    python=/usr/bin/python3
  fi
  is_suitable "$python" ||
    fail "$python is not Python 3.10, 3.11 or 3.12. Name one that is: PYTHON=python3.11 $0"
}

# Takes hold of .venv, so that two set-ups at once do not get into each other's way.
lock_environment() {
  if [[ -e $environment && ! -d $stamps ]]; then
    fail "$environment exists and was not made by scripts/setup: remove it or move it away"
  fi
  mkdir -p "$stamps"
  exec {lock}>"$stamps/lock"
  if ! flock --nonblock "$lock"; then
    say "Waiting for another scripts/setup ..."
    flock "$lock"
  fi
}

describe_ros() { if [[ $ros == sourced ]]; then echo "ROS 2 $ROS_DISTRO, sourced"; else echo "ROS 2 ${ros^}"; fi; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# What the virtual environment and the compiled messages take from the system.
require_tools() {
  local packages=() headers
  "$1" -c 'import ensurepip, venv' 2>/dev/null || packages+=("python$(version_of "$1")-venv")
  if [[ $ros != sourced ]]; then
    headers=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [[ -f $headers/Python.h ]] || packages+=("python$(version_of "$1")-dev")
    command -v g++ >/dev/null || packages+=(g++)
  fi
  if [[ ${#packages[@]} -gt 0 ]]; then require_packages "${packages[@]}"; fi
}

# Makes .venv, anew when it was made for another place, ROS 2 or Python. Without PYTHON, an existing one keeps its own.
make_environment() {
  local made_for version options=()
  made_for="$environment, $(describe_ros), $ros_python"
  if is_done environment "$made_for" && [[ -x $environment/bin/python ]]; then
    if [[ -z ${PYTHON:-} || -d $environment/lib/python$(version_of "$PYTHON") ]]; then return; fi
  fi
  choose_python
  version=$(version_of "$python")
  require_tools "$python"
  find "$environment" -mindepth 1 -maxdepth 1 ! -name .setup -exec rm -rf {} +
  find "$stamps" -mindepth 1 ! -name lock -delete
  if [[ $ros == sourced ]]; then options=(--system-site-packages); fi
  step "virtual environment (Python $version)" environment "$made_for" \
    "$python" -m venv ${options[@]+"${options[@]}"} "$environment"
}

# install TITLE NAME OPTION...: the packages of requirements/NAME.txt.
install() {
  local list=$repository/requirements/$2.txt
  step "$1" "$2" "$(digest "$list")" run_pip "${@:3}" --requirement "$list"
}

# Beside a ROS 2 installation NumPy stays the installation's: what needs a newer one is left out.
install_training_beside_ros() {
  local numpy
  numpy=$("$environment/bin/python" -c 'import numpy; print(numpy.__version__)')
  if [[ $(printf '%s\n' 1.25 "$numpy" | sort --version-sort | head -n 1) != 1.25 ]]; then
    say "  Training needs NumPy 1.25 and this ROS 2 installation has $numpy: the tests of it will be skipped"
    return
  fi
  printf 'numpy==%s\n' "$numpy" >"$stamps/numpy.txt"
  install "PyTorch, ONNX, Matplotlib" training --constraint "$stamps/numpy.txt"
}

require_ros_packages() {
  if is_done ros-packages "$ROS_DISTRO with SciPy"; then return; fi
  local modules="numpy, cv2, scipy, yaml, launch, launch_ros, diagnostic_msgs.msg, geometry_msgs.msg, lifecycle_msgs.msg"
  modules+=", nav_msgs.msg, rcl_interfaces.msg, sensor_msgs.msg, tf2_msgs.msg, vision_msgs.msg, visualization_msgs.msg"
  if ! "$environment/bin/python" -c "import $modules" 2>/dev/null; then
    require_packages python3-numpy python3-opencv python3-scipy python3-yaml \
      "ros-$ROS_DISTRO"-{launch-ros,diagnostic-msgs,geometry-msgs,nav-msgs,sensor-msgs,tf2-msgs,vision-msgs,visualization-msgs}
  fi
  printf '%s' "$ROS_DISTRO with SciPy" >"$stamps/ros-packages.done"
}

# vision_msgs and tf2_msgs are not on PyPI: they are compiled into .venv.
install_messages() {
  local files key
  mapfile -d '' files < <(find "$repository/scripts/ros_messages" -type f -print0 | sort -z)
  key=$(digest "$repository/requirements/"{base,"ros-$ros"}.txt "${files[@]}")
  if is_done messages "$key"; then return; fi
  require_tools "$environment/bin/python"
  step "vision_msgs, tf2_msgs (compiled)" messages "$key" "$repository/scripts/ros_messages/build" "$environment"
}

# Editable: the code runs from the checkout; launch files, configuration and programs are copied into .venv.
install_package() {
  local files key
  mapfile -d '' files < <(cd "$repository" && find launch config resource -type f ! -name '*.pyc' -print0 | sort -z)
  key=$(cd "$repository" && digest scripts/setup_steps.sh setup.py setup.cfg package.xml "${files[@]}")
  key+=$(printf ' %s' "${files[@]}")
  step "seg_perception (editable)" seg_perception "$key" install_editable
}

install_editable() {
  run_pip --no-deps --no-build-isolation --editable "$repository"
  # setuptools leaves data_files out of editable installations.
  cd -- "$repository"
  "$environment/bin/python" setup.py --quiet install_data --install-dir "$environment"
}
