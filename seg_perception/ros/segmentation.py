"""The lifecycle node `segmentation`: camera images in, masks out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from seg_perception.config import PipelineConfig
from seg_perception.errors import SegPerceptionError
from seg_perception.messages import DIAGNOSTIC_ARRAY, LABEL_INFO, diagnostics_message, label_info_message
from seg_perception.outputs import LABEL_INFO_TOPIC
from seg_perception.pipeline import Pipeline
from seg_perception.ros import params
from seg_perception.ros.diagnostics import CameraReporter, model_status, transform_values
from seg_perception.ros.inference import InferenceThread
from seg_perception.ros.kit import RclpyKit, message_class
from seg_perception.ros.stream import CameraStream
from seg_perception.ros.transforms import TransformListener

__all__ = ["SegmentationNode"]

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class SegmentationNode(LifecycleNode):
    """Cameras, one model, and the thread between them.

    ============  ==========================================================================
    unconfigured  parameters and diagnostics only
    inactive      the model is loaded and warm, the publishers exist, nothing is subscribed
    active        images are processed
    finalized     nothing is left but diagnostics
    ============  ==========================================================================

    Raises:
        ConfigError, BackendNotBuiltError: a parameter given at start cannot be used.
    """

    def __init__(self) -> None:
        super().__init__("segmentation")
        self.state = "unconfigured"
        self._error = ""
        self._kit = RclpyKit()
        self._pipeline: Pipeline | None = None
        self._streams: dict[str, CameraStream] = {}
        self._reporters: dict[str, CameraReporter] = {}
        self._thread: InferenceThread | None = None
        self._transforms: TransformListener | None = None
        self._label_info: Any = None
        self.config = params.declare(self)
        for name in params.unknown_overrides(self):
            self.get_logger().warning(f"parameter {name} was given but there is none of that name; is it misspelt?")
        params.guard(self, lambda: self.config, self._reconfigure)
        self._answer_impossible_transitions()
        self._diagnostics = self.create_publisher(message_class(DIAGNOSTIC_ARRAY), "/diagnostics", 10)
        # Steady: diagnostics go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.config.diagnostics_period_s, self._report, clock=steady)

    def bring_up(self, proceed: Callable[[], bool] = lambda: True) -> bool:
        """Configure and activate without a lifecycle manager; False if it failed.

        Args:
            proceed: asked before each transition.
        """
        for trigger, reached in ((self.trigger_configure, "inactive"), (self.trigger_activate, "active")):
            if proceed():
                trigger()
                if self.state != reached:
                    return False
        return True

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and create the publishers."""
        return self._transition("configure", "inactive", self._configure, undo=self._release)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish the labels' names, subscribe, start to process."""
        return self._transition("activate", "active", lambda: self._activate(state), undo=self._halt)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Finish the frame in progress and unsubscribe."""
        self._halt()
        self.state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model, destroy the publishers."""
        self._release()
        self.state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state: free everything; diagnostics go on until the process ends."""
        self._release()
        self.state = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition went wrong: back to the beginning."""
        self._release()
        self.state = "unconfigured"
        return SUCCESS

    def close(self) -> None:
        """Stop the thread and free everything, for the end of the process."""
        self._release()
        self.destroy_node()

    def _transition(
        self, name: str, reached: str, act: Callable[[], None], undo: Callable[[], None]
    ) -> TransitionCallbackReturn:
        """rclpy swallows what a transition raises; here it is logged, kept for diagnostics, and undone."""
        try:
            act()
        except Exception as exc:
            self._error = f"{name} failed: {str(exc) or type(exc).__name__}"
            self.get_logger().error(self._error)
            if not isinstance(exc, SegPerceptionError):
                self.get_logger().error(traceback.format_exc())
            undo()
            return FAILURE
        self._error, self.state = "", reached
        return SUCCESS

    def _configure(self) -> None:
        self._pipeline = pipeline = Pipeline(self.config)
        warm_up = f"warm-up {pipeline.warm_up_ms:.1f} ms" if pipeline.warm_up_ms else "no warm-up"
        self.get_logger().info(f"{pipeline.backend.description}; {warm_up}")
        for camera in self.config.camera_configs:
            self._streams[camera.name] = stream = CameraStream(self, self.config, camera)
            self._reporters[camera.name] = CameraReporter(self, stream)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self._label_info = self.create_lifecycle_publisher(message_class(LABEL_INFO), f"~/{LABEL_INFO_TOPIC}", latched)

    def _activate(self, state: LifecycleState) -> None:
        # First of all: a lifecycle publisher drops in silence what it is given before.
        super().on_activate(state)
        assert self._pipeline is not None
        now_ns = self.get_clock().now().nanoseconds
        self._label_info.publish(label_info_message(self._kit, now_ns, "", self._pipeline.labels))
        self._hear_transforms(self._pipeline)
        self._thread = InferenceThread(self._pipeline, self._streams, self.get_logger())
        self._thread.start()
        for stream in self._streams.values():
            self.get_logger().info(f"{stream.name}: listening to {stream.image_topic}")

    def _hear_transforms(self, pipeline: Pipeline) -> None:
        """As long as a camera needs them, or odometry may come; which can change while images come."""
        if self.config.odom_frame or any(camera.pose_source == "tf" for camera in self.config.camera_configs):
            self._transforms = self._transforms or TransformListener(self, pipeline.transforms)
            self._transforms.listen()
        elif self._transforms is not None:
            self._transforms.mute()
            self._transforms = None

    def _halt(self) -> None:
        """Stop processing; does no harm where nothing runs."""
        if self._transforms is not None:
            self._transforms.mute()
        if self._thread is not None:
            self._thread.stop()
            self._thread = None

    def _release(self) -> None:
        """Free all that `_configure` made; does no harm where there is nothing."""
        self._halt()
        for stream in self._streams.values():
            stream.close()
        self._streams, self._reporters, self._transforms = {}, {}, None
        if self._label_info is not None:
            self.destroy_lifecycle_publisher(self._label_info)
            self._label_info = None
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def _reconfigure(self, config: PipelineConfig) -> None:
        """Parameters changed while running: from the next frame on."""
        if self._pipeline is not None:
            self._pipeline.configure(config)
        self.config = config
        if self._pipeline is not None and self.state == "active":
            self._hear_transforms(self._pipeline)

    def _report(self) -> None:
        name = self.get_fully_qualified_name().lstrip("/")
        rows = [model_status(f"{name}: model", self.state, self._pipeline, self.config, self._error)]
        transforms = transform_values(self._transforms)
        for camera, reporter in self._reporters.items():
            level, title, text, hardware, values = reporter.status(f"{name}: {camera}", self.state, self.config)
            rows.append((level, title, text, hardware, {**values, **transforms}))
        self._diagnostics.publish(diagnostics_message(self._kit, self.get_clock().now().nanoseconds, rows))

    def _answer_impossible_transitions(self) -> None:
        """Refuse a transition that the state does not allow; up to Jazzy rclpy raises and never answers the client."""
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        change_state = service.callback

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as exc:
                self.get_logger().error(f"transition {request.transition.id} refused in state {self.state}: {exc}")
                response.success = False
                return response

        service.callback = answer
